#!/usr/bin/env python3
"""The protocol by hand: what no client library exposes, and what only a broken or hostile client sends."""
import socket
import struct
import time

from apache import SUPER, digest_id
from checks import case, check, main, until
from jute import (ADD_WATCH, AUTH, CHECK, CHECK_WATCHES, CLOSE, CLOSED, CREATE, CREATE2, CREATE_CONTAINER,
                  CREATE_TTL, DELETE, DELETE_CONTAINER, EXISTS, GET_ACL, GET_ALL_CHILDREN_NUMBER,
                  GET_CHILDREN, GET_CHILDREN2, GET_DATA, GET_EPHEMERALS, MULTI, MULTI_READ, OPEN, PING, RECONFIG,
                  REMOVE_WATCHES, SASL, SET_ACL, SET_DATA, SET_WATCHES, SET_WATCHES2, SYNC, WHO_AM_I, Connection, Reply,
                  multi, pack, refused, unpack)

# Error codes.
OK, MARSHALLING, UNIMPLEMENTED, BAD_ARGUMENTS = 0, -5, -6, -8
NO_NODE, NO_AUTH, BAD_VERSION, NO_CHILDREN_FOR_EPHEMERALS, NODE_EXISTS = -101, -102, -103, -108, -110
NOT_EMPTY, INVALID_ACL, AUTH_FAILED, NO_WATCHER, RECONFIG_DISABLED = -111, -114, -115, -121, -123
RUNTIME_INCONSISTENCY = -2
# Event types, and the state "connected".
CREATED, DELETED, CHANGED, CHILDREN = 1, 2, 3, 4
CONNECTED = 3

TICK = 500
# The configuration's Stat: its acl was set on another version than the rest.
NEVER_SET = (0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0)


def java_random(seed, size):
    """java.util.Random.nextBytes: how Apache derives a session's password."""
    state = (seed ^ 0x5DEECE66D) & ((1 << 48) - 1)
    out = b""
    while len(out) < size:
        state = (state * 0x5DEECE66D + 0xB) & ((1 << 48) - 1)
        out += struct.pack("<I", state >> 16)
    return out[:size]


@case
def connecting(server):
    for asked, given in [(-5, 2 * TICK), (0, 2 * TICK), (1000, 1000), (4321, 4321), (2**31 - 1, 20 * TICK)]:
        with Connection(server.port, timeout=asked) as c:
            check(f"the time-out for {asked}", c.connected.timeout, given)
    with Connection(server.port) as c:
        check("version 0, 16 bytes of password, not read-only",
              (c.connected.protocol, len(c.password), c.connected.read_only, c.connected.length), (0, 16, False, 37))
        check("the server's id is the session's first byte", c.session >> 56, 1)
        check("the password follows from the id", c.password, java_random(c.session ^ 0xB3415C00, 16))
    with Connection(server.port) as a, Connection(server.port) as b:
        check("ids are counted", b.session, a.session + 1)
    with Connection(server.port, read_only=None) as c:
        check("an old client gets no read-only flag", (c.connected.length, c.connected.read_only), (36, None))
    with Connection(server.port, read_only=True) as c:
        check("a writable server says so to one that would read only", c.connected.read_only, False)
    with Connection(server.port, protocol=7) as c:
        check("the version asked for is ignored", c.connected.protocol, 0)
    with Connection(server.port) as c:
        ahead = c.zxid() + 1000
    check("lastZxidSeen ahead", Connection(server.port, zxid=ahead).connected, CLOSED)
    with Connection(server.port) as c:
        seen = c.zxid()
        with Connection(server.port, zxid=seen) as d:
            check("lastZxidSeen equal", d.connected.protocol, 0)


@case
def reconnecting(server):
    a = Connection(server.port, timeout=4000)
    a.create("/re", flags=1)
    b = Connection(server.port, timeout=6000, session=a.session, password=a.password)
    check("the session goes on", (b.session, b.password, b.connected.timeout), (a.session, a.password, 6000))
    check("the older connection is closed", a.next(), CLOSED)
    check("its ephemeral stays", b.stat("/re").ephemeralOwner, b.session)
    refused = (0, 0, 0, bytes(16), False, 37)
    c = Connection(server.port, session=b.session, password=b"x" * 16)
    check("a wrong password", (c.connected, c.next()), (refused, CLOSED))
    # Apache closes the connection of the session before it looks at the password; the keeper does not let a stranger do that.
    if server.keeper:
        check("a wrong password does not touch the owner's connection", b.stat("/re").ephemeralOwner, b.session)
    else:
        check("a wrong password closes the owner's connection", b.next(), CLOSED)
    b = Connection(server.port, session=b.session, password=b.password)
    check("the owner comes back", b.session, a.session)
    c = Connection(server.port, session=4711, password=b"x" * 16)
    check("an unknown session", (c.connected, c.next()), (refused, CLOSED))
    b.call(CLOSE)
    check("the server closes after closeSession", b.next(), CLOSED)
    c = Connection(server.port, session=b.session, password=b.password)
    check("a closed session", c.connected, refused)


@case
def closing(server):
    with Connection(server.port) as other:
        a = Connection(server.port)
        for name in "abc":
            a.create("/closing-" + name, flags=1)
        before = other.zxid()
        answer = a.call(CLOSE)
        check("closeSession", answer, Reply(4, before + 1, OK, b""))
        check("one transaction took all three", [other.stat("/closing-" + n) for n in "abc"], [None] * 3)
        check("and one only", other.zxid(), before + 1)


@case
def expiring(server):
    with Connection(server.port, timeout=20000) as other:
        a = Connection(server.port, timeout=1000)
        a.create("/expiring", flags=1)
        other.ask(EXISTS, "s?", "/expiring", True)
        started = time.monotonic()
        check("the ephemeral goes", other.next()[1:4], (DELETED, CONNECTED, "/expiring"))
        took = time.monotonic() - started
        check(f"in one to two seconds ({took:.2f})", 0.9 < took < 2.2, True)
        check("the connection is closed, and told nothing", a.next(), CLOSED)
        c = Connection(server.port, session=a.session, password=a.password)
        check("expired", c.connected.session, 0)
    with Connection(server.port, timeout=1000) as a:
        for _ in range(8):
            time.sleep(0.3)
            check("a ping", a.call(PING, xid=-2)._replace(zxid=0), Reply(-2, 0, OK, b""))
        for _ in range(8):
            time.sleep(0.3)
            check("a read keeps the session as well", a.ask(EXISTS, "s?", "/", False, reply="T")[0], OK)


