#!/usr/bin/env python3
"""Four-letter words and the AdminServer's commands.

What is the same everywhere is written here; long lists of names and types are in fixtures/admin-VERSION.json, which
`--record` renews from Apache (never from ours).
"""
import json
import os
import re
import socket
import struct
import time
import urllib.error
import urllib.request

import jute
from apache import SUPER, four_letter
from checks import case, check, main, until
from server import free_port

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
SEEN = {}
# Of Java, not of ZooKeeper: ours may leave them out.
JAVA = ("java.", "os.memory.")
ADMIN_PORT = free_port()


def shape(text):
    """The lines, with what differs from run to run left out."""
    text = re.sub(r"3\.\d+\.\d+[-+.\w${}]*(, built on .*)?", "VERSION", text)
    text = re.sub(r"/127\.0\.0\.1:\d+|127\.0\.0\.1:\d+", "ADDRESS", text)
    text = re.sub(r"0x[0-9a-f]+", "HEX", text)
    text = re.sub(r"expire at .*:$", "expire at TIME:", text, flags=re.M)
    return re.sub(r"-?\d+(\.\d+)?", "N", text).splitlines()


def kinds(value):
    """A JSON value's names and types."""
    if isinstance(value, dict):
        return {k: kinds(v) for k, v in sorted(value.items())}
    if isinstance(value, list):
        return [kinds(value[0])] if value else []
    return type(value).__name__


def kind(text):
    return "int" if re.fullmatch(r"-?\d+", text) else "float" if re.fullmatch(r"-?\d+\.\d+(E-?\d+)?", text) else "str"


def fixture(server):
    with open(f"{FIXTURES}/admin-{server.version[0]}.{server.version[1]}.json") as f:
        return json.load(f)


def compare(server, name, got):
    """With what was recorded; ours may have more names, but none fewer."""
    SEEN[name] = got
    if server.args.record:
        return
    want = fixture(server)[name]
    if server.keeper and isinstance(want, dict):
        got = {k: v for k, v in got.items() if k in want}
    check(name, got, want)


def busy(server):
    """A client with an ephemeral and two watches."""
    c = jute.Connection(server.port)
    if not c.stat("/adm"):
        c.create("/adm", b"data")
    c.create("/adm/eph", flags=1)
    c.ask(jute.GET_DATA, "s?", "/adm", True)
    c.ask(jute.GET_CHILDREN, "s?", "/adm", True)
    return c


