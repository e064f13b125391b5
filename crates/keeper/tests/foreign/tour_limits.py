#!/usr/bin/env python3
"""Servers configured otherwise: what is refused, and how, by the raw protocol."""
import base64
import hashlib
import shutil
import socket
import ssl
import struct
import tempfile

import tls
from checks import case, check, main, until
from jute import (AUTH, CLOSE, CLOSED, CREATE, CREATE_CONTAINER, CREATE_TTL, DELETE, EXISTS, GET_ACL, GET_DATA, MULTI,
                  OPEN, PING, SET_ACL, SET_DATA, Connection, Reply, multi, pack, refused)
from server import free_port

OK, UNIMPLEMENTED, BAD_ARGUMENTS, REQUIRES_AUTH, QUOTA_EXCEEDED = 0, -6, -8, -124, -125


@case
def authentication_is_enforced(server):
    cfg = {"enforce.auth.enabled": "true", "enforce.auth.schemes": "digest",
           "DigestAuthenticationProvider.digestAlg": "SHA-256"}
    with server.other(**cfg) as strict:
        for op, body, xid in [(EXISTS, pack("s?", "/", False), 5), (PING, b"", -2), (CLOSE, b"", 6)]:
            with Connection(strict.port) as c:
                check(f"opcode {op} without a login", (c.call(op, body, xid=xid), c.next()),
                      (Reply(xid, 0, REQUIRES_AUTH, b""), CLOSED))
        with Connection(strict.port) as c:
            check("digest", c.call(AUTH, pack("isb", 0, "digest", b"ann:secret"), xid=-4), Reply(-4, 0, OK, b""))
            check("then all goes", c.ask(EXISTS, "s?", "/", False, reply="T")[0], OK)
            c.create("/mine", acl=[(31, "auth", "")])
            sha256 = base64.b64encode(hashlib.sha256(b"ann:secret").digest()).decode()
            check("digests of SHA-256", c.ask(GET_ACL, "s", "/mine", reply="AT")[1][0], [(31, "digest", "ann:" + sha256)])


@case
def quotas(server):
    with server.other(enforceQuota="true") as strict, Connection(strict.port) as c:
        def limit(path, limits):
            c.create("/zookeeper/quota" + path)
            c.create(f"/zookeeper/quota{path}/zookeeper_limits", limits)
            c.create(f"/zookeeper/quota{path}/zookeeper_stats", b"count=1,bytes=0")

        def new(path, data=b""):
            return c.ask(CREATE, "sbAi", path, data, OPEN, 0)[0]

        def usage(path):
            return c.ask(GET_DATA, "s?", f"/zookeeper/quota{path}/zookeeper_stats", False, reply="bT")[1][0]

        c.create("/hard")
        limit("/hard", b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3")
        check("within", [new("/hard/a", b"12345"), new("/hard/a/b")], [OK, OK])
        check("counted: itself and all below", usage("/hard"), b"count=3,bytes=5")
        check("one too many", new("/hard/c"), QUOTA_EXCEEDED)
        c.ask(DELETE, "si", "/hard/a/b", -1)
        check("freed", usage("/hard"), b"count=2,bytes=5")
        check("too many bytes", new("/hard/c", b"123456"), QUOTA_EXCEEDED)
        check("just enough", new("/hard/c", b"12345"), OK)
        check("setData beyond", c.ask(SET_DATA, "sbi", "/hard/c", b"123456", -1)[0], QUOTA_EXCEEDED)
        check("setData below", c.ask(SET_DATA, "sbi", "/hard/c", b"1", -1)[0], OK)
        check("counted", usage("/hard"), b"count=3,bytes=6")
        answer = c.call(MULTI, multi((SET_DATA, pack("sbi", "/hard/c", b"12", -1)),
                                     (CREATE, pack("sbAi", "/hard/d", b"", OPEN, 0))))
        check("in a multi", answer.body, refused(OK, QUOTA_EXCEEDED))
        c.create("/soft")
        limit("/soft", b"count=2,bytes=3")
        check("a soft one only warns", [new("/soft/a", b"1234"), new("/soft/b"), new("/soft/c")], [OK] * 3)
        check("elsewhere", new("/else", b"x" * 1000), OK)


@case
def sizes_and_time_outs(server):
    cfg = {"jute.maxbuffer": 4096, "minSessionTimeout": 700, "maxSessionTimeout": 3000, "extendedTypesEnabled": "false"}
    with server.other(**cfg) as small:
        for asked, given in [(1, 700), (1500, 1500), (60000, 3000)]:
            with Connection(small.port, timeout=asked) as c:
                check(f"the time-out for {asked}", c.connected.timeout, given)
        with Connection(small.port) as c:
            check("no ttls", c.ask(CREATE_TTL, "sbAil", "/t", b"", OPEN, 5, 1000), (UNIMPLEMENTED, None))
            check("but containers", c.ask(CREATE_CONTAINER, "sbAi", "/c", b"", OPEN, 4, reply="sT")[1][0], "/c")

        def setting(size):
            data = b"x" * (size - 8 - 4 - 2 - 4 - 4)
            with Connection(small.port) as c:
                c.socket.sendall(struct.pack("!i", size) + pack("iisbi", 7, SET_DATA, "/c", data, -1))
                try:
                    got = c.next()
                except OSError:
                    got = CLOSED
                return got if got == CLOSED else got[::2]

        check("a frame of the limit", setting(4096), (7, OK))
        check("beyond it", setting(4097), (7, BAD_ARGUMENTS) if server.keeper else CLOSED)


def attempt(server):
    """A connection, or None when the server closes it."""
    try:
        c = Connection(server.port)
    except OSError:
        return None
    return None if c.connected == CLOSED else c


@case
def connections(server):
    with server.other(maxClientCnxns=2, skipACL="yes") as few:
        # A closed connection counts for a moment yet, also that by which the server was found to be up.
        a, b = until(lambda: attempt(few)), until(lambda: attempt(few))
        check("a third from one address", attempt(few), None)
        check("others go on", a.ask(EXISTS, "s?", "/", False, reply="T")[0], OK)
        a.create("/none", acl=[(0, "world", "anyone")])
        check("skipACL", [b.ask(SET_DATA, "sbi", "/none", b"", -1)[0], b.ask(SET_ACL, "sAi", "/none", OPEN, -1)[0]], [OK, OK])
        b.close()
        check("room again", until(lambda: attempt(few)) is not None, True)
        a.close()
    with server.other(maxCnxns=1) as few:
        one = until(lambda: attempt(few))
        check("one in all", one.connected.protocol, 0)
        check("a second", attempt(few), None)


@case
def one_port_for_both(server):
    folder = tempfile.mkdtemp()
    try:
        tls.certificates(folder)
        cfg = {**tls.cfg(folder, free_port()), "client.portUnification": "true"}
        with server.other(**cfg) as both:
            with Connection(both.port) as c:
                check("plain", c.connected.protocol, 0)
            context = ssl.create_default_context(cafile=folder + "/ca.pem")
            context.load_cert_chain(folder + "/client.pem", folder + "/client.key")
            with socket.create_connection(("127.0.0.1", both.port), 10) as s:
                with context.wrap_socket(s, server_hostname="localhost") as t:
                    t.sendall(struct.pack("!i", 45) + pack("ililb?", 0, 0, 5000, 0, bytes(16), False))
                    check("TLS", struct.unpack("!iii", t.recv(12)), (37, 0, 5000))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(__doc__)
