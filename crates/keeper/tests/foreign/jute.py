"""ZooKeeper's protocol by hand: what no client library lets through."""
import socket
import struct
from collections import namedtuple

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC = range(1, 10)
PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG = 11, 12, 13, 14, 15, 16
CHECK_WATCHES, REMOVE_WATCHES, CREATE_CONTAINER, DELETE_CONTAINER, CREATE_TTL, MULTI_READ = 17, 18, 19, 20, 21, 22
AUTH, SET_WATCHES, SASL, GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER = 100, 101, 102, 103, 104
SET_WATCHES2, ADD_WATCH, WHO_AM_I = 105, 106, 107
CREATE_SESSION, CLOSE = -10, -11

OPEN = [(31, "world", "anyone")]
Stat = namedtuple("Stat", "czxid mzxid ctime mtime version cversion aversion ephemeralOwner dataLength numChildren pzxid")
Reply = namedtuple("Reply", "xid zxid err body")
Connected = namedtuple("Connected", "protocol timeout session password read_only length")
CLOSED = "closed"


def pack(shape, *values):
    """i int, l long, ? bool, b buffer, s string, S strings, A access control list."""
    out = b""
    for kind, value in zip(shape, values, strict=True):
        if kind in "il?":
            out += struct.pack("!" + kind.replace("l", "q"), value)
        elif kind in "bs":
            data = value.encode() if isinstance(value, str) else value
            out += struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data
        elif kind == "S":
            out += struct.pack("!i", len(value)) + b"".join(pack("s", v) for v in value)
        else:
            out += struct.pack("!i", len(value)) + b"".join(pack("iss", *v) for v in value)
    return out


def multi(*ops):
    """The body of a multi of (opcode, body)."""
    body = b"".join(pack("i?i", kind, False, -1) + rest for kind, rest in ops)
    return body + pack("i?i", -1, True, -1)


def refused(*codes):
    """The body of the answer to a multi that failed."""
    return b"".join(pack("i?ii", -1, False, code, code) for code in codes) + pack("i?i", -1, True, -1)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, shape):
        size = struct.calcsize("!" + shape)
        value = struct.unpack_from("!" + shape, self.data, self.at)
        self.at += size
        return value

    def buffer(self):
        (size,) = self.take("i")
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at]

    def read(self, kind):
        """As for pack, and T Stat, C pairs of strings (client infos), * the rest."""
        if kind in "il?":
            return self.take(kind.replace("l", "q"))[0]
        if kind == "b":
            return self.buffer()
        if kind == "s":
            data = self.buffer()
            return None if data is None else data.decode()
        if kind == "T":
            return Stat(*self.take("qqqqiiiqiiq"))
        if kind == "*":
            rest, self.at = self.data[self.at:], len(self.data)
            return rest
        each = {"S": "s", "A": "iss", "C": "ss"}[kind]
        items = [tuple(self.read(k) for k in each) for _ in range(self.take("i")[0])]
        return [i[0] for i in items] if kind == "S" else items


def unpack(shape, data):
    """All of it, to the last byte."""
    reader = Reader(data)
    values = [reader.read(kind) for kind in shape]
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes too many after {values}")
    return values[0] if len(shape) == 1 else tuple(values)


class Connection:
    """`frames` holds all that came, in order: replies, and events as ("event", type, state, path, zxid)."""

    def __init__(self, port, timeout=5000, session=0, password=bytes(16), zxid=0, read_only=False, protocol=0):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.xid, self.frames = 0, []
        # Old clients do not know of read-only servers.
        tail = b"" if read_only is None else pack("?", read_only)
        self.send(pack("ililb", protocol, zxid, timeout, session, password) + tail)
        answer = self.receive()
        self.connected = CLOSED
        if answer is not None:
            shape = "iilb" if len(answer) == 36 else "iilb?"
            values = unpack(shape, answer)
            self.connected = Connected(*(values + (None,))[:5], len(answer))

    session = property(lambda self: self.connected.session)
    password = property(lambda self: self.connected.password)
    events = property(lambda self: [f[1:4] for f in self.frames if f[0] == "event"])

    def send(self, frame):
        self.socket.sendall(struct.pack("!i", len(frame)) + frame)

    def exactly(self, size):
        data = b""
        while len(data) < size:
            try:
                chunk = self.socket.recv(size - len(data))
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            data += chunk
        return data

    def receive(self):
        """A frame; None once the server has closed."""
        head = self.exactly(4)
        return None if head is None else self.exactly(struct.unpack("!i", head)[0])

    def next(self):
        """A reply or an event."""
        frame = self.receive()
        if frame is None:
            return CLOSED
        xid, zxid, err = struct.unpack_from("!iqi", frame)
        item = Reply(xid, zxid, err, frame[16:])
        if xid == -1:
            kind, state, path = unpack("iis", item.body)
            item = ("event", kind, state, path, zxid)
        self.frames.append(item)
        return item

    def reply(self):
        while True:
            item = self.next()
            if item == CLOSED or item[0] != "event":
                return item

    def start(self, op, body=b"", xid=None):
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send(pack("ii", xid, op) + body)
        return xid

    def call(self, op, body=b"", xid=None):
        self.start(op, body, xid)
        return self.reply()

    def ask(self, op, shape, *values, reply=None):
        """(error code, what the reply holds by the shape `reply`); nothing is decoded of an error."""
        answer = self.call(op, pack(shape, *values))
        if answer == CLOSED:
            return CLOSED
        if answer.err or reply is None:
            return (answer.err, answer.body or None)
        return (0, unpack(reply, answer.body))

    # The commonest, checked only for success.
    def create(self, path, data=b"", flags=0, acl=None):
        err, got = self.ask(CREATE2, "sbAi", path, data, acl or OPEN, flags, reply="sT")
        assert err == 0, (path, err)
        return got

    def stat(self, path):
        return self.ask(EXISTS, "s?", path, False, reply="T")[1]

    def zxid(self):
        """Of the last transaction, as this server's replies tell it."""
        return self.call(EXISTS, pack("s?", "/", False)).zxid

    def settle(self):
        """Whatever events were under way have arrived when this returns."""
        self.call(PING, xid=-2)
        return self.events

    def close(self):
        if self.connected != CLOSED and self.connected.session:
            self.call(CLOSE)
        self.socket.close()

    def drop(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.close()
        except OSError:
            pass
