#!/usr/bin/env python3
"""kazoo's client against a server; its recipes have a tour of their own."""
import shutil
import socket
import ssl
import tempfile
import time

from kazoo import exceptions as e
from kazoo.client import KazooClient
from kazoo.protocol.serialization import Watch
from kazoo.protocol.states import EventType, KazooState, KeeperState
from kazoo.security import (ANYONE_ID_UNSAFE, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, ACL, Id, Permissions,
                            make_acl, make_digest_acl)

import jute
import tls
from apache import SUPER, digest_id
from checks import case, check, main, raises, until
from clients import client, close
from server import free_port


class Raw:
    """A request that kazoo has no class for."""

    def __init__(self, kind, shape, *values, reply=None):
        self.type, self.body, self.reply = kind, jute.pack(shape, *values), reply

    def serialize(self):
        return self.body

    def deserialize(self, data, offset):
        return jute.unpack(self.reply, bytes(data[offset:])) if self.reply else None


def call(zk, kind, shape, *values, reply=None):
    result = zk.handler.async_result()
    zk._call(Raw(kind, shape, *values, reply=reply), result)
    return result.get(10)


@case
def creates(server):
    with client(server) as zk:
        start = time.time() * 1000
        check("create", zk.create("/k1", b"abc"), "/k1")
        data, s = zk.get("/k1")
        check("get", data, b"abc")
        check("stat", (s.version, s.cversion, s.aversion, s.ephemeralOwner, s.dataLength, s.numChildren),
              (0, 0, 0, 0, 3, 0))
        check("zxids", (s.mzxid, s.pzxid, s.mtime), (s.czxid, s.czxid, s.ctime))
        check("time", abs(s.ctime - start) < 2000, True)
        raises("again", e.NodeExistsError, zk.create, "/k1")
        raises("no parent", e.NoNodeError, zk.create, "/k1/a/b")
        check("makepath", zk.create("/k1/a/b", makepath=True), "/k1/a/b")
        check("ensure_path", zk.ensure_path("/k1/p/q/r"), "/k1/p/q/r")
        path, s = zk.create("/k1/c", b"12", include_data=True)
        check("include_data", (path, s.dataLength, s.version, s.czxid), ("/k1/c", 2, 0, zk.exists("/k1/c").czxid))
        path, s = zk.create("/k1/s-", b"1", include_data=True, sequence=True, ephemeral=True)
        check("of all kinds", (path, s.ephemeralOwner), ("/k1/s-0000000003", zk.client_id[0]))
        check("unicode", zk.create("/k1/ünïcode-\u6c34", "\u706b".encode()), "/k1/ünïcode-\u6c34")
        check("unicode data", zk.get("/k1/ünïcode-\u6c34")[0].decode(), "\u706b")
        check("big", zk.create("/k1/big", b"x" * 1_000_000), "/k1/big")
        check("big data", len(zk.get("/k1/big")[0]), 1_000_000)
        check("async", [r.get(5) for r in [zk.create_async(f"/k1/async-{i}") for i in range(50)]],
              [f"/k1/async-{i}" for i in range(50)])
        zk.delete("/k1", recursive=True)
        check("deleted with all below", zk.exists("/k1"), None)


@case
def sequences(server):
    with client(server) as zk:
        zk.create("/seq")
        check("0", zk.create("/seq/n-", sequence=True), "/seq/n-0000000000")
        check("1", zk.create("/seq/n-", sequence=True), "/seq/n-0000000001")
        zk.create("/seq/other")
        check("any child counts", zk.create("/seq/", sequence=True), "/seq/0000000003")
        zk.delete("/seq/n-0000000000")
        check("a deletion does not", zk.create("/seq/n-", sequence=True), "/seq/n-0000000004")
        check("cversion counts both", zk.exists("/seq").cversion, 6)
        check("makepath", zk.create("/seq/x/y-", sequence=True, makepath=True), "/seq/x/y-0000000000")


@case
def containers_and_ttls(server):
    with client(server) as zk:
        path, s = call(zk, jute.CREATE_CONTAINER, "sbAi", "/kc", b"1", jute.OPEN, 4, reply="sT")
        check("container", (path, s.dataLength, s.ephemeralOwner), ("/kc", 1, 0))
        path, s = call(zk, jute.CREATE_TTL, "sbAil", "/kt", b"12", jute.OPEN, 5, 300, reply="sT")
        check("ttl", (path, s.dataLength, s.ephemeralOwner), ("/kt", 2, 0))
        zk.create("/kc/a")
        zk.delete("/kc/a")
        check("the container goes", until(lambda: zk.exists("/kc") is None), True)
        check("the ttl node goes", until(lambda: zk.exists("/kt") is None), True)


