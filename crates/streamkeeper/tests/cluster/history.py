"""What ZooKeeper's transaction log tells of a cluster: who led when, who wrote what, and which checkpoints were completed.

The log has every write that was done and none that was refused, in their one order; so what must never be written can be looked for in it.
"""
import collections
import glob
import json
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../keeper/tests/foreign"))
import jute  # noqa: E402

CREATE, DELETE, SET_DATA, CHECK, MULTI, CREATE2 = 1, 2, 5, 13, 14, 15
BASE = "/streamkeeper/default"
# Documents that only a leader writes once they are there.
GUARDED = ("assignment", "status", "checkpoint", "result")

Write = collections.namedtuple("Write", "kind path data version")
Transaction = collections.namedtuple("Transaction", "zxid session time_ms writes")
Office = collections.namedtuple("Office", "zxid version epoch leader address session")


def operation(kind, reader):
    if kind in (CREATE, CREATE2):
        path, data = reader.read("s"), reader.read("b")
        return Write(kind, path, data, 0)
    if kind == DELETE:
        return Write(kind, reader.read("s"), None, 0)
    if kind == SET_DATA:
        return Write(kind, reader.read("s"), reader.read("b"), reader.read("i"))
    if kind == CHECK:
        # The log has the version that a write would have made.
        return Write(kind, reader.read("s"), None, reader.read("i") - 1)
    return None


def read_file(path, begin):
    """The transactions of a log behind `begin`, each with where it ends."""
    with open(path, "rb") as file:
        file.seek(begin)
        log = file.read()
    # Behind the file's header.
    at = 0 if begin else 16
    while at + 12 <= len(log):
        (length,) = struct.unpack_from("!i", log, at + 8)
        if length == 0 or at + 13 + length > len(log) or log[at + 12 + length] != 0x42:
            return
        reader = jute.Reader(log[at + 12:at + 12 + length])
        at += 13 + length
        session, _, zxid, time_ms, kind = reader.take("qiqqi")
        if kind == MULTI:
            (count,) = reader.take("i")
            parts = [(reader.read("i"), jute.Reader(reader.buffer())) for _ in range(count)]
        else:
            parts = [(kind, reader)]
        writes = [operation(part, data) for part, data in parts]
        writes = [write for write in writes if write]
        # One that was refused is in the log without its operations.
        if len(writes) == len(parts):
            yield begin + at, Transaction(zxid, session, time_ms, writes)


class History:
    """Checks each transaction by those before it. `job` is the one whose checkpoints are looked at."""

    def __init__(self, data):
        self.offices, self.checkpoints, self.assignments, self.wrong = [], [], [], []
        self.data, self.job, self.result = data, None, None
        self.read = {}

    def go_on(self):
        """Takes what has been written to the server's data directory since."""
        paths = glob.glob(f"{self.data}/version-2/log.*")
        for path in sorted(paths, key=lambda path: int(path.rpartition(".")[2], 16)):
            for end, transaction in read_file(path, self.read.get(path, 0)):
                self.read[path] = end
                self.take(transaction)
        return self

    def complain(self, transaction, what):
        self.wrong.append(f"zxid {transaction.zxid:#x} of session {transaction.session:#x}: {what}")

    def take(self, transaction):
        check = transaction.writes[0]
        fenced = check.kind == CHECK and check.path == f"{BASE}/leader/epoch"
        office = self.offices[-1] if self.offices else None
        if fenced and (office is None or check.version != office.version or transaction.session != office.session):
            self.complain(transaction, f"a leader of version {check.version} writes, but {office} is in office")
        for write in transaction.writes:
            if write.path == f"{BASE}/leader/epoch" and write.kind == SET_DATA:
                self.take_office(transaction, write)
            parts = write.path.removeprefix(f"{BASE}/jobs/").split("/")
            if not write.path.startswith(f"{BASE}/jobs/") or len(parts) != 2:
                continue
            changes = write.kind in (SET_DATA, DELETE) or parts[1] == "result"
            if parts[1] in GUARDED and changes and not fenced:
                self.complain(transaction, f"{write.path} is written without a check of the epoch")
            if parts[0] == self.job and write.data:
                self.take_document(transaction, office, parts[1], json.loads(write.data))

    def take_office(self, transaction, write):
        document = json.loads(write.data)
        office = Office(transaction.zxid, write.version, document["epoch"], document["leader"], document["rpc_address"], transaction.session)
        if self.offices and office.epoch <= self.offices[-1].epoch:
            self.complain(transaction, f"the epoch goes from {self.offices[-1].epoch} to {office.epoch}")
        self.offices.append(office)

    def take_document(self, transaction, office, part, document):
        if part == "checkpoint" and document.get("retained"):
            newest = document["retained"][-1]
            if self.checkpoints and newest <= self.checkpoints[-1][0]:
                self.complain(transaction, f"the pointer goes from {self.checkpoints[-1][0]} to {newest}")
            self.checkpoints.append((newest, office, self.attempts()))
        elif part == "assignment" and document.get("regions"):
            attempts = document["details"]["attempts"]
            for vertex, attempt in self.attempts().items():
                if attempts[vertex] < attempt:
                    self.complain(transaction, f"the attempt of vertex {vertex} goes from {attempt} to {attempts[vertex]}")
            self.assignments.append((transaction.zxid, attempts))
        elif part == "result":
            self.result = document

    def attempts(self):
        return self.assignments[-1][1] if self.assignments else {}

    def newest(self):
        """The number of the newest completed checkpoint."""
        return self.checkpoints[-1][0] if self.checkpoints else 0