@case
def words(server):
    def ask(word):
        return four_letter(server.port, word)

    with busy(server) as c:
        zxid, session = c.zxid(), f"{c.session:#x}"
        check("ruok", ask("ruok"), "imok")
        check("isro", ask("isro"), "rw")
        check("gtmk", ask("gtmk"), "306")
        check("crst", ask("crst"), "Connection stats reset.\n")
        check("srst", ask("srst"), "Server stats reset.\n")
        srvr = ["Zookeeper version: VERSION", "Latency min/avg/max: N/N/N", "Received: N", "Sent: N", "Connections: N",
                "Outstanding: N", "Zxid: HEX", "Mode: standalone", "Node count: N"]
        check("srvr", shape(ask("srvr")), srvr)
        check("its values", ask("srvr").splitlines()[6:], [f"Zxid: {zxid:#x}", "Mode: standalone", "Node count: 7"])
        client = " ADDRESS[N](queued=N,recved=N,sent=N)"
        got = shape(ask("stat"))
        check("stat", sorted(got), sorted([srvr[0], "Clients:", client, client, "", *srvr[1:]]))
        check("stat begins so", got[:3], [srvr[0], "Clients:", client])
        check("stat: none waits, our own connection last of all", ask("stat").count("[1]"), 1)
        cons = " ADDRESS[N](queued=N,recved=N,sent=N,sid=HEX,lop=NA,est=N,to=N,lzxid=HEX,lresp=N,llat=N,minlat=N,avglat=N,maxlat=N)"
        c.ask(jute.SET_DATA, "sbi", "/adm/eph", b"", -1)
        full = cons.replace("lop=NA,est=N,to=N,", "lop=SETD,est=N,to=N,lcxid=HEX,")
        check("cons", sorted(shape(ask("cons"))), sorted([full, client, ""]))
        line = next(x for x in ask("cons").splitlines() if "sid=" in x)
        check("its values", [f"sid={session}," in line, "to=5000," in line, f"lzxid={zxid + 1:#x}," in line], [True] * 3)
        dump = ask("dump")
        # Connections that expire in the same tick are told together.
        check("dump", [line for line in shape(dump) if line != "N expire at TIME:"], DUMP)
        check("its values", f"{session}:\n\t/adm/eph\n" in dump, True)
        # Of the two watches only that of the data: these words leave out those of children.
        check("wchs", ask("wchs"), "1 connections watching 1 paths\nTotal watches:1\n")
        check("wchc", ask("wchc"), f"{session}\n\t/adm\n\n")
        check("wchp", ask("wchp"), f"/adm\n\t{session}\n\n")
        check("dirs", shape(ask("dirs")), ["datadir_size: N", "logdir_size: N"])
        check("hash, before the first digest", ask("hash"), "")
        check("an unknown word is no word: a frame that is too long", ask("xxxx"), "")
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(b"stmk" + struct.pack("!q", 306))
            check("stmk", s.recv(100), b"306")
        # In pieces, and with what netcat adds.
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            for byte in b"ruok":
                s.sendall(bytes([byte]))
            check("in pieces", s.recv(100), b"imok")
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(b"ruok\n")
            check("with a line's end", s.recv(100), b"imok")
        conf = dict(line.split("=", 1) for line in ask("conf").splitlines())
        compare(server, "conf", {k: kind(v) for k, v in conf.items()})
        check("conf's values", {k: conf.get(k) for k in ("clientPort", "tickTime", "minSessionTimeout", "serverId")},
              {"clientPort": str(server.port), "tickTime": "500", "minSessionTimeout": "1000", "serverId": "0"})
        envi = ask("envi").splitlines()
        names = [line.partition("=")[0] for line in envi[1:]]
        compare(server, "envi", sorted(n for n in names if not n.startswith(JAVA)))
        check("envi's head and version", (envi[0], envi[1].startswith("zookeeper.version=%d.%d." % server.version)),
              ("Environment:", True))
        mntr = dict(line.split("\t") for line in ask("mntr").splitlines())
        compare(server, "mntr", {k: kind(v) for k, v in mntr.items()})
        check("mntr's values", {k: mntr.get(k) for k in MONITORED}, MONITORED)
    none = "0 connections watching 0 paths\nTotal watches:0\n"
    check("a closed client's watches are gone", until(lambda: ask("wchs") == none), True)


DUMP = """SessionTracker dump:
Session Sets (N)/(N):
\tHEX
ephemeral nodes dump:
Sessions with Ephemerals (N):
HEX:
\t/adm/eph
Connections dump:
Connections Sets (N)/(N):
\tip: ADDRESS sessionId: HEX
\tip: ADDRESS sessionId: HEX""".splitlines()

MONITORED = {"zk_server_state": "standalone", "zk_znode_count": "7", "zk_watch_count": "2", "zk_ephemerals_count": "1",
             "zk_num_alive_connections": "2", "zk_global_sessions": "1", "zk_outstanding_requests": "0"}


@case
def words_that_are_not_allowed(server):
    with server.other(**{"4lw.commands.whitelist": "ruok, srvr"}) as strict:
        check("allowed", four_letter(strict.port, "ruok"), "imok")
        for word in ("wchp", "dump", "mntr"):
            check(word, four_letter(strict.port, word), f"{word} is not executed because it is not in the whitelist.\n")


def http(path, method="GET", data=None, auth=None):
    request = urllib.request.Request(f"http://127.0.0.1:{ADMIN_PORT}/commands{path}", method=method, data=data)
    if auth:
        request.add_header("Authorization", auth)
    if data is not None:
        request.add_header("Content-Type", "application/octet-stream")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()


NAMES = ("configuration connection_stat_reset connections dirs dump environment get_trace_mask hash initial_configuration "
         "is_read_only last_snapshot leader monitor observer_connection_stat_reset observers ruok server_stats "
         "set_trace_mask stat_reset stats system_properties voting_view watch_summary watches watches_by_path "
         "zabstate").split()