@case
def reads_and_writes(server):
    with client(server) as zk:
        zk.create("/r", b"v")
        check("no children", zk.get_children("/r"), [])
        for name in "cab":
            zk.create("/r/" + name)
        check("children", sorted(zk.get_children("/r")), ["a", "b", "c"])
        children, s = zk.get_children("/r", include_data=True)
        check("children and stat", (sorted(children), s.numChildren, s.cversion), (["a", "b", "c"], 3, 3))
        check("the root's", {"zookeeper", "r"} <= set(zk.get_children("/")), True)
        check("/zookeeper's", sorted(zk.get_children("/zookeeper")), ["config", "quota"])
        check("exists not", zk.exists("/r/none"), None)
        for read in (zk.get, zk.get_children, zk.get_acls):
            raises(read.__name__, e.NoNodeError, read, "/r/none")
        check("sync", zk.sync("/r"), "/r")
        check("sync of nothing", zk.sync("/no/such/node"), "/no/such/node")
        s = zk.set("/r", b"one")
        check("set", (s.version, s.dataLength, s.mzxid > s.czxid), (1, 3, True))
        check("set at its version", zk.set("/r", b"", version=1).version, 2)
        raises("set at an older", e.BadVersionError, zk.set, "/r", b"", version=1)
        raises("set at a newer", e.BadVersionError, zk.set, "/r", b"", version=3)
        raises("set of nothing", e.NoNodeError, zk.set, "/r/none", b"")
        raises("delete with children", e.NotEmptyError, zk.delete, "/r")
        raises("delete at another version", e.BadVersionError, zk.delete, "/r", version=1)
        for name in "cab":
            zk.delete("/r/" + name, version=0)
        check("delete", zk.delete("/r", version=2), True)
        raises("delete again", e.NoNodeError, zk.delete, "/r")
        raises("delete the root", e.BadArgumentsError, zk.delete, "/")
        raises("create the root", e.NodeExistsError, zk.create, "/")
        raises("a bad path", e.BadArgumentsError, zk.create, "/r\x01")
        raises("an unknown flag", e.BadArgumentsError, call, zk, jute.CREATE, "sbAi", "/x", b"", jute.OPEN, 9)


@case
def ephemerals(server):
    with client(server) as other:
        with client(server) as zk:
            zk.create("/eph", b"x", ephemeral=True)
            zk.create("/ephs/a", ephemeral=True, makepath=True)
            check("its owner", other.exists("/eph").owner_session_id, zk.client_id[0])
            raises("no children", e.NoChildrenForEphemeralsError, other.create, "/eph/child")
            raises("of any kind", e.NoChildrenForEphemeralsError, zk.create, "/eph/child", ephemeral=True)
            before = other.exists("/ephs")
        check("gone with the session", (other.exists("/eph"), other.get_children("/ephs")), (None, []))
        after = other.exists("/ephs")
        check("which the parent shows", (after.cversion, after.pzxid > before.pzxid), (before.cversion + 1, True))


