#!/usr/bin/env python3
"""The C client's shell (Debian's zookeeper-bin) against a fresh server, command by command."""
import re
import subprocess
import threading
import time

from apache import four_letter
from checks import case, check, main, until

SHELL = "/usr/lib/zookeeper/bin/cli_mt"


def stat(czxid, mzxid, version=0, aversion="0"):
    """As the shell prints it; times are cut off."""
    return ["\tctime", f"\tczxid={czxid}", "\tmtime", f"\tmzxid={mzxid}", f"\tversion={version}\taversion={aversion}",
            "\tephemeralOwner = 0"]


def node(path, mode):
    return [f"Creating [{path}] node (mode: {mode})"]


def named(path):
    return [f"[{path}]: rc = 0", f"\tname = {path}"]


def children(*names):
    return ["time", "/cc: rc = 0", *("\t" + name for name in names), "time"]


CHANGED = ["Watcher CHANGED_EVENT state = CONNECTED_STATE for path /cc"]
CHILD = ["Watcher CHILD_EVENT state = CONNECTED_STATE for path /cc"]

# On a fresh server the session is transaction 1. Reads of this shell always set watches.
STEPS = [
    ("create /cc", node("/cc", 0) + named("/cc")),
    ("create +e /cc/e", node("/cc/e", 1) + named("/cc/e")),
    ("create +s /cc/s-", node("/cc/s-", 2) + ["[/cc/s-]: rc = 0", "\tname = /cc/s-0000000001"]),
    ("create +es /cc/es-", node("/cc/es-", 3) + ["[/cc/es-]: rc = 0", "\tname = /cc/es-0000000002"]),
    ("create +c /cc/con", node("/cc/con", 4) + named("/cc/con")),
    ("create +t=100000 /cc/ttl", node("/cc/ttl", 5) + named("/cc/ttl")),
    ("create2 /cc/two", node("/cc/two", 0) + named("/cc/two") + stat(8, 8)),
    ("create /cc/none/x", node("/cc/none/x", 0) + ["[/cc/none/x]: rc = -101"]),
    ("create /cc", node("/cc", 0) + ["[/cc]: rc = -110"]),
    ("create /cc/e/x", node("/cc/e/x", 0) + ["[/cc/e/x]: rc = -108"]),
    ("ls /cc", children("con", "e", "es-0000000002", "s-0000000001", "ttl", "two")),
    ("ls2 /cc", children("con", "e", "es-0000000002", "s-0000000001", "ttl", "two") + stat(2, 2)),
    ("ls /none", ["time", "/none: rc = -101", "time"]),
    ("get /cc", ["time", "/cc: rc = 0", " value_len = 3", "new", "Stat:"] + stat(2, 2)),
    ("set /cc hello", CHANGED + ["/cc: rc = 0 Stat:"] + stat(2, "c", 1)),
    ("get /cc", ["time", "/cc: rc = 0", " value_len = 5", "hello", "Stat:"] + stat(2, "c", 1)),
    ("exists /cc", []),
    ("exists /cc/none", ["Error -101 for /cc/none"]),
    ("wexists /cc/late", ["Error -101 for /cc/late"]),
    ("create /cc/late", node("/cc/late", 0)
     + ["Watcher CREATED_EVENT state = CONNECTED_STATE for path /cc/late"] + CHILD + named("/cc/late")),
    ("delete /cc", ["/cc: rc = -111"]),
    ("delete /cc/two", ["/cc/two: rc = 0"]),
    ("delete /none", ["/none: rc = -101"]),
    ("sync /cc", named("/cc")),
    ("addauth digest ann:secret", []),
    ("als /cc", children("con", "e", "es-0000000002", "late", "s-0000000001", "ttl")),
    ("aget /cc", ["time", "/cc: rc = 0", " value_len = 5", "hello", "Stat:"] + stat(2, "c", 1)),
    ("aset /cc async", CHANGED + ["/cc: rc = 0 Stat:"] + stat(2, 11, 2)),
    ("acreate /cc/a", node("/cc/a", 0) + CHILD + named("/cc/a")),
    ("aexists /cc", []),
    ("adelete /cc/a", ["/cc/a: rc = 0"]),
    ("aexists /cc/none", ["Error -101 for /cc/none"]),
    ("config", ["time", "/zookeeper/config: rc = 0", " value_len = 0", "", "Stat:"] + stat(0, 0, 0, "ffffffff")),
    ("reconfig -remove 1", ["time", "-remove 1: rc = -123", "", "Stat:", "null"]),
]


def normal(line):
    return re.sub(r"^time ?= ?\d+ msec", "time", re.sub(r"(ctime|mtime) ?= ?.*", r"\1", line))


class Shell:
    def __init__(self, server, *options):
        self.process = subprocess.Popen([SHELL, "-h", server.address, *options], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines, self.at = [], 0
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(normal(line.rstrip("\n")))

    def wait(self, count):
        """That many more lines, and what else comes soon after."""
        until(lambda: len(self.lines) - self.at >= count)
        time.sleep(0.03)
        got, self.at = self.lines[self.at:], len(self.lines)
        return got

    def send(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def end(self):
        code = self.process.wait(10)
        self.reader.join(5)
        return code


@case
def commands(server):
    shell = Shell(server)
    got = shell.wait(2)
    check("connect", got[:1] + [got[1].rpartition(" ")[0]],
          ["Watcher SESSION_EVENT state = CONNECTED_STATE", "Got a new session id:"])
    for command, expected in STEPS:
        shell.send(command)
        got = shell.wait(len(expected))
        if command.split()[0] in ("ls", "ls2", "als"):  # children come in no order
            got, expected = (sorted(lines[:-6]) + lines[-6:] if "2" in command.split()[0] else sorted(lines)
                             for lines in (got, expected))
        check(command, got, expected)
    check("its ephemerals", four_letter(server.port, "dump").count("\t/cc/"), 2)
    shell.send("quit")
    check("quit", shell.end(), 0)
    check("they go with the session", four_letter(server.port, "dump").count("\t/cc/"), 0)


@case
def one_shot(server):
    shell = Shell(server, "-c", "get /cc")
    check("exit code", shell.end(), 0)
    check("the same node", [line for line in shell.lines if line in ("async", " value_len = 5")], [" value_len = 5", "async"])


@case
def read_only(server):
    shell = Shell(server, "-r")
    shell.wait(2)
    shell.send("set /cc ro")
    check("a server that writes", shell.wait(7)[:1], ["/cc: rc = 0 Stat:"])
    shell.send("quit")
    check("quit", shell.end(), 0)


if __name__ == "__main__":
    main(__doc__)
