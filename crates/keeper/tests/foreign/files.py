#!/usr/bin/env python3
"""The keeper's files, read by Apache ZooKeeper: its tools for logs and snapshots, and its server.

    files.py [JARS]

JARS: a directory with ZooKeeper's jars, 3.9 (default: zk39 in $FOREIGN_DIR, where setup.sh puts them). Needs cargo, java and kazoo.
A test of the keeper writes a data directory (80 znodes; snapshots plain, gzip and Snappy; logs beside them). Every file must be read by
TxnLogToolkit or SnapshotFormatter without a complaint, and a server started on the directory, from each snapshot, must have the znodes.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from kazoo.client import KazooClient

HERE = os.path.dirname(os.path.abspath(__file__))
FOREIGN = os.environ.get("FOREIGN_DIR") or os.path.join(HERE, "../../../../target/foreign")
JARS = sys.argv[1] if len(sys.argv) > 1 else os.path.abspath(os.path.join(FOREIGN, "zk39"))
# As the test has it.
SNAPSHOTS = {"snapshot.14.gz": 20, "snapshot.28.snappy": 40, "snapshot.3c": 60}
ZNODES = 80


def data(n):
    return bytes([n]) * (9000 if n % 10 == 7 else 30 + n % 7)


def java(main, *args, **options):
    return [
        "java", "-Xmx128m", "-cp", JARS + "/*", *(f"-D{key}={value}" for key, value in options.items()), main, *args
    ]


def output(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"{command}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def check(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r}, where {wanted!r} was expected")


def read_log(path):
    """Numbers of the transactions that TxnLogToolkit finds."""
    text = output(java("org.apache.zookeeper.server.persistence.TxnLogToolkit", "-d", path))
    check(f"{path}: damage", re.findall(r"(?i)crc.*error|corrupt", text), [])
    return [int(zxid, 16) for zxid in re.findall(r"zxid 0x([0-9a-f]+)", text)]


def read_snapshot(path):
    """Paths that SnapshotFormatter finds."""
    text = output(java("org.apache.zookeeper.server.SnapshotFormatter", path))
    check(f"{path}: session", "0x01000000000001, 30000" in text, True)
    return [line for line in text.splitlines() if re.fullmatch(r"/[0-9]+", line)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(directory):
    """Starts a server on the directory and checks all znodes."""
    port = free_port()
    config = os.path.join(directory, "zoo.cfg")
    with open(config, "w") as file:
        file.write(f"dataDir={directory}\nclientPort={port}\ntickTime=2000\nadmin.enableServer=false\n")
    command = java("org.apache.zookeeper.server.ZooKeeperServerMain", config)
    with open(os.path.join(directory, "server.log"), "w+") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            client = KazooClient(f"127.0.0.1:{port}", timeout=30)
            deadline = time.monotonic() + 60
            while True:
                try:
                    client.start(timeout=10)
                    break
                except Exception:
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise
            names = sorted(int(name) for name in client.get_children("/") if name != "zookeeper")
            check(f"{directory}: znodes", names, list(range(1, ZNODES + 1)))
            for n in names:
                check(f"{directory}: data of /{n}", client.get(f"/{n}")[0], data(n))
            client.create("/after", b"x")
            client.stop()
        finally:
            server.kill()
            server.wait()
        log.seek(0)
        check(f"{directory}: digest", re.findall(r"(?i)digest.*not match.*", log.read()), [])


def main():
    root = tempfile.mkdtemp(prefix="keeper-files-")
    written = os.path.join(root, "written")
    test = "a_real_directory_with_snapshots_of_every_compression_opens_again"
    subprocess.run(
        ["cargo", "test", "-q", "-p", "streamkeeper-keeper", "--test", "it", test],
        cwd=HERE, env={**os.environ, "KEEPER_FILES_DIR": written}, check=True, stdout=subprocess.DEVNULL)
    files = os.path.join(written, "version-2")
    names = sorted(os.listdir(files))
    zxids = []
    for name in sorted((n for n in names if n.startswith("log.")), key=lambda n: int(n[4:], 16)):
        zxids += read_log(os.path.join(files, name))
    check("transactions in the logs", zxids, list(range(1, ZNODES + 1)))
    for name, znodes in SNAPSHOTS.items():
        paths = read_snapshot(os.path.join(files, name))
        check(f"{name}: znodes", sorted(paths), sorted(f"/{n}" for n in range(1, znodes + 1)))
    for name in [*SNAPSHOTS, "snapshot.0"]:
        directory = os.path.join(root, "from-" + name)
        shutil.copytree(written, directory)
        for other in os.listdir(os.path.join(directory, "version-2")):
            if other.startswith("snapshot.") and other != name:
                os.remove(os.path.join(directory, "version-2", other))
        serve(directory)
    shutil.rmtree(root)
    print(f"files: {len(zxids)} transactions, {len(SNAPSHOTS)} snapshots and {len(SNAPSHOTS) + 1} starts are as expected")


if __name__ == "__main__":
    main()