@case
def acls(server):
    with client(server, auth_data=[("digest", "ann:secret")]) as ann, client(server) as nobody:
        ann_acl = ACL(31, Id("digest", digest_id("ann:secret")))
        ann.create("/acl", b"x", acl=CREATOR_ALL_ACL)
        acl, s = ann.get_acls("/acl")
        check("auth becomes digest", (acl, s.aversion), ([ann_acl], 0))
        check("make_digest_acl agrees", make_digest_acl("ann", "secret", all=True), ann_acl)
        for what in (lambda: nobody.get("/acl"), lambda: nobody.set("/acl", b""), lambda: nobody.get_children("/acl"),
                     lambda: nobody.create("/acl/a"), lambda: nobody.get_acls("/acl"),
                     lambda: nobody.set_acls("/acl", OPEN_ACL_UNSAFE)):
            raises("nobody may not", e.NoAuthError, what)
        check("ann may", ann.get("/acl")[0], b"x")
        s = ann.set_acls("/acl", READ_ACL_UNSAFE + [ann_acl])
        check("set_acls", (s.aversion, s.version), (1, 0))
        check("now nobody may read", nobody.get("/acl")[0], b"x")
        check("and sees the digest hidden", nobody.get_acls("/acl")[0],
              [ACL(1, ANYONE_ID_UNSAFE), ACL(31, Id("digest", "ann:x"))])
        raises("but not write", e.NoAuthError, nobody.set, "/acl", b"")
        raises("set_acls at another version", e.BadVersionError, ann.set_acls, "/acl", OPEN_ACL_UNSAFE, version=0)
        check("set_acls at its version", ann.set_acls("/acl", OPEN_ACL_UNSAFE, version=1).aversion, 2)
        ann.set_acls("/acl", [make_acl("world", "anyone", read=True, create=True)])
        check("permissions one by one", ann.get_acls("/acl")[0],
              [ACL(Permissions.READ | Permissions.CREATE, ANYONE_ID_UNSAFE)])
        check("create is allowed", nobody.create("/acl/b"), "/acl/b")
        raises("delete is not", e.NoAuthError, nobody.delete, "/acl/b")
        raises("an empty acl", e.InvalidACLError, call, ann, jute.SET_ACL, "sAi", "/acl/b", [], -1)
        raises("auth of nobody", e.InvalidACLError, nobody.create, "/acl/c", acl=CREATOR_ALL_ACL)
        raises("an unknown scheme", e.InvalidACLError, nobody.create, "/acl/c", acl=[make_acl("who", "x", all=True)])
        # Several identities at once.
        nobody.add_auth("digest", "bob:one")
        nobody.add_auth("digest", "cat:two")
        nobody.create("/acl2", acl=CREATOR_ALL_ACL)
        check("auth is all of them", sorted(a.id.id for a in nobody.get_acls("/acl2")[0]),
              sorted([digest_id("bob:one"), digest_id("cat:two")]))
        with client(server, auth_data=[("digest", "cat:two")]) as cat:
            check("one suffices", cat.get("/acl2")[0], b"")
        for i, (ip, may) in enumerate([("127.0.0.1", True), ("127.0.0.0/24", True), ("10.1.2.3", False)]):
            ann.create(f"/acl-ip{i}", b"", acl=[make_acl("ip", ip, all=True)])
            if may:
                check(ip, ann.get(f"/acl-ip{i}")[0], b"")
            else:
                raises(ip, e.NoAuthError, ann.get, f"/acl-ip{i}")
        ann.add_auth("digest", SUPER)
        check("super may all", ann.get("/acl-ip2")[0], b"")
        check("who am i", sorted(call(ann, jute.WHO_AM_I, "", reply="C")),
              [("digest", "ann"), ("digest", "super"), ("ip", "127.0.0.1"), ("super", "")])
    with client(server) as zk:
        states = []
        zk.add_listener(states.append)
        raises("an unknown scheme", e.AuthFailedError, zk.add_auth, "nobody", "x")
        # The server closes next; how fast kazoo is connected again with a new session is between its threads.
        check("ends the session for this client", until(lambda: states[:1] == [KazooState.LOST]), True)


@case
def watches(server):
    with client(server) as zk, client(server) as w:
        events = []

        def seen(*expected):
            until(lambda: len(events) >= len(expected))
            time.sleep(0.05)
            got = [(ev.type, ev.path) for ev in events]
            events.clear()
            return got == list(expected) or got

        zk.create("/w", b"")
        check("exists not", w.exists("/w/a", watch=events.append), None)
        zk.create("/w/a")
        check("created", seen((EventType.CREATED, "/w/a")), True)
        w.exists("/w/a", watch=events.append)
        zk.set("/w/a", b"1")
        check("changed", seen((EventType.CHANGED, "/w/a")), True)
        w.get("/w/a", watch=events.append)
        zk.set("/w/a", b"2")
        zk.set("/w/a", b"3")
        check("only once", seen((EventType.CHANGED, "/w/a")), True)
        w.get("/w/a", watch=events.append)
        zk.delete("/w/a")
        check("deleted", seen((EventType.DELETED, "/w/a")), True)
        w.get_children("/w", watch=events.append)
        zk.create("/w/b")
        check("child", seen((EventType.CHILD, "/w")), True)
        w.get_children("/w", watch=events.append)
        zk.set("/w/b", b"x")
        zk.set("/w", b"x")
        check("children's watches hear no data", seen(), True)
        zk.delete("/w/b")
        check("child deleted", seen((EventType.CHILD, "/w")), True)
        w.get_children("/w", watch=events.append)
        zk.delete("/w")
        check("the node itself deleted", seen((EventType.DELETED, "/w")), True)