@case
def headers(server):
    with Connection(server.port) as c:
        first = c.call(CREATE, pack("sbAi", "/head", b"", OPEN, 0))
        check("create", first, Reply(1, first.zxid, OK, b"\0\0\0\5/head"))
        again = c.call(CREATE, pack("sbAi", "/head", b"", OPEN, 0))
        check("a failed transaction consumes a zxid", again, Reply(2, first.zxid + 1, NODE_EXISTS, b""))
        none = c.call(GET_DATA, pack("s?", "/none", False))
        check("a failed read does not", none, Reply(3, first.zxid + 1, NO_NODE, b""))
        stat = c.stat("/head")
        c.start(SYNC, pack("s", "/head"), xid=77)
        check("sync, by whatever xid", c.reply(), Reply(77, first.zxid + 1, OK, b"\0\0\0\5/head"))
        check("sync of nothing", c.ask(SYNC, "s", "/none", reply="s"), (OK, "/none"))
        check("delete", c.ask(DELETE, "si", "/head", -1), (OK, None))
        check("first zxid", stat.czxid, first.zxid)
        for xid in (-2, -4, -8, 0, 2**31 - 1, -2**31):
            check(f"xid {xid} is no matter to the server", c.call(WHO_AM_I, xid=xid)[::2], (xid, OK))
        c.start(WHO_AM_I, xid=-1)
        check("nor -1", c.receive()[:4], b"\xff" * 4)


@case
def stats(server):
    with Connection(server.port) as c:
        now = int(time.time() * 1000)
        path, s = c.create("/st", b"abc")
        check("create2's path", path, "/st")
        check("a new node", s, (s.czxid, s.czxid, s.ctime, s.ctime, 0, 0, 0, 0, 3, 0, s.czxid))
        check("its time is the server's", abs(s.ctime - now) < 2000, True)
        check("the transaction's zxid", c.frames[-1].zxid, s.czxid)
        err, t = c.ask(SET_DATA, "sbi", "/st", b"four", 0, reply="T")
        check("setData", t, s._replace(mzxid=s.czxid + 1, mtime=t.mtime, version=1, dataLength=4))
        err, u = c.ask(SET_ACL, "sAi", "/st", [(31, "world", "anyone")], 0, reply="T")
        check("setACL: aversion only", u, t._replace(aversion=1))
        c.create("/st/a")
        c.create("/st/b")
        v = c.stat("/st")
        check("two children", v, u._replace(cversion=2, numChildren=2, pzxid=s.czxid + 4))
        c.ask(SET_DATA, "sbi", "/st/a", b"", -1)
        check("a child's data is not the parent's business", c.stat("/st"), v)
        c.ask(DELETE, "si", "/st/a", -1)
        check("a child goes", c.stat("/st"), v._replace(cversion=3, numChildren=1, pzxid=s.czxid + 6))
        err, (acl, w) = c.ask(GET_ACL, "s", "/st", reply="AT")
        check("getACL's", (acl, w), ([(31, "world", "anyone")], c.stat("/st")))
        err, (children, w) = c.ask(GET_CHILDREN2, "s?", "/st", False, reply="ST")
        check("getChildren2's", (children, w), (["b"], c.stat("/st")))
        err, (data, w) = c.ask(GET_DATA, "s?", "/st", False, reply="bT")
        check("getData's", (data, w), (b"four", c.stat("/st")))
        root = c.stat("/")
        check("the root", (root.czxid, root.mzxid, root.ctime, root.version, root.dataLength), (0, 0, 0, 0, 0))
        zk = c.stat("/zookeeper")
        # It was made without counting: changes are twice the creations less the children there are.
        check("/zookeeper", (zk.czxid, zk.cversion, zk.numChildren, zk.pzxid), (0, -2, 2, 0))
        for name in ("config", "quota"):
            s = c.stat("/zookeeper/" + name)
            check("/zookeeper/" + name, s, NEVER_SET if name == "config" else (0,) * 11)


@case
def data_of_null_and_of_nothing(server):
    with Connection(server.port) as c:
        c.create("/null", None)
        check("null stays null", c.ask(GET_DATA, "s?", "/null", False, reply="bT")[1][0], None)
        check("its length", c.stat("/null").dataLength, 0)
        c.create("/empty", b"")
        check("empty stays empty", c.ask(GET_DATA, "s?", "/empty", False, reply="bT")[1][0], b"")
        c.ask(SET_DATA, "sbi", "/empty", None, -1)
        check("set to null", c.ask(GET_DATA, "s?", "/empty", False, reply="bT")[1][0], None)


@case
def flags(server):
    with Connection(server.port) as c:
        def new(op, flag, *ttl):
            shape = "sbAi" + "l" * len(ttl)
            return c.ask(op, shape, "/flags/n", b"", OPEN, flag, *ttl, reply="sT" if op != CREATE else "s")

        c.create("/flags")
        err, (path, s) = new(CREATE2, 1)
        check("ephemeral", (path, s.ephemeralOwner), ("/flags/n", c.session))
        check("no children", c.ask(CREATE2, "sbAi", "/flags/n/a", b"", OPEN, 0), (NO_CHILDREN_FOR_EPHEMERALS, None))
        c.ask(DELETE, "si", "/flags/n", 0)
        check("sequential counts the parent's changes: of creations", new(CREATE, 2), (OK, "/flags/n0000000001"))
        check("ephemeral sequential", new(CREATE2, 3)[1][0], "/flags/n0000000002")
        # Clients are not told of containers and ttls: their encoding is for the snapshot and the log.
        err, (path, s) = new(CREATE_CONTAINER, 4)
        check("container", (path, s.ephemeralOwner), ("/flags/n", 0))
        c.ask(DELETE, "si", "/flags/n", 0)
        err, (path, s) = new(CREATE_TTL, 5, 1_000_000)
        check("ttl", (path, s.ephemeralOwner), ("/flags/n", 0))
        err, (path, s) = new(CREATE_TTL, 6, 0xFFFFFFFFFF)
        check("sequential with the longest ttl", (path, s.ephemeralOwner), ("/flags/n0000000005", 0))
        check("ttl 0", new(CREATE_TTL, 6, 0), (BAD_ARGUMENTS, None))
        check("ttl -1", new(CREATE_TTL, 6, -1), (BAD_ARGUMENTS, None))
        check("ttl too long", new(CREATE_TTL, 6, 0xFFFFFFFFFF + 1), (BAD_ARGUMENTS, None))
        check("a ttl for a plain node", new(CREATE_TTL, 0, 1000), (BAD_ARGUMENTS, None))
        check("unknown flags", new(CREATE2, 7), (BAD_ARGUMENTS, None))
        check("negative flags", new(CREATE2, -1), (BAD_ARGUMENTS, None))
        check("create with the ttl's flag has no ttl", new(CREATE2, 5), (BAD_ARGUMENTS, None))
        check("sequential container: by its opcode, and counted", new(CREATE_CONTAINER, 2)[1][0], "/flags/n0000000006")
        check("create2 with the container's flag finds the node", new(CREATE2, 4), (NODE_EXISTS, None))
        # 3.8 takes the path without its length, as only the server itself sends it.
        by_client = server.version >= (3, 9)
        c.ask(CREATE_CONTAINER, "sbAi", "/flags/c", b"", OPEN, 4)
        check("deleteContainer, of a client", c.ask(DELETE_CONTAINER, "s", "/flags/c")[0],
              OK if by_client else BAD_ARGUMENTS)
        check("of none", c.ask(DELETE_CONTAINER, "s", "/flags/none")[0], NO_NODE if by_client else BAD_ARGUMENTS)
        c.create("/flags/e", flags=1)
        check("of an ephemeral", c.ask(DELETE_CONTAINER, "s", "/flags/e")[0], BAD_VERSION if by_client else BAD_ARGUMENTS)
        check("of one with children", c.ask(DELETE_CONTAINER, "s", "/flags")[0], NOT_EMPTY if by_client else BAD_ARGUMENTS)
        # createTTL with plain flags and a ttl of -1 makes Apache exit: it is ours to refuse.
        if server.keeper:
            check("createTTL without a ttl", c.call(CREATE_TTL, pack("sbAil", "/flags/x", b"", OPEN, 0, -1)).err,
                  BAD_ARGUMENTS)