ALIASES = {"crst": "connection_stat_reset", "conf": "configuration", "config": "configuration", "cons": "connections",
           "env": "environment", "envi": "environment", "gtmk": "get_trace_mask", "icfg": "initial_configuration",
           "isro": "is_read_only", "lsnp": "last_snapshot", "lead": "leader", "mntr": "monitor",
           "orst": "observer_connection_stat_reset", "srvr": "server_stats", "stat": "stats", "srst": "stat_reset",
           "obsr": "observers", "sysp": "system_properties", "wchc": "watches", "wchp": "watches_by_path",
           "wchs": "watch_summary"}


@case
def admin(server):
    with busy(server) as c:
        status, headers, body = http("")
        links = re.findall(r'<a href="/commands/(\w+)">(\w+)</a>', body.decode())
        new = [] if server.version < (3, 9) else ["restore", "snapshot"]
        check("the list of commands", (status, [a for a, _ in links]), (200, sorted(NAMES + new)))
        answers = {}
        for name in NAMES:
            status, headers, body = http("/" + name)
            answers[name] = json.loads(body)
            check(f"{name}: the head", (status, headers["Content-Type"]), (200, "application/json"))
            check(f"{name}: the command", answers[name]["command"], name)
            if name == "environment":
                answers[name] = {k: v for k, v in answers[name].items() if not k.startswith(JAVA)}
            if name in ("system_properties", "initial_configuration"):
                continue
            got = kinds(answers[name])
            for varying in ("expiry_time_to_session_ids", "session_id_to_ephemeral_paths", "session_id_to_watched_paths"):
                if varying in got:
                    # An expiry that has passed stays for a while, without sessions.
                    got[varying] = [v for v in got[varying].values() if v]
            compare(server, "http " + name, got)
        for alias, name in ALIASES.items():
            check(alias, json.loads(http("/" + alias)[2])["command"], name)
        check("a plain answer", http("/ruok")[2], b'{\n  "command" : "ruok",\n  "error" : null\n}')
        check("an error", answers["leader"], {"command": "leader", "error": "server is not initialized"})
        check("an unknown command", (http("/bogus")[0], json.loads(http("/bogus")[2])),
              (200, {"command": "bogus", "error": "Unknown command: bogus"}))
        check("a parameter", json.loads(http("/set_trace_mask?traceMask=306")[2])["tracemask"], 306)
        check("and without it", answers["set_trace_mask"]["error"], "setTraceMask requires long traceMask argument")
        check("is_read_only", answers["is_read_only"]["read_only"], False)
        check("watches", answers["watches"]["session_id_to_watched_paths"], {str(c.session): ["/adm"]})
        check("watches_by_path", answers["watches_by_path"]["path_to_session_ids"], {"/adm": [c.session]})
        check("dump", answers["dump"]["session_id_to_ephemeral_paths"], {str(c.session): ["/adm/eph"]})
        check("watch_summary", [answers["watch_summary"][k] for k in ("num_connections", "num_paths", "num_total_watches")],
              [1, 1, 1])
        connection = answers["connections"]["connections"][0]
        check("a connection, after the statistics were reset",
              (connection["session_id"], connection["session_timeout"], connection["last_operation"]),
              (c.session, 5000, "NA"))
        check("the node count", answers["stats"]["node_count"], 7)


@case
def measured(server):
    """What one read and one write, which fires a watch, add to the figures."""
    def mntr():
        return dict(line.split("\t") for line in four_letter(server.port, "mntr").splitlines())

    with jute.Connection(server.port) as c:
        c.create("/m", b"12345")
        c.ask(jute.GET_DATA, "s?", "/m", False)
        # Apache counts some of it behind the answer.
        time.sleep(0.2)
        before = mntr()
        c.ask(jute.GET_DATA, "s?", "/m", True)
        c.ask(jute.SET_DATA, "sbi", "/m", b"abc", -1)
        # Lengths: 4 each; header 8, path 6, flag 1; header 8, path 6, data 7, version 4; and the word of mntr itself.
        want = {"bytes_received_count": 19 + 29 + 4, "packets_received": 3,
                # Without lengths: header 16, data 9, stat 68; header, stat; and header, type, state, path.
                "response_bytes": 93 + 84, "watch_bytes": 16 + 8 + 6,
                "cnt_readlatency": 1, "cnt_updatelatency": 1, "cnt_propagation_latency": 1,
                "cnt_node_changed_watch_count": 1, "sum_node_changed_watch_count": 1,
                "cnt_node_created_watch_count": 0, "cnt_m_read_per_namespace": 1, "sum_m_read_per_namespace": 2 + 5 + 68,
                "cnt_m_write_per_namespace": 1, "sum_m_write_per_namespace": 2 + 3,
                "outstanding_changes_queued": 1, "outstanding_changes_removed": 1,
                "cnt_fsynctime": 1, "cnt_sync_processor_batch_size": 1, "sum_sync_processor_batch_size": 1,
                "connection_request_count": 0, "connection_drop_count": 0}

        def gained():
            # Each look counts as a packet.
            nonlocal before
            last, before = before, mntr()
            return {k: int(before["zk_" + k]) - int(last["zk_" + k]) for k in want}

        check("figures", gained(), want)
        check("the last answer's size", before["zk_last_client_response_size"], "84")
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(b"\0")
        time.sleep(0.1)
    check("a connection that drops", until(lambda: gained()["connection_drop_count"] == 1), True)