@case
def watchers(server):
    with client(server) as zk, client(server) as w:
        data, children = [], []

        @w.DataWatch("/dw")
        def on_data(value, stat, event):
            data.append((value, stat and stat.version, event and event.type))
            return len(data) < 6

        zk.create("/dw", b"a")
        until(lambda: len(data) >= 2)
        zk.set("/dw", b"b")
        until(lambda: len(data) >= 3)
        zk.delete("/dw")
        until(lambda: len(data) >= 4)
        zk.create("/dw", b"c")
        until(lambda: len(data) >= 5)
        zk.set("/dw", b"d")
        until(lambda: len(data) >= 6)
        zk.set("/dw", b"e")
        time.sleep(0.1)
        check("DataWatch", data, [(None, None, None), (b"a", 0, "CREATED"), (b"b", 1, "CHANGED"), (None, None, "DELETED"),
                                  (b"c", 0, "CREATED"), (b"d", 1, "CHANGED")])

        @w.ChildrenWatch("/dw", send_event=True)
        def on_children(names, event):
            children.append((sorted(names), event and event.type))

        for i, step in enumerate([lambda: zk.create("/dw/x"), lambda: zk.create("/dw/y"), lambda: zk.delete("/dw/x")]):
            step()
            until(lambda: len(children) >= i + 2)
        check("ChildrenWatch", children, [([], None), (["x"], "CHILD"), (["x", "y"], "CHILD"), (["y"], "CHILD")])


@case
def watches_that_stay(server):
    new = server.version >= (3, 9)
    with client(server) as zk, client(server) as w:
        events = []
        w._connection._read_watch_event = lambda data, offset: events.append(Watch.deserialize(data, offset)[0])

        def seen(n):
            until(lambda: len(events) >= n)
            w.sync("/")
            got = [(ev.type, ev.path) for ev in events]
            events.clear()
            return got

        check("addWatch", call(w, jute.ADD_WATCH, "si", "/pw", 0, reply="i"), 0)
        zk.create("/pw")
        zk.create("/pw/a")
        zk.set("/pw", b"1")
        zk.set("/pw/a", b"1")
        zk.delete("/pw/a")
        check("persistent", seen(4), [(1, "/pw"), (4, "/pw"), (3, "/pw"), (4, "/pw")])
        check("removeWatches", call(w, jute.REMOVE_WATCHES, "si", "/pw", 3), None)
        raises("again", e.NoWatcherError, call, w, jute.REMOVE_WATCHES, "si", "/pw", 3)
        zk.set("/pw", b"2")
        check("quiet", seen(0), [])
        call(w, jute.ADD_WATCH, "si", "/pw", 1)
        zk.create("/pw/a")
        zk.create("/pw/a/b")
        zk.set("/pw/a/b", b"")
        check("recursive", seen(3), [(1, "/pw/a"), (1, "/pw/a/b"), (3, "/pw/a/b")])
        kind = 5 if new else 3
        check("checkWatches", call(w, jute.CHECK_WATCHES, "si", "/pw", kind), None)
        check("removeWatches", call(w, jute.REMOVE_WATCHES, "si", "/pw", kind), None)
        raises("checkWatches again", e.NoWatcherError, call, w, jute.CHECK_WATCHES, "si", "/pw", kind)
        zk.delete("/pw", recursive=True)
        check("quiet", seen(0), [])