@case
def containers_and_ttls_go(server):
    with Connection(server.port) as c:
        c.ask(CREATE_CONTAINER, "sbAi", "/co", b"", OPEN, 4)
        c.create("/co/child")
        c.ask(EXISTS, "s?", "/co", True)
        time.sleep(0.6)
        check("a container with a child stays", c.stat("/co").numChildren, 1)
        c.ask(DELETE, "si", "/co/child", -1)
        check("without it goes", c.next()[1:4], (DELETED, CONNECTED, "/co"))
        c.ask(CREATE_CONTAINER, "sbAi", "/never", b"", OPEN, 4)
        # The opcode makes the container, not the flag.
        c.ask(CREATE2, "sbAi", "/plain", b"", OPEN, 4)
        c.ask(CREATE_CONTAINER, "sbAi", "/plain-flags", b"", OPEN, 0)
        for parent in ("/plain", "/plain-flags"):
            c.create(parent + "/child")
            c.ask(DELETE, "si", parent + "/child", -1)
        check("createContainer with plain flags", until(lambda: c.stat("/plain-flags") is None), True)
        c.ask(CREATE_TTL, "sbAil", "/ttl", b"", OPEN, 5, 400)
        c.ask(CREATE_TTL, "sbAil", "/ttl-parent", b"", OPEN, 5, 400)
        c.create("/ttl-parent/child")
        check("not at once", c.stat("/ttl").ephemeralOwner, 0)
        check("in time", until(lambda: c.stat("/ttl") is None), True)
        time.sleep(0.5)
        check("never with a child", c.stat("/ttl-parent").numChildren, 1)
        check("one that never had a child stays", c.stat("/never").cversion, 0)
        check("create2 with the container's flag made a plain node", c.stat("/plain").cversion, 2)
        c.ask(CREATE_TTL, "sbAil", "/ttl-touched", b"", OPEN, 5, 900)
        for _ in range(5):
            time.sleep(0.3)
            check("setting the data starts the ttl anew", c.ask(SET_DATA, "sbi", "/ttl-touched", b"", -1)[0], OK)


@case
def paths(server):
    with Connection(server.port) as c:
        c.create("/p")
        for path, code in {
            "": BAD_ARGUMENTS, "p": BAD_ARGUMENTS, "/p/": BAD_ARGUMENTS, "//": BAD_ARGUMENTS, "/p//a": NO_NODE,
            "/p/.": BAD_ARGUMENTS, "/p/..": BAD_ARGUMENTS, "/p/./a": NO_NODE, "/p/.a": OK, "/p/a..": OK,
            "/p/\x00": BAD_ARGUMENTS, "/p/\x01": BAD_ARGUMENTS, "/p/\x1f": BAD_ARGUMENTS, "/p/\x20": OK,
            "/p/\x7e": OK, "/p/\x7f": BAD_ARGUMENTS, "/p/\x9f": BAD_ARGUMENTS, "/p/\xa0": OK, "/p/\ud7ff": OK,
            "/p/\ue000": BAD_ARGUMENTS, "/p/\uf8ff": BAD_ARGUMENTS, "/p/\uf900": OK, "/p/\uffef": OK,
            "/p/\ufff0": BAD_ARGUMENTS, "/p/\U00010000": BAD_ARGUMENTS, "/": NODE_EXISTS, "/none/a": NO_NODE,
            "/p/a.": OK, "/p/...": OK,
        }.items():
            check(f"create {path!r}", c.ask(CREATE, "sbAi", path, b"", OPEN, 0)[0], code)
        check("sequential at a slash", c.ask(CREATE, "sbAi", "/p/", b"", OPEN, 2, reply="s"), (OK, "/p/0000000010"))
        # Reads look a path up, and find nothing.
        for path, code in {"": OK, "p": NO_NODE, "/p/": NO_NODE, "/": OK, "/p/none": NO_NODE, "/p//x": NO_NODE}.items():
            check(f"exists {path!r}", c.ask(EXISTS, "s?", path, False)[0], code)
            check(f"getData {path!r}", c.ask(GET_DATA, "s?", path, False)[0], code)
            check(f"getChildren {path!r}", c.ask(GET_CHILDREN, "s?", path, False)[0], code)
        check("exists with a null character", c.ask(EXISTS, "s?", "/p/\0", False)[0],
              BAD_ARGUMENTS)
        check("delete /", c.ask(DELETE, "si", "/", -1), (BAD_ARGUMENTS, None))
        check("delete nothing", c.ask(DELETE, "si", "", -1), (BAD_ARGUMENTS, None))
        check("delete without a slash", c.ask(DELETE, "si", "p", -1), (BAD_ARGUMENTS, None))
        check("delete with one too many", c.ask(DELETE, "si", "/p/", -1), (NO_NODE, None))
        check("setData without a slash", c.ask(SET_DATA, "sbi", "p", b"", -1), (BAD_ARGUMENTS, None))
        check("setData of the root", c.ask(SET_DATA, "sbi", "/", b"root", -1)[0], OK)
        check("setACL of the root", c.ask(SET_ACL, "sAi", "/", OPEN, -1)[0], OK)
        c.ask(SET_DATA, "sbi", "/", b"", -1)


