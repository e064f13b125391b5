"""A server under test: ours or Apache's, by one interface.

    with Server("keeper:target/release/streamkeeper", cfg={"tickTime": 1000}) as server: server.port

Configuration is zoo.cfg's. What Apache reads from system properties only (jute.maxbuffer, ...) goes into the same
dictionary: for Apache it becomes a -D, for the keeper a line of zoo.cfg.
"""
import os
import shutil
import signal
import socket
import tempfile

import apache

PROPERTIES = ("jute.", "znode.", "java.")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, target, cfg=None, data=None):
        if not target.startswith("keeper:") and target not in ("apache38", "apache39"):
            raise SystemExit(f"--target is keeper:PATH, apache38 or apache39, not {target}")
        self.target = target
        self.keeper = target.startswith("keeper:")
        # What ours is compared with.
        self.version = (3, 8) if target == "apache38" else (3, 9)
        self.cfg = dict(cfg or {})
        self.data = data or tempfile.mkdtemp(prefix="tour-")
        self.owned = data is None
        self.port = free_port()
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def other(self, **cfg):
        """A second one of the same kind, configured otherwise."""
        return Server(self.target, cfg)

    def command(self):
        if self.keeper:
            path = apache.write_cfg(self.data, self.port, self.cfg)
            return [os.path.abspath(self.target.removeprefix("keeper:")), "keeper", "--config", path]
        props = {k: v for k, v in self.cfg.items() if k.startswith(PROPERTIES)}
        cfg = {k: v for k, v in self.cfg.items() if k not in props}
        return apache.command("%d.%d" % self.version, self.port, self.data, cfg, props)

    def start(self):
        self.process = apache.launch(self.command(), self.port, self.data)
        return self

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)

    def four_letter(self, word):
        return apache.four_letter(self.port, word)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        if self.owned:
            shutil.rmtree(self.data, ignore_errors=True)