@case
def transactions(server):
    with client(server) as zk:
        zk.create("/t", b"x")
        t = zk.transaction()
        t.create("/t/a", b"1")
        t.create("/t/s-", sequence=True, ephemeral=True)
        t.set_data("/t", b"y", version=0)
        t.check("/t/a", 0)
        t.delete("/t/a")
        results = t.commit()
        check("results", (results[0], results[1], results[2].version, results[3], results[4]),
              ("/t/a", "/t/s-0000000001", 1, True, True))
        check("done", (zk.get("/t")[0], zk.get_children("/t")), (b"y", ["s-0000000001"]))
        t = zk.transaction()
        t.create("/t/b")
        t.check("/t", 7)
        t.set_data("/none", b"")
        t.delete("/t")
        check("failure", [type(r) for r in t.commit()],
              [e.RolledBackError, e.BadVersionError, e.RuntimeInconsistency, e.RuntimeInconsistency])
        check("undone", zk.exists("/t/b"), None)
        for step, error in [(lambda t: t.create("/t"), e.NodeExistsError), (lambda t: t.create("/no/a"), e.NoNodeError),
                            (lambda t: t.delete("/t"), e.NotEmptyError), (lambda t: t.check("/no", -1), e.NoNodeError),
                            (lambda t: t.set_data("/no", b""), e.NoNodeError),
                            (lambda t: t.delete("/t", version=0), e.BadVersionError)]:
            t = zk.transaction()
            step(t)
            check("alone", [type(r) for r in t.commit()], [error])
        with zk.transaction() as t:
            t.create("/t/c", b"1")
        check("as a context", zk.get("/t/c")[0], b"1")
        t = zk.transaction()
        t.create("/t/c/d")
        t.delete("/t/c")
        check("sees itself", [type(r) for r in t.commit()], [e.RolledBackError, e.NotEmptyError])


@case
def chroots(server):
    with client(server) as zk, client(server, "/cage") as caged:
        raises("it has to exist", e.NoNodeError, caged.create, "/a")
        caged.ensure_path("/")
        check("create", caged.create("/a", b"1"), "/a")
        check("sequence", caged.create("/a/s-", sequence=True), "/a/s-0000000000")
        check("from outside", (zk.get("/cage/a")[0], zk.get_children("/cage/a")), (b"1", ["s-0000000000"]))
        events = []
        caged.get_children("/a", watch=events.append)
        zk.create("/cage/a/b")
        until(lambda: events)
        check("watch", [(ev.type, ev.path) for ev in events], [("CHILD", "/a")])
        t = caged.transaction()
        t.create("/t")
        check("transaction", t.commit(), ["/t"])
        check("sync", caged.sync("/a"), "/a")


@case
def expiry_by_another_connection(server):
    with client(server) as zk, client(server) as watcher:
        zk.create("/exp", ephemeral=True)
        gone, states = [], []
        zk.add_listener(states.append)
        watcher.exists("/exp", watch=gone.append)
        id, password = zk.client_id
        with client(server, client_id=(id, password)) as thief:
            check("the same session", thief.client_id[0], id)
            check("its ephemeral stays", thief.exists("/exp").ephemeralOwner, id)
        # The thief closed the session; the owner learns it when it comes back.
        check("deleted", until(lambda: [(ev.type, ev.path) for ev in gone]), [("DELETED", "/exp")])
        check("the owner is told", until(lambda: KazooState.LOST in states), True)
        check("and gets a new one", until(lambda: zk.connected and zk.client_id[0] != id), True)
        check("which works", zk.create("/exp2", ephemeral=True), "/exp2")
    with client(server) as zk:
        id, password = zk.client_id
        wrong = KazooClient(server.address, client_id=(id, b"wrong-password--"), timeout=5)
        lost = []
        wrong.add_listener(lost.append)
        wrong.start()
        check("a wrong password is as good as no session", (wrong.client_id[0] != id, wrong.client_id[1] != password),
              (True, True))
        close(wrong)
        check("the owner's session lives", until(lambda: zk.connected and zk.client_id[0] == id), True)


@case
def reconnects(server):
    # kazoo waits longer and longer between its attempts: a slow start would outlast the session.
    steady = {"max_tries": -1, "delay": 0.1, "backoff": 1, "max_jitter": 0.1}
    with client(server, timeout=10, connection_retry=steady) as zk, client(server) as other:
        zk.create("/rec", b"1", ephemeral=True)
        id, states, events = zk.client_id[0], [], []
        zk.add_listener(states.append)
        zk.get("/rec", watch=events.append)
        zk._connection._socket.shutdown(2)
        check("suspended and connected", until(lambda: states == [KazooState.SUSPENDED, KazooState.CONNECTED]), True)
        check("the same session", zk.client_id[0], id)
        check("its ephemeral", other.get("/rec")[0], b"1")
        # A restart of the server: sessions and ephemerals are in its log.
        version = zk.exists("/rec").czxid
        states.clear()
        server.stop()
        until(lambda: KazooState.SUSPENDED in states)
        server.start()
        check("connected again", until(lambda: states and states[-1] == KazooState.CONNECTED, 20), True)
        check("the same session still", zk.client_id[0], id)
        check("its ephemeral still", (zk.get("/rec")[0], zk.exists("/rec").czxid), (b"1", version))
        zk.set("/rec", b"2")
        check("sees its own", zk.get("/rec")[0], b"2")