@case
def versions(server):
    with Connection(server.port) as c:
        c.create("/ver")
        for version, code in [(1, BAD_VERSION), (-2, BAD_VERSION), (0, OK), (0, BAD_VERSION), (1, OK), (-1, OK)]:
            check(f"setData at {version}", c.ask(SET_DATA, "sbi", "/ver", b"", version)[0], code)
        check("its version", c.stat("/ver").version, 3)
        for version, code in [(1, BAD_VERSION), (0, OK), (0, BAD_VERSION), (-1, OK)]:
            check(f"setACL at {version}", c.ask(SET_ACL, "sAi", "/ver", OPEN, version)[0], code)
        check("its aversion", c.stat("/ver").aversion, 2)
        c.create("/ver/a")
        check("not empty, before its version", c.ask(DELETE, "si", "/ver", 7)[0], BAD_VERSION)
        check("not empty", c.ask(DELETE, "si", "/ver", 3)[0], NOT_EMPTY)
        c.ask(DELETE, "si", "/ver/a", 0)
        check("delete at 2", c.ask(DELETE, "si", "/ver", 2)[0], BAD_VERSION)
        check("delete at 3", c.ask(DELETE, "si", "/ver", 3)[0], OK)


@case
def access(server):
    with Connection(server.port) as c, Connection(server.port) as other:
        def new(path, acl):
            return c.ask(CREATE, "sbAi", path, b"", acl, 0)[0]

        check("no acl", new("/a0", []), INVALID_ACL)
        check("unknown scheme", new("/a0", [(31, "nobody", "x")]), INVALID_ACL)
        check("world has but anyone", new("/a0", [(31, "world", "me")]), INVALID_ACL)
        check("an ip that is none", new("/a0", [(31, "ip", "500.1.1.1")]), INVALID_ACL)
        check("too many bits", new("/a0", [(31, "ip", "127.0.0.1/33")]), INVALID_ACL)
        check("a digest without a colon", new("/a0", [(31, "digest", "x")]), INVALID_ACL)
        check("auth of nobody", new("/a0", [(31, "auth", "")]), INVALID_ACL)
        check("digest", c.call(AUTH, pack("isb", 0, "digest", b"ann:secret"), xid=-4), Reply(-4, 0, OK, b""))
        check("auth is who we are, and ip is left out", new("/a1", [(31, "auth", "ignored")]), OK)
        check("as stored", c.ask(GET_ACL, "s", "/a1", reply="AT")[1][0], [(31, "digest", digest_id("ann:secret"))])
        check("others may not read", other.ask(GET_DATA, "s?", "/a1", False), (NO_AUTH, None))
        check("nor list", other.ask(GET_CHILDREN, "s?", "/a1", False), (NO_AUTH, None))
        check("nor read the acl", other.ask(GET_ACL, "s", "/a1"), (NO_AUTH, None))
        check("nor count", other.ask(GET_ALL_CHILDREN_NUMBER, "s", "/a1"), (NO_AUTH, None))
        check("nor write", other.ask(SET_DATA, "sbi", "/a1", b"", -1), (NO_AUTH, None))
        check("nor set the acl", other.ask(SET_ACL, "sAi", "/a1", OPEN, -1), (NO_AUTH, None))
        check("nor create", other.ask(CREATE, "sbAi", "/a1/b", b"", OPEN, 0), (NO_AUTH, None))
        check("nor check", other.call(MULTI, multi((CHECK, pack("si", "/a1", 0)))).body, refused(NO_AUTH))
        check("a wrong version is no way to learn it", other.ask(SET_DATA, "sbi", "/a1", b"", 9), (NO_AUTH, None))
        check("exists asks for read since 3.9", other.ask(EXISTS, "s?", "/a1", False, reply="T")[0],
              OK if server.version < (3, 9) else NO_AUTH)
        check("deleting asks the parent", other.ask(DELETE, "si", "/a1", -1), (OK, None))
        read_only = [(1, "world", "anyone"), (31, "digest", digest_id("ann:secret"))]
        check("two entries", new("/a2", read_only), OK)
        check("whoever may not administer sees no digests", other.ask(GET_ACL, "s", "/a2", reply="AT")[1][0],
              [(1, "world", "anyone"), (31, "digest", "ann:x")])
        check("duplicates go", (new("/a3", OPEN + OPEN), c.ask(GET_ACL, "s", "/a3", reply="AT")[1][0]), (OK, OPEN))
        for id, code in {"127.0.0.1": OK, "127.0.0.0/8": OK, "0.0.0.0/0": OK, "10.0.0.0/8": NO_AUTH,
                         "127.0.0.2": NO_AUTH}.items():
            path = "/a-ip-" + id.replace("/", "-")
            check(f"ip {id}", (new(path, [(31, "ip", id)]), other.ask(GET_DATA, "s?", path, False)[0]), (OK, code))
        if server.version >= (3, 9):
            # Apache 3.9 lets anybody delete what has no children in this way; the keeper asks the parent.
            c.create("/a4")
            new("/a4/b", OPEN)
            c.ask(SET_ACL, "sAi", "/a4", [(31, "auth", "")], -1)
            check("deleteContainer", other.ask(DELETE_CONTAINER, "s", "/a4/b"), (NO_AUTH if server.keeper else OK, None))
        check("super", c.call(AUTH, pack("isb", 0, "digest", SUPER.encode()), xid=-4).err, OK)
        check("may all", c.ask(GET_DATA, "s?", "/a-ip-10.0.0.0-8", False)[0], OK)


@case
def authentication_fails(server):
    for scheme, auth in [("nobody", b"x"), ("sasl", b"x"), ("x509", b"")]:
        with Connection(server.port) as c:
            answer = c.call(AUTH, pack("isb", 0, scheme, auth), xid=-4)
            check(f"{scheme}: refused and closed", (answer, c.next()), (Reply(-4, 0, AUTH_FAILED, b""), CLOSED))
    with Connection(server.port) as c:
        check("world is no scheme to log in by", c.call(AUTH, pack("isb", 0, "world", b""), xid=-4).err, AUTH_FAILED)
    with Connection(server.port) as c:
        check("ip is granted again", c.call(AUTH, pack("isb", 0, "ip", b""), xid=-4).err, OK)
        check("a digest without a password", c.call(AUTH, pack("isb", 0, "digest", b"x"), xid=-4).err, OK)


