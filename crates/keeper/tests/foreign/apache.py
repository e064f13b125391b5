#!/usr/bin/env python3
"""Starts and stops Apache ZooKeeper 3.8 (Debian's) or 3.9 (setup.sh fetched it).

    apache.py start --version 3.9 --port 2181 --data DIR [--cfg k=v]... [--prop k=v]... [--heap 256m]
    apache.py stop --data DIR
    apache.py class-path --version 3.9

`start` prints the pid once the server answers. Extended types, all four-letter words and a super user are on unless
--cfg says otherwise.
"""
import argparse
import base64
import glob
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
FOREIGN = os.path.abspath(os.environ.get("FOREIGN_DIR") or os.path.join(HERE, "../../../../target/foreign"))
DEBIAN = "/usr/share/java"
VERSIONS = ("3.8", "3.9")

SUPER = "super:secret"
DEFAULTS = {
    "tickTime": "500",
    "extendedTypesEnabled": "true",
    "4lw.commands.whitelist": "*",
    "maxClientCnxns": "0",
    "admin.enableServer": "false",
}


def digest_id(user_password):
    """`user:password` as an id of the digest scheme."""
    user = user_password.partition(":")[0]
    return user + ":" + base64.b64encode(hashlib.sha1(user_password.encode()).digest()).decode()


def class_path(version):
    """Explicit, as the class path in the manifest of Debian's jar lacks netty-codec and netty-resolver."""
    names = ["jetty9-" + n for n in ("http", "io", "security", "server", "servlet", "util", "util-ajax")]
    names += ["servlet-api", "jackson-annotations", "jackson-core", "jackson-databind"]
    jars = []
    if version == "3.8":
        names += ["zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-nop", "snappy-java", "metrics-core"]
        names += ["commons-cli", "commons-io"]
        names += ["netty-" + n for n in ("buffer", "codec", "common", "handler", "resolver", "transport")]
        names += ["netty-transport-native-epoll", "netty-transport-native-unix-common"]
    else:
        jars = sorted(glob.glob(FOREIGN + "/zk39/*.jar"))
        if not any("/zookeeper-3.9" in jar for jar in jars):
            sys.exit(f"no Apache ZooKeeper 3.9 in {FOREIGN}: run setup.sh")
    jars += [f"{DEBIAN}/{name}.jar" for name in names]
    for jar in jars:
        if not os.path.exists(jar):
            sys.exit(f"{jar} is missing: run setup.sh")
    return ":".join(jars)


def java(version, heap="256m", props=None):
    """The start of a command line. Without a logging provider ZooKeeper is silent; slf4j should be so about that."""
    return ["java", "-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
            "-Dslf4j.internal.verbosity=ERROR", *(f"-D{k}={v}" for k, v in (props or {}).items()),
            "-cp", class_path(version)]


def four_letter(port, word, timeout=5.0):
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(word.encode())
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    return answer.decode()


def write_cfg(data, port, cfg):
    os.makedirs(data, exist_ok=True)
    path = os.path.join(data, "zoo.cfg")
    cfg = {"dataDir": data, "clientPort": port, **DEFAULTS,
           "DigestAuthenticationProvider.superDigest": digest_id(SUPER), **cfg}
    with open(path, "w") as f:
        f.writelines(f"{k}={v}\n" for k, v in cfg.items())
    return path


def command(version, port, data, cfg=None, props=None, heap="256m"):
    path = write_cfg(data, port, cfg or {})
    return java(version, heap, props) + ["org.apache.zookeeper.server.quorum.QuorumPeerMain", path]


def launch(argv, port, data, timeout=60.0):
    """Runs a server, ours too, until it answers `srvr`; returns its process."""
    with open(os.path.join(data, "server.log"), "ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    with open(os.path.join(data, "server.pid"), "w") as f:
        f.write(str(process.pid))
    end = time.monotonic() + timeout
    while True:
        try:
            if "Mode:" in four_letter(port, "srvr"):
                return process
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            with open(os.path.join(data, "server.log"), errors="replace") as f:
                raise RuntimeError(f"the server does not start: {argv}\n{f.read()[-4000:]}")
        time.sleep(0.02)


def stop(data, how=signal.SIGTERM):
    with open(os.path.join(data, "server.pid")) as f:
        pid = int(f.read())
    try:
        os.kill(pid, how)
        while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.02)
    except (ProcessLookupError, FileNotFoundError):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start")
    start.add_argument("--version", choices=VERSIONS, required=True)
    start.add_argument("--port", type=int, required=True)
    start.add_argument("--data", required=True)
    start.add_argument("--cfg", action="append", default=[], metavar="K=V", help="a line of zoo.cfg")
    start.add_argument("--prop", action="append", default=[], metavar="K=V", help="a -D property")
    start.add_argument("--heap", default="256m")
    commands.add_parser("stop").add_argument("--data", required=True)
    commands.add_parser("class-path").add_argument("--version", choices=VERSIONS, required=True)
    args = parser.parse_args()
    if args.command == "class-path":
        print(class_path(args.version))
    elif args.command == "stop":
        stop(args.data)
    else:
        pairs = [dict(pair.split("=", 1) for pair in some) for some in (args.cfg, args.prop)]
        data = os.path.abspath(args.data)
        print(launch(command(args.version, args.port, data, *pairs, args.heap), args.port, data).pid)


if __name__ == "__main__":
    main()
