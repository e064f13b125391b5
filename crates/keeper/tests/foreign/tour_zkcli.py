#!/usr/bin/env python3
"""Apache's own shell (zkCli), Debian's 3.8 and 3.9, through its commands: each output line for line, each event."""
import re
import subprocess

from apache import digest_id, java
from checks import case, check, main

TIME = re.compile(r"^(ctime|mtime) = .*\d\d:\d\d:\d\d.*$")
EVENT = re.compile(r"^WatchedEvent state:(\w+) type:(\w+) path:(\S+?)(?: zxid: (-?\d+))?$")


def stat(czxid, mzxid, pzxid, cversion, version, acl, length, kids, owner="0x0"):
    """As the shell prints it; times are cut off."""
    return [f"cZxid = {czxid:#x}", "ctime", f"mZxid = {mzxid:#x}", "mtime", f"pZxid = {pzxid:#x}",
            f"cversion = {cversion}", f"dataVersion = {version}", f"aclVersion = {acl}", f"ephemeralOwner = {owner}",
            f"dataLength = {length}", f"numChildren = {kids}"]


KIDS = ["[con, e, es-0000000002, s-0000000001, ttl]"]
WARNING = ["[Warning]: the count quota you create is less than the existing count:8"]
LIMITS = ["absolute path is /zookeeper/quota/c/zookeeper_limits"]
OPEN = ["'world,'anyone", ": cdrwa"]

# On a fresh server the session is transaction 1; numbers are zxids.
STEPS = [
    ("create /c data", ["Created /c"]),  # 2
    ("create /c data", ["Node already exists: /c"]),  # 3
    ("create -e /c/e eph", ["Created /c/e"]),
    ("create -s /c/s- seq", ["Created /c/s-0000000001"]),
    ("create -e -s /c/es- x", ["Created /c/es-0000000002"]),
    ("create -c /c/con", ["Created /c/con"]),
    ("create -t 100000 /c/ttl t", ["Created /c/ttl"]),  # 8
    ("create /c/none/x", ["Node does not exist: /c/none/x"]),  # 9
    ("create /c/e/x", ["Ephemerals cannot have children: /c/e/x"]),  # 10
    ("ls /", ["[c, zookeeper]"]),
    ("ls -s /c", KIDS + stat(2, 2, 8, 5, 0, 0, 4, 5)),
    ("ls -R /c", ["/c", "/c/con", "/c/e", "/c/es-0000000002", "/c/s-0000000001", "/c/ttl"]),
    ("ls -w /c", KIDS),
    ("create /c/w", ["Created /c/w"]),  # 11
    ("get /c", ["data"]),
    ("get -s /c", ["data"] + stat(2, 2, 11, 6, 0, 0, 4, 6)),
    ("get -w /c", ["data"]),
    ("set /c new", []),  # 12
    ("set -v 0 /c no", ["version No is not valid : /c"]),  # 13
    ("set -v 1 /c yes", []),  # 14
    ("set -s /c stat", stat(2, 15, 11, 6, 3, 0, 4, 6)),  # 15
    ("stat /c", stat(2, 15, 11, 6, 3, 0, 4, 6)),
    ("stat -w /c/none", ["Node does not exist: /c/none"]),
    ("create /c/none", ["Created /c/none"]),  # 16
    ("getAcl /c", OPEN),
    ("getAcl -s /c", OPEN + stat(2, 15, 16, 7, 3, 0, 4, 7)),
    ("addauth digest ann:secret", []),
    ("setAcl /c/w auth:x:cdrwa", []),  # 17
    ("getAcl /c/w", [f"'digest,'{digest_id('ann:secret')}", ": cdrwa"]),
    ("create /c/none/deep", ["Created /c/none/deep"]),  # 18
    ("setAcl -R /c/none world:anyone:rwa", []),  # 19, 20
    ("getAcl /c/none/deep", ["'world,'anyone", ": rwa"]),
    ("create /c/none/no", ["Insufficient permission : /c/none/no"]),  # 21
    ("setAcl -R /c/none world:anyone:cdrwa", []),  # 22, 23
    ("setAcl -v 9 /c world:anyone:cdrwa", ["version No is not valid : /c"]),  # 24
    ("setAcl -s /c world:anyone:cdrwa", stat(2, 15, 16, 7, 3, 1, 4, 7)),  # 25
    ("delete /c", ["Node not empty: /c"]),
    ("delete -v 9 /c/s-0000000001", ["version No is not valid : /c/s-0000000001"]),
    ("delete /c/s-0000000001", []),  # 28
    ("sync /c", ["Sync is OK"]),
    ("setquota -n 5 /c", WARNING),  # two nodes above it, itself and its stat: 29 to 32
    ("setquota -B 1000 /c", WARNING),
    ("listquota /c", LIMITS + ["Output quota for /c count=5,bytes=-1=;byteHardLimit=1000;countHardLimit=-1",
                               "Output stat for /c count=8,bytes=9"]),
    ("delquota -n /c", []),
    ("listquota /c", LIMITS + ["Output quota for /c count=-1,bytes=-1=;byteHardLimit=1000;countHardLimit=-1",
                               "Output stat for /c count=8,bytes=9"]),
    ("delquota /c", []),
    ("listquota /c", LIMITS + ["quota for /c does not exist."]),
    ("getEphemerals", ["[/c/e, /c/es-0000000002]"]),
    ("getEphemerals /c/es", ["[/c/es-0000000002]"]),
    ("getEphemerals /none", ["[]"]),
    ("getAllChildrenNumber /c", ["7"]),
    ("whoami", ["Auth scheme: User", "digest: ann", "ip: 127.0.0.1"]),
    ("addWatch -m PERSISTENT /c", []),
    ("set /c 3", []),
    ("set /c 4", []),
    ("removewatches /c", []),
    ("removewatches /c", ["KeeperErrorCode = No such watcher for /c"]),
    ("addWatch -m PERSISTENT_RECURSIVE /c/none", []),
    ("create /c/none/a", ["Created /c/none/a"]),
    ("set /c/none/a x", []),
    ("config", []),
    ("config -s", stat(0, 0, 0, 0, 0, -1, 0, 0)),
    ("reconfig -add server.1=localhost:1:2:participant;3", ["KeeperErrorCode = Reconfig is disabled"]),
    ("get /nowhere", ["Node does not exist: /nowhere"]),
    ("getAcl /nowhere", ["Node does not exist: /nowhere"]),
    ("deleteall /nowhere", ["Node does not exist: /nowhere"]),
    ("deleteall /c", []),
    ("ls /c", ["Node does not exist: /c"]),
    ("printwatches off", []),
    ("printwatches", ["printwatches is off"]),
    ("printwatches on", []),
]