@case
def who_am_i(server):
    with Connection(server.port) as c:
        check("ip only", c.ask(WHO_AM_I, "", reply="C"), (OK, [("ip", "127.0.0.1")]))
        for who in (b"ann:secret", b"bob:other", b"ann:secret", SUPER.encode()):
            c.call(AUTH, pack("isb", 0, "digest", who), xid=-4)
        # The order is that of a hash set.
        check("all, each once", sorted(c.ask(WHO_AM_I, "", reply="C")[1]),
              [("digest", "ann"), ("digest", "bob"), ("digest", "super"), ("ip", "127.0.0.1"), ("super", "")])


@case
def multi_framing(server):
    with Connection(server.port) as c:
        # Success: each result after its header; the end is marked.
        answer = c.call(MULTI, multi(
            (CREATE, pack("sbAi", "/m", b"x", OPEN, 0)), (CREATE2, pack("sbAi", "/m/a", b"", OPEN, 2)),
            (SET_DATA, pack("sbi", "/m", b"yy", 0)), (CHECK, pack("si", "/m", 1)),
            (DELETE, pack("si", "/m/a0000000000", -1))))
        m = c.stat("/m")
        created = m._replace(cversion=0, pzxid=m.czxid, mzxid=m.czxid, mtime=m.ctime, version=0, dataLength=0)
        if server.version < (3, 9):  # create2 answers as create there
            rest = unpack("i?is" "i?is" "i?iT" "i?i" "i?i" "i?i", answer.body)
            check("create2", rest[4:8], (1, False, 0, "/m/a0000000000"))
            rest = rest[:8] + (created,) + rest[8:]
        else:
            rest = unpack("i?is" "i?isT" "i?iT" "i?i" "i?i" "i?i", answer.body)
            check("create2", rest[4:9], (15, False, 0, "/m/a0000000000", created))
        check("create", rest[:4], (1, False, 0, "/m"))
        check("setData, with the stat of that moment", rest[9:13],
              (5, False, 0, m._replace(cversion=1, numChildren=1)))
        check("check, delete, end", rest[13:], (13, False, 0, 2, False, 0, -1, True, -1))
        check("one zxid for all", (answer.err, m.czxid, m.mzxid, m.pzxid), (OK, answer.zxid, answer.zxid, answer.zxid))
        check("the parent saw two changes", (m.cversion, m.version), (2, 1))

        # Failure: those before it 0, it and those after it in an error result each, runtime inconsistency after.
        before = c.zxid()
        answer = c.call(MULTI, multi(
            (CREATE, pack("sbAi", "/m/x", b"", OPEN, 0)), (CHECK, pack("si", "/m", 9)),
            (DELETE, pack("si", "/m/x", -1)), (SET_DATA, pack("sbi", "/none", b"", -1))))
        check("byte for byte, and none in the header", answer, Reply(answer.xid, before + 1, OK, bytes.fromhex(
            "ffffffff 00 00000000 00000000" "ffffffff 00 ffffff99 ffffff99" "ffffffff 00 fffffffe fffffffe"
            "ffffffff 00 fffffffe fffffffe" "ffffffff 01 ffffffff")))
        check("nothing was done", c.stat("/m/x"), None)
        check("an empty one", c.call(MULTI, multi())._replace(xid=0),
              Reply(0, before + 2, OK, bytes.fromhex("ffffffff 01 ffffffff")))
        # Within one, each sees what went before.
        answer = c.call(MULTI, multi(*[(CREATE, pack("sbAi", "/m/s", b"", OPEN, 2))] * 2))
        check("two sequential", unpack("i?isi?isi?i", answer.body)[3:8:4], ("/m/s0000000001", "/m/s0000000002"))
        answer = c.call(MULTI, multi((CREATE, pack("sbAi", "/m/t", b"", OPEN, 0)),
                                     (CREATE, pack("sbAi", "/m/t/u", b"", OPEN, 0)),
                                     (DELETE, pack("si", "/m/t", -1))))
        check("not empty", answer.body, refused(OK, OK, NOT_EMPTY))
        answer = c.call(MULTI, multi((CREATE_CONTAINER, pack("sbAi", "/m/c", b"", OPEN, 4)),
                                     (CREATE_TTL, pack("sbAil", "/m/ttl", b"", OPEN, 5, 1000000))))
        check("container and ttl answer as create2", unpack("i?isTi?isTi?i", answer.body)[0:6:5], (15, 15))
        answer = c.call(MULTI, multi((GET_DATA, pack("s?", "/m", False))))
        check("a read among writes", (answer.err, answer.body), (MARSHALLING, b""))
        answer = c.call(MULTI, multi((MULTI, multi())))
        check("a multi in a multi", (answer.err, answer.body), (MARSHALLING, b""))
        # A check outside of a multi: 3.8 knows it, but cannot put its success into an answer.
        wrong = c.call(CHECK, pack("si", "/m", 0))
        if server.version < (3, 9):
            right = c.call(CHECK, pack("si", "/m", 1))
            check("a check of one's own", (wrong[2], right), (BAD_VERSION, CLOSED))
        else:
            check("a check of one's own", (wrong[1:], c.next()), ((-1, UNIMPLEMENTED, b""), CLOSED))


@case
def multi_reads(server):
    with Connection(server.port) as c:
        c.create("/mr", b"abc")
        c.create("/mr/kid")
        answer = c.call(MULTI_READ, multi((GET_DATA, pack("s?", "/mr", False)), (GET_CHILDREN, pack("s?", "/mr", False)),
                                          (GET_DATA, pack("s?", "/none", False))))
        rest = unpack("i?ibTi?iSi?iii?i", answer.body)
        check("getData", rest[:5], (4, False, 0, b"abc", c.stat("/mr")))
        check("getChildren", rest[5:9], (8, False, 0, ["kid"]))
        check("an error does not spoil the rest", rest[9:13], (-1, False, NO_NODE, NO_NODE))
        check("the end", rest[13:] + (answer.err,), (-1, True, -1, OK))
        answer = c.call(MULTI_READ, multi((EXISTS, pack("s?", "/mr", False))))
        check("exists is not offered", (answer.err, answer.body), (MARSHALLING, b""))
        answer = c.call(MULTI_READ, multi((DELETE, pack("si", "/mr/kid", -1))))
        check("nor a write, though it answers with an end", (answer.err, answer.body),
              (MARSHALLING, b"" if server.keeper else bytes.fromhex("ffffffff 01 ffffffff")))
        check("an empty one", c.call(MULTI_READ, multi())[2:], (OK, bytes.fromhex("ffffffff 01 ffffffff")))
        c.call(MULTI_READ, multi((GET_DATA, pack("s?", "/mr", True)), (GET_CHILDREN, pack("s?", "/mr", True))))
        c.ask(SET_DATA, "sbi", "/mr", b"", -1)
        c.ask(DELETE, "si", "/mr/kid", -1)
        check("its reads set no watches, whatever they ask", c.settle(), [])