@case
def snapshot_and_restore(server):
    if server.version < (3, 9):
        check("3.8 has no snapshot", json.loads(http("/snapshot")[2])["error"], "Unknown command: snapshot")
        return
    secret = "digest " + SUPER
    status, headers, body = http("/snapshot")
    check("without a login", (status, json.loads(body)),
          (401, {"command": "snapshot", "error": "Auth info is missing for the command"}))
    with jute.Connection(server.port) as c:
        c.create("/kept", b"1")
        zxid = c.zxid()
        status, headers, body = http("/snapshot", auth=secret)
        check("snapshot", (status, headers["last_zxid"], headers["Content-Type"]), (200, f"{zxid:#x}", "application/octet-stream"))
        check("its size", len(body), int(headers["snapshot_size"]))
        # A snapshot's file: magic, version 2, database -1.
        check("is a snapshot", body[:16], b"ZKSN" + struct.pack("!iq", 2, -1))
        status, headers, short = http("/snapshot?streaming=false", auth=secret)
        check("not streamed", (status, json.loads(short)), (200, {"command": "snapshot", "error": None}))
        check("last_snapshot", json.loads(http("/last_snapshot")[2])["zxid"], f"{zxid:x}")
        c.create("/lost")
        c.ask(jute.SET_DATA, "sbi", "/kept", b"2", -1)
    status, headers, answer = http("/restore", "POST", body)
    check("restore without a login", status, 401)
    status, headers, answer = http("/restore", "POST", body, secret)
    answer = json.loads(answer)
    # Apache goes back to the snapshot's zxid, so that its clients see time go back; ours goes on above all that it had given out.
    want = answer["last_zxid"] if server.keeper and answer["last_zxid"] > zxid else zxid
    check("restore", (status, answer), (200, {"command": "restore", "error": None, "last_zxid": want}))
    until(lambda: "Mode: standalone" in four_letter(server.port, "srvr"))
    with jute.Connection(server.port) as c:
        check("as it was", (c.ask(jute.GET_DATA, "s?", "/kept", False, reply="bT")[1][0], c.stat("/lost")), (b"1", None))
        check("writable", c.create("/again")[0], "/again")
    status, headers, answer = http("/restore", "POST", b"rubbish", secret)
    answer = json.loads(answer)
    # Apache does not tell why; ours does.
    why = answer["error"] if server.keeper and "damaged" in answer["error"] else None
    check("restore of rubbish", (status, answer), (500, {"command": "restore", "error": why}))


@case
def recorded(server):
    if server.args.record:
        if server.keeper:
            raise ValueError("fixtures are recorded from Apache")
        with open(f"{FIXTURES}/admin-{server.version[0]}.{server.version[1]}.json", "w") as f:
            json.dump(SEEN, f, indent=1, sort_keys=True)
            f.write("\n")
    check("fixtures", sorted(SEEN), sorted(fixture(server)))


def record(parser):
    parser.add_argument("--record", action="store_true", help="renew the fixtures from this Apache")


if __name__ == "__main__":
    main(__doc__, {"admin.enableServer": "true", "admin.serverPort": ADMIN_PORT, "admin.rateLimiterIntervalInMS": 1},
         record)