# (event, path): those of one-shot watches, of the persistent one, of the recursive one.
EVENTS = [
    ("NodeChildrenChanged", "/c"), ("NodeDataChanged", "/c"), ("NodeCreated", "/c/none"),
    ("NodeDataChanged", "/c"), ("NodeDataChanged", "/c"), ("PersistentWatchRemoved", "/c"),
    ("NodeCreated", "/c/none/a"), ("NodeDataChanged", "/c/none/a"),
    ("NodeDeleted", "/c/none/a"), ("NodeDeleted", "/c/none/deep"), ("NodeDeleted", "/c/none"),
]


def run(client, server, commands, *one_shot):
    argv = java(client, "64m", {"zookeeper.extendedTypesEnabled": "true"})
    argv += ["org.apache.zookeeper.ZooKeeperMain", "-server", server.address, *one_shot]
    done = subprocess.run(argv, input=commands, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    lines = [TIME.sub(r"\1", line) for line in done.stdout.splitlines()]
    # Events are printed by a thread of their own, anywhere in between.
    events = [m.groups() for m in map(EVENT.match, lines) if m]
    rest = [line for line in lines if line and line != "WATCHER::" and not EVENT.match(line)]
    return done.returncode, rest, events


def shell(server, client):
    def mark(i):
        return f"Node does not exist: /-mark-{i}-"

    script = "".join(f"{command}\nget /-mark-{i}-\n" for i, (command, _) in enumerate(STEPS))
    tail = f"history\nversion\nclose\nls /\nconnect {server.address}\nls /\nquit\n"
    code, lines, events = run(client, server, script + tail)
    check("exit code", code, 0)
    at = lines.index("JLine support is disabled") + 1
    for i, (command, expected) in enumerate(STEPS):
        end = lines.index(mark(i))
        got = lines[at:end]
        if command == "whoami" or command.startswith("getEphemerals"):  # in no order
            got = got[:1] + sorted(got[1:])
            got = ["[" + ", ".join(sorted(line[1:-1].split(", "))) + "]" if line[0] == "[" else line for line in got]
        check(command, got, expected)
        at = end + 1
    rest = lines[at:]
    n = 2 * len(STEPS)
    check("history", rest[8:11], [f"{n - 2} - printwatches on", f"{n - 1} - get /-mark-{len(STEPS) - 1}-", f"{n} - history"])
    check("version", rest[11].startswith(f"ZooKeeper CLI version: {client}."), True)
    check("close, connect", rest[12:], ["Not connected", "[zookeeper]"])
    states = [e[:2] for e in events if e[1] == "None"]
    # The last "Closed" is printed if the shell's process lives long enough.
    check("sessions", states[:3], [("SyncConnected", "None"), ("Closed", "None"), ("SyncConnected", "None")])
    events = [e for e in events if e[1] != "None"]
    told = [e[1:3] for e in events]
    told[8:10] = sorted(told[8:10])  # siblings, in the order in which the shell deleted them: any
    check("events", told, EVENTS)
    if client == "3.9":
        # A client that is told the zxids of events; a server of 3.8 does not tell them.
        zxids = [int(e[3]) for e in events]
        told = [11, 12, 16] if server.version >= (3, 9) else [-1] * 3
        check("zxids of events", zxids[:3], told)
        check("of one multi", len(set(zxids[8:])), 1)


@case
def shell_39(server):
    shell(server, "3.9")


@case
def shell_38(server):
    with server.other() as fresh:
        shell(fresh, "3.8")


@case
def one_shot(server):
    check("create", run("3.9", server, "", "create", "/one", "shot")[:1], (0,))
    code, lines, _ = run("3.9", server, "", "get", "/one")
    check("get", (code, lines[-1:]), (0, ["shot"]))
    code, lines, _ = run("3.9", server, "", "get", "/none")
    check("get of nothing", (code, lines[-1:]), (1, ["Node does not exist: /none"]))


if __name__ == "__main__":
    main(__doc__)