@case
def counting(server):
    with Connection(server.port) as c, Connection(server.port) as other:
        for path in ("/ct", "/ct/a", "/ct/a/b", "/ct/c", "/ctx"):
            c.create(path)
        for path in ("/ct/e1", "/ct/a/e2", "/ctx/e3"):
            c.create(path, flags=1)
        other.create("/ct/theirs", flags=1)
        check("getAllChildrenNumber", c.ask(GET_ALL_CHILDREN_NUMBER, "s", "/ct", reply="i"), (OK, 6))
        check("of a leaf", c.ask(GET_ALL_CHILDREN_NUMBER, "s", "/ct/c", reply="i"), (OK, 0))
        check("of nothing", c.ask(GET_ALL_CHILDREN_NUMBER, "s", "/none"), (NO_NODE, None))
        n = c.ask(GET_ALL_CHILDREN_NUMBER, "s", "/", reply="i")[1]
        c.create("/one-more")
        check("of the root", c.ask(GET_ALL_CHILDREN_NUMBER, "s", "/", reply="i")[1], n + 1)

        def mine(prefix):
            err, got = c.ask(GET_EPHEMERALS, "s", prefix, reply="S")
            return sorted(got)
        check("all of mine", mine("/"), ["/ct/a/e2", "/ct/e1", "/ctx/e3"])
        check("all by nothing", mine(""), ["/ct/a/e2", "/ct/e1", "/ctx/e3"])
        check("by a prefix of characters, not of nodes", mine("/ct"), ["/ct/a/e2", "/ct/e1", "/ctx/e3"])
        check("by a node", mine("/ct/"), ["/ct/a/e2", "/ct/e1"])
        check("none", mine("/none"), [])


@case
def watches_fire_once(server):
    with Connection(server.port) as c, Connection(server.port) as w:
        c.create("/w")
        c.create("/w/a")
        w.ask(GET_DATA, "s?", "/w", True)
        w.ask(EXISTS, "s?", "/w/none", True)
        w.ask(GET_CHILDREN, "s?", "/w", True)
        w.ask(GET_CHILDREN2, "s?", "/w/a", True)
        c.ask(SET_DATA, "sbi", "/w", b"", -1)
        zxid = c.zxid()
        check("its data", w.next(), ("event", CHANGED, CONNECTED, "/w", -1 if server.version < (3, 9) else zxid))
        c.ask(SET_DATA, "sbi", "/w", b"", -1)
        c.create("/w/none")
        check("created, then its parent's children", [w.next()[1:4], w.next()[1:4]],
              [(CREATED, CONNECTED, "/w/none"), (CHILDREN, CONNECTED, "/w")])
        c.ask(DELETE, "si", "/w/none", -1)
        c.ask(DELETE, "si", "/w/a", -1)
        check("the children's watch of a node that goes", w.next()[1:4], (DELETED, CONNECTED, "/w/a"))
        check("no more", len(w.settle()), 4)
        # Both kinds on one node: one event.
        c.create("/w/b")
        w.ask(GET_DATA, "s?", "/w/b", True)
        w.ask(GET_CHILDREN, "s?", "/w/b", True)
        c.ask(DELETE, "si", "/w/b", -1)
        check("deleted is told once", w.settle()[4:], [(DELETED, CONNECTED, "/w/b")])
        # A failed read sets no watch, but exists does.
        w.ask(GET_DATA, "s?", "/w/c", True)
        w.ask(GET_CHILDREN, "s?", "/w/c", True)
        c.create("/w/c")
        check("none from failed reads", w.settle()[5:], [])
        # Setting to the same, and setACL.
        w.ask(GET_DATA, "s?", "/w/c", True)
        c.ask(SET_ACL, "sAi", "/w/c", OPEN, -1)
        check("an acl is not watched", w.settle()[5:], [])
        c.ask(SET_DATA, "sbi", "/w/c", b"", -1)
        check("the same data is a change", w.settle()[5:], [(CHANGED, CONNECTED, "/w/c")])
        # Events come before the answer to a later read that shows the change.
        for i in range(20):
            w.ask(GET_DATA, "s?", "/w/c", True)
            at = len(w.frames)
            c.ask(SET_DATA, "sbi", "/w/c", str(i).encode(), -1)
            w.ask(GET_DATA, "s?", "/w/c", False)
            check("the event first", w.frames[at][1:4], (CHANGED, CONNECTED, "/w/c"))
        # One's own change: the event before one's own reply.
        at = len(w.frames)
        w.ask(GET_DATA, "s?", "/w/c", True)
        w.ask(SET_DATA, "sbi", "/w/c", b"", -1)
        check("one's own event comes before one's own reply", [f[0] == "event" for f in w.frames[at:]],
              [False, True, False])


@case
def watches_that_stay(server):
    with Connection(server.port) as c, Connection(server.port) as p, Connection(server.port) as r:
        check("addWatch answers an error code", p.ask(ADD_WATCH, "si", "/stay", 0, reply="i"), (OK, 0))
        check("recursive", r.ask(ADD_WATCH, "si", "/stay", 1, reply="i"), (OK, 0))
        check("an unknown mode", p.ask(ADD_WATCH, "si", "/stay", 2), (MARSHALLING, None))
        c.create("/stay")
        c.create("/stay/a")
        c.create("/stay/a/b")
        c.ask(SET_DATA, "sbi", "/stay", b"", -1)
        c.ask(SET_DATA, "sbi", "/stay/a", b"", -1)
        c.ask(DELETE, "si", "/stay/a/b", -1)
        c.ask(DELETE, "si", "/stay/a", -1)
        c.ask(DELETE, "si", "/stay", -1)
        c.create("/stay")
        check("persistent", p.settle(), [
            (CREATED, CONNECTED, "/stay"), (CHILDREN, CONNECTED, "/stay"), (CHANGED, CONNECTED, "/stay"),
            (CHILDREN, CONNECTED, "/stay"), (DELETED, CONNECTED, "/stay"), (CREATED, CONNECTED, "/stay")])
        check("persistent recursive: no events of children", r.settle(), [
            (CREATED, CONNECTED, "/stay"), (CREATED, CONNECTED, "/stay/a"), (CREATED, CONNECTED, "/stay/a/b"),
            (CHANGED, CONNECTED, "/stay"), (CHANGED, CONNECTED, "/stay/a"), (DELETED, CONNECTED, "/stay/a/b"),
            (DELETED, CONNECTED, "/stay/a"), (DELETED, CONNECTED, "/stay"), (CREATED, CONNECTED, "/stay")])
        # With a one-shot watch on the same node.
        r.ask(GET_DATA, "s?", "/stay", True)
        c.ask(SET_DATA, "sbi", "/stay", b"", -1)
        c.ask(SET_DATA, "sbi", "/stay", b"", -1)
        check("with a one-shot watch, one event each; in 3.8 it takes the place of the other", r.settle()[9:],
              [(CHANGED, CONNECTED, "/stay")] * (1 if server.version < (3, 9) else 2))
        # CVE-2024-23944: who may not read a node learns nothing of it by a watch over it.
        p.ask(ADD_WATCH, "si", "/secret", 1)
        r.ask(ADD_WATCH, "si", "/secret/hidden", 0)
        p_at, r_at = len(p.settle()), len(r.settle())
        c.call(AUTH, pack("isb", 0, "digest", b"ann:secret"), xid=-4)
        c.create("/secret")
        c.create("/secret/hidden", acl=[(31, "auth", "")])
        c.ask(SET_DATA, "sbi", "/secret/hidden", b"", -1)
        c.ask(DELETE, "si", "/secret/hidden", -1)
        check("recursive over it", p.settle()[p_at:], [(CREATED, CONNECTED, "/secret")])
        check("persistent on it", r.settle()[r_at:], [])