@case
def read_only_and_commands(server):
    with client(server, read_only=True) as zk:
        check("a server that writes is no read-only one", (zk.client_state, zk.create("/ro")), (KeeperState.CONNECTED, "/ro"))
        check("ruok", zk.command(b"ruok"), "imok")
        check("srvr", zk.command(b"srvr").splitlines()[0].partition(":")[0], "Zookeeper version")
        check("server_version", zk.server_version()[:2], server.version)
        check("isro", zk.command(b"isro"), "rw")


@case
def config_and_reconfig(server):
    with client(server) as zk:
        data, s = zk.get("/zookeeper/config")
        check("config", (data, s.version, s.aversion), (b"", 0, -1))
        raises("reconfig", e.ReconfigDisabledError, zk.reconfig, joining="server.5=localhost:1:2;3", leaving=None,
               new_members=None)
        raises("nobody may write the configuration", e.NoAuthError, zk.set, "/zookeeper/config", b"")


@case
def tls_and_sasl(server):
    folder = tempfile.mkdtemp()
    try:
        tls.certificates(folder)
        port = free_port()
        with server.other(**tls.cfg(folder, port), **tls.sasl_cfg(folder, {"tour": "secret"})) as secure:
            files = {"ca": folder + "/ca.pem", "certfile": folder + "/client.pem", "keyfile": folder + "/client.key"}

            def over_tls(**kwargs):
                zk = KazooClient(f"127.0.0.1:{port}", use_ssl=True, timeout=5, **kwargs)
                zk.start()
                return zk

            zk = over_tls(**files)
            check("create over TLS", zk.create("/tls", b"x" * 100_000), "/tls")
            check("get over TLS", len(zk.get("/tls")[0]), 100_000)
            # The names come in reverse, as RFC 2253 has it.
            subject = "CN=tour,O=Foreign"
            check("the certificate is an identity", sorted(call(zk, jute.WHO_AM_I, "", reply="C")),
                  [("ip", "127.0.0.1"), ("x509", subject)])
            zk.create("/x509", acl=[make_acl("x509", subject, all=True)])
            zk.create("/x509-auth", acl=CREATOR_ALL_ACL)
            check("auth becomes x509", zk.get_acls("/x509-auth")[0], [ACL(31, Id("x509", subject))])
            check("may read", zk.get("/x509")[0], b"")
            with client(secure) as plain:
                check("the plain port serves too", plain.get("/tls")[1].dataLength, 100_000)
                raises("but knows no certificate", e.NoAuthError, plain.get, "/x509")
            close(zk)
            raises("without a certificate", ssl.SSLError, no_tls, port, folder)

            sasl = {"mechanism": "DIGEST-MD5", "username": "tour", "password": "secret"}
            with client(secure, sasl_options=sasl) as zk:
                check("SASL", sorted(call(zk, jute.WHO_AM_I, "", reply="C")), [("ip", "127.0.0.1"), ("sasl", "tour")])
                zk.create("/sasl", acl=[make_acl("sasl", "tour", all=True)])
                zk.create("/sasl-auth", acl=CREATOR_ALL_ACL)
                check("auth becomes sasl", zk.get_acls("/sasl-auth")[0], [ACL(31, Id("sasl", "tour"))])
                check("may read", zk.get("/sasl")[0], b"")
            with client(secure) as plain:
                raises("others may not", e.NoAuthError, plain.get, "/sasl")
            wrong = KazooClient(secure.address, timeout=5, sasl_options={**sasl, "password": "wrong"})
            states = []
            wrong.add_listener(lambda state: states.append((state, wrong.client_state)))
            wrong.start()
            # The session begins before SASL does.
            check("a wrong password", until(lambda: states[1:]), [(KazooState.LOST, KeeperState.AUTH_FAILED)])
            close(wrong)
    finally:
        shutil.rmtree(folder)


def no_tls(port, folder):
    """A TLS handshake without a client's certificate; the server's refusal comes with the first read."""
    context = ssl.create_default_context(cafile=folder + "/ca.pem")
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", port), 5) as s, context.wrap_socket(s) as t:
        t.sendall(b"\0\0\0\0")
        t.recv(1)


if __name__ == "__main__":
    main(__doc__, {"tickTime": 500, "znode.container.checkIntervalMs": 200})
