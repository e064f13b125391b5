"""kazoo's client, opened and closed."""
from contextlib import contextmanager

from kazoo.client import KazooClient


def connect(server, chroot="", **kwargs):
    zk = KazooClient(server.address + chroot, **{"timeout": 5, **kwargs})
    zk.start()
    return zk


def close(zk):
    zk.stop()
    zk.close()


@contextmanager
def client(server, chroot="", **kwargs):
    zk = connect(server, chroot, **kwargs)
    try:
        yield zk
    finally:
        close(zk)