@case
def watches_are_removed(server):
    # Types: 1 children, 2 data, 3 any, 4 persistent, 5 persistent recursive.
    def state(c, path):
        return [c.ask(CHECK_WATCHES, "si", path, kind)[0] == OK for kind in (1, 2, 3, 4, 5)]

    new = server.version >= (3, 9)
    with Connection(server.port) as c, Connection(server.port) as other:
        c.create("/rm")

        def all_set():
            c.ask(GET_DATA, "s?", "/rm", True)
            c.ask(GET_CHILDREN, "s?", "/rm", True)

        check("none", state(c, "/rm"), [False] * 5)
        all_set()
        # 3.8 asks only whether somebody watches.
        check("others have none", state(other, "/rm"), [False] * 5 if new else [True, True, True, False, False])
        check("removing another's", other.ask(REMOVE_WATCHES, "si", "/rm", 3), (NO_WATCHER, None))
        check("both", state(c, "/rm"), [True, True, True, False, False])
        check("remove the children's", c.ask(REMOVE_WATCHES, "si", "/rm", 1), (OK, None))
        check("data is left", state(c, "/rm"), [False, True, True, False, False])
        check("again", c.ask(REMOVE_WATCHES, "si", "/rm", 1), (NO_WATCHER, None))
        check("remove the data's", c.ask(REMOVE_WATCHES, "si", "/rm", 2), (OK, None))
        check("none is left", state(c, "/rm"), [False] * 5)
        all_set()
        check("remove any", c.ask(REMOVE_WATCHES, "si", "/rm", 3), (OK, None))
        check("takes both", state(c, "/rm"), [False] * 5)
        c.ask(SET_DATA, "sbi", "/rm", b"", -1)
        c.create("/rm/a")
        check("and nothing is told", c.settle(), [])
        check("an unknown type", c.ask(CHECK_WATCHES, "si", "/rm", 9), (MARSHALLING, None))
        check("of a path that is none", c.ask(CHECK_WATCHES, "si", "rm", 3), (NO_WATCHER if new else MARSHALLING, None))
        c.ask(ADD_WATCH, "si", "/rm", 0)
        # Types 4 and 5 came with 3.9; before, a persistent watch counted as all of the old types.
        check("persistent", state(c, "/rm"), [False, False, True, True, False] if new else [True, True, True, False, False])
        check("remove persistent", c.ask(REMOVE_WATCHES, "si", "/rm", 4)[0], OK if new else MARSHALLING)
        check("is it gone", state(c, "/rm"), [False] * 5 if new else [True, True, True, False, False])
        c.ask(REMOVE_WATCHES, "si", "/rm", 3)
        check("it is", state(c, "/rm"), [False] * 5)
        c.ask(ADD_WATCH, "si", "/rm", 1)
        check("recursive", state(c, "/rm"), [False, False, True, False, True] if new else [True, True, True, False, False])
        check("remove recursive", c.ask(REMOVE_WATCHES, "si", "/rm", 5)[0], OK if new else MARSHALLING)
        check("is it gone", state(c, "/rm"), [False] * 5 if new else [True, True, True, False, False])
        c.ask(REMOVE_WATCHES, "si", "/rm", 3)
        check("it is", state(c, "/rm"), [False] * 5)
        c.ask(SET_DATA, "sbi", "/rm", b"", -1)
        check("all quiet", c.settle(), [])


@case
def watches_are_set_again(server):
    with Connection(server.port) as c:
        c.create("/sw")
        c.create("/sw/data")
        c.create("/sw/kids")
        c.create("/sw/same")
        then = c.zxid()
        c.ask(SET_DATA, "sbi", "/sw/data", b"", -1)
        c.create("/sw/kids/a")
        c.create("/sw/new")
        with Connection(server.port) as w:
            answer = w.call(SET_WATCHES, pack("lSSS", then, ["/sw/data", "/sw/gone", "/sw/same"],
                                              ["/sw/new", "/sw/later"], ["/sw/kids", "/sw/none", "/sw/same"]), xid=-8)
            check("what was missed comes before the reply", (answer._replace(zxid=0), w.events), (Reply(-8, 0, OK, b""), [
                (CHANGED, CONNECTED, "/sw/data"), (DELETED, CONNECTED, "/sw/gone"), (CREATED, CONNECTED, "/sw/new"),
                (CHILDREN, CONNECTED, "/sw/kids"), (DELETED, CONNECTED, "/sw/none")]))
            check("of missed events no zxid is told", {f[4] for f in w.frames if f[0] == "event"}, {-1})
            c.ask(SET_DATA, "sbi", "/sw/data", b"", -1)
            c.create("/sw/same/a")
            c.ask(SET_DATA, "sbi", "/sw/same", b"", -1)
            c.create("/sw/later")
            check("what was not is watched", w.settle()[5:], [
                (CHILDREN, CONNECTED, "/sw/same"), (CHANGED, CONNECTED, "/sw/same"), (CREATED, CONNECTED, "/sw/later")])
        with Connection(server.port) as w:
            now = c.zxid()
            answer = w.call(SET_WATCHES2, pack("lSSSSS", now, ["/sw/data"], [], ["/sw/kids"], ["/sw/new", "/sw/gone"],
                                               ["/sw"]), xid=-8)
            check("nothing missed", (answer.xid, answer.err, w.events), (-8, OK, []))
            c.ask(SET_DATA, "sbi", "/sw/new", b"", -1)
            c.ask(SET_DATA, "sbi", "/sw/data", b"", -1)
            c.ask(SET_DATA, "sbi", "/sw/new", b"", -1)
            c.create("/sw/gone")
            check("all kinds", w.settle(), [
                (CHANGED, CONNECTED, "/sw/new"), (CHANGED, CONNECTED, "/sw/data"), (CHANGED, CONNECTED, "/sw/new"),
                (CREATED, CONNECTED, "/sw/gone")])
        with Connection(server.port) as w:
            check("by any xid", w.call(SET_WATCHES, pack("lSSS", 0, [], [], []), xid=5)[::2], (5, OK))


@case
def reconfiguring(server):
    with Connection(server.port) as c:
        err, (data, s) = c.ask(GET_DATA, "s?", "/zookeeper/config", False, reply="bT")
        check("the configuration of one that stands alone is empty", (data, s), (b"", NEVER_SET))
        zxid = c.zxid()
        change = pack("sssl", None, None, "server.1=localhost:1:2;3", -1)
        check("reconfig is off", c.call(RECONFIG, change)[1:], (zxid + 1, RECONFIG_DISABLED, b""))
        c.call(AUTH, pack("isb", 0, "digest", SUPER.encode()), xid=-4)
        check("for super too", c.call(RECONFIG, change)[1:], (zxid + 2, RECONFIG_DISABLED, b""))
        check("the configuration's acl", c.ask(GET_ACL, "s", "/zookeeper/config", reply="AT")[1][0],
              [(1, "world", "anyone")])
    with Connection(server.port) as c:
        check("nobody may write it", c.ask(SET_DATA, "sbi", "/zookeeper/config", b"", -1), (NO_AUTH, None))
        check("quotas are open", c.ask(GET_ACL, "s", "/zookeeper/quota", reply="AT")[1][0], OPEN)
        for path in ("/zookeeper", "/zookeeper/config", "/zookeeper/quota"):
            check(f"delete {path}", c.ask(DELETE, "si", path, -1), (BAD_ARGUMENTS, None))
    with server.other(reconfigEnabled="true") as open_, Connection(open_.port) as c:
        check("reconfig of one that stands alone", c.call(RECONFIG, change)[1:], (2, UNIMPLEMENTED, b""))


@case
def what_no_client_sends(server):
    for op in (0, 10, 23, 99, 108, 999, -1, -12):
        with Connection(server.port) as c:
            check(f"opcode {op} is answered and the connection closed", (c.call(op, pack("s", "/")), c.next()),
                  (Reply(1, -1, UNIMPLEMENTED, b""), CLOSED))
    for op in (CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC, GET_CHILDREN2, CREATE2,
               CREATE_CONTAINER, CREATE_TTL, MULTI, MULTI_READ, CHECK_WATCHES, REMOVE_WATCHES, SET_WATCHES, SET_WATCHES2,
               ADD_WATCH, GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER):
        with Connection(server.port) as c:
            before = c.zxid()
            # In 3.8 a write takes a zxid before it is read.
            takes = op == MULTI or (server.version < (3, 9) and op in (
                CREATE, DELETE, SET_DATA, SET_ACL, CREATE2, CREATE_CONTAINER, CREATE_TTL))
            check(f"opcode {op} without a body", c.call(op), Reply(2, before + takes, MARSHALLING, b""))
            check("the connection stays", c.call(PING, xid=-2).err, OK)
    for op in (AUTH, SASL):
        with Connection(server.port) as c:
            check(f"opcode {op} without a body closes", c.call(op), CLOSED)
    with Connection(server.port) as c:
        check("a string longer than its frame", c.call(GET_DATA, struct.pack("!i", 1 << 30) + b"/abc").err, MARSHALLING)
        check("no string", c.call(GET_DATA, struct.pack("!i?", -1, False)).err, MARSHALLING)
        check("a string of -2", c.call(GET_DATA, struct.pack("!i?", -2, False)).err, MARSHALLING)
        check("more than the record", c.call(GET_DATA, pack("s?", "/", False) + b"more").err, OK)
        check("not UTF-8", c.call(GET_DATA, pack("b?", b"/\xff\xfe", False)).err, NO_NODE)
        check("a list of -2", c.call(CREATE, pack("sb", "/l", b"") + struct.pack("!ii", -2, 0)).err, INVALID_ACL)
        check("a list of a billion", c.call(CREATE, pack("sb", "/l", b"") + struct.pack("!ii", 1 << 30, 0)).err, MARSHALLING)


@case
def frames(server):
    def sent(raw, last=False):
        c = Connection(server.port)
        try:
            c.socket.sendall(raw)
            if last:
                c.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return CLOSED
        got = c.next()
        c.drop()
        return got

    limit = 0xFFFFF
    for size in (-1, -2**31, 0, 4, 2**31 - 1):
        check(f"a frame of {size}", sent(struct.pack("!i", size) + bytes(max(0, min(size, 4)))), CLOSED)
    check("half a frame, then the end", sent(struct.pack("!i", 100) + b"abc", last=True), CLOSED)

    def getting(size):
        path = "/" + "a" * (size - 8 - 4 - 1 - 1)
        return struct.pack("!i", size) + pack("iis?", 7, EXISTS, path, False)
    check("jute.maxbuffer", sent(getting(limit))[::2], (7, NO_NODE))
    # Apache closes; the keeper reads the header all the same, and says so.
    got = sent(getting(limit + 2000))
    check("beyond it", got if got == CLOSED else got[::2], (7, BAD_ARGUMENTS) if server.keeper else CLOSED)
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(struct.pack("!i", 45) + pack("ililb?", 0, 0, 5000, 0, bytes(16), False)[:10])
        s.shutdown(socket.SHUT_WR)
        check("half a connect", s.recv(1), b"")
    for body, what in [(b"", "an empty connect"), (bytes(10), "a short connect")]:
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(struct.pack("!i", len(body)) + body)
            check(what, s.recv(1), b"")
    # In pieces.
    c = Connection(server.port)
    for byte in struct.pack("!i", 14) + pack("iis?", 9, EXISTS, "/", False):
        c.socket.sendall(bytes([byte]))
        time.sleep(0.01)
    check("byte by byte", c.reply()[::2], (9, OK))
    # Many at once, answered in order.
    for i in range(200):
        c.start(CREATE if i % 2 else EXISTS, pack("sbAi", f"/f{i}", b"", OPEN, 1) if i % 2 else pack("s?", f"/f{i}", False))
    check("in order", [c.reply()[::2] for _ in range(200)], [(i + 1, OK if i % 2 else NO_NODE) for i in range(200)])
    c.close()


if __name__ == "__main__":
    main(__doc__, {"tickTime": TICK, "znode.container.checkIntervalMs": 200})
