#!/usr/bin/env python3
"""Puts bugs into the keeper, one at a time, and shows that each is caught.

    mutations.py [--only NAME] [--steps N]

Each mutation is one edit in a copy of the working tree's crates. A mutation marked `tests` must make `cargo test --lib` of the keeper fail;
one marked `differential` must make the differential test against Apache ZooKeeper 3.9 find a difference. Ends with
`N passed, N failed`; a mutation that survives has failed, and so has one whose text is no longer there.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../../.."))
SRC = "crates/keeper/src/"

# name, who catches it, file, text, text in its place
MUTATIONS = [
    ("answered before it is durable", "tests", "core/apply.rs", "self.proposed.push_back(Proposed { header, txn: logged.txn, connection, bytes, digest, audited });",
     "self.apply(Proposed { header, txn: logged.txn, connection, bytes, digest, audited });"),
    ("a read overtakes its own session's write", "tests", "core/requests.rs", "if !connection.queue.is_empty() || connection.unsent_bytes()", "if connection.unsent_bytes()"),
    ("a failed write takes no zxid", "differential", "core/prep.rs", "self.last_zxid += 1;\n",
     "if cxid % 7 != 0 { self.last_zxid += 1; } else { self.last_zxid += 2; }\n"),
    ("a failed multi leaves its changes behind", "tests", "core/prep.rs", "            self.queue.truncate(queued);\n", "            return Ok(Txn::Multi(txns));\n"),
    ("a wrong password is taken", "tests", "core/requests.rs", "request.passwd == passwd::of_session(session_id)", "true"),
    ("reads do not keep a session alive", "tests", "core/mod.rs", "                self.sessions.touch(session_id, self.now.monotonic_ms);\n                if !self.refuses", "                if !self.refuses"),
    ("an expired session keeps its ephemerals", "tests", "core/prep.rs", "let mut paths: Vec<Arc<str>> = tree.ephemerals_of(session_id).into_iter().map(Arc::from).collect();",
     "let mut paths: Vec<Arc<str>> = Vec::new(); let _ = tree;"),
    ("watchers are told what they may not read", "tests", "core/apply.rs", "if access.check(change.acls, crate::acl::perms::READ, &connection.ids).is_err() {", "if false {"),
    ("a one-shot watch stays", "differential", "watch.rs", "*bits &= !one_shot;", "*bits &= !0;"),
    ("recursive watches miss grandchildren", "differential", "watch.rs", "for parent in parents(path) {", "for parent in parents(path).take(1) {"),
    ("pzxid stays when a child goes", "differential", "tree/apply.rs", "self.update_stat(parent, |stat| stat.pzxid = stat.pzxid.max(zxid));", ""),
    ("cversion counts creations only", "differential", "tree/mod.rs", "cversion: cversion.wrapping_mul(2).wrapping_sub(num_children),", "cversion,"),
    ("exists asks for no right to read", "differential", "core/reads.rs", "self.allow(id, node, perms::READ)?;\n                }\n                let stat", "}\n                let stat"),
    ("ephemerals have children", "differential", "core/prep.rs", "return Err(Code::NoChildrenForEphemerals);", ""),
    ("password hashes are shown", "differential", "core/reads.rs", "Err(_) => write_acls(&without_digests(node.acls()), body),", "Err(_) => write_acls(node.acls(), body),"),
    ("applying twice is not applying once", "tests", "tree/apply.rs", "if parent_cversion > stat.cversion {", "if true {"),
    ("a frozen tree changes", "tests", "tree/nodes.rs", "&mut Arc::make_mut(&mut self.pages[id.0 as usize / PAGE_NODES])[id.0 as usize % PAGE_NODES]",
     "#[allow(unsafe_code)] unsafe { &mut (*(Arc::as_ptr(&self.pages[id.0 as usize / PAGE_NODES]) as *mut Page))[id.0 as usize % PAGE_NODES] }"),
    ("the digest forgets data", "tests", "tree/mod.rs", "node.content_crc = digest::content_crc(&node.path, data.as_deref());", ""),
]


def run(command, folder, **more):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    return done.returncode, done.stdout


def caught(kind, folder, steps):
    """Whether the bug was found, and how; None if it does not compile."""
    code, out = run(["cargo", "build", "-q", "-p", "streamkeeper-keeper", "--lib"], folder)
    if code != 0:
        return None, out
    if kind == "tests":
        code, out = run(["cargo", "test", "-q", "-p", "streamkeeper-keeper", "--lib"], folder, timeout=600)
        return code != 0, out
    code, out = run(["cargo", "build", "-q", "-p", "streamkeeper-keeper", "--examples"], folder)
    if code != 0:
        return None, out
    target = os.path.join(folder, "target/debug/examples")
    script = os.path.join(HERE, "differential.sh")
    code, out = run([script, target + "/standalone", target + "/differential", "3.9", "1", str(steps)], folder, timeout=900)
    return code == 1 and "they differ" in out, out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    parser.add_argument("--steps", type=int, default=20000)
    arguments = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Cargo.toml", "Cargo.lock", "crates"):
            source = os.path.join(ROOT, name)
            copy = shutil.copytree if os.path.isdir(source) else shutil.copy
            copy(source, os.path.join(folder, name))
        for name, kind, file, old, new in MUTATIONS:
            if arguments.only and arguments.only not in name:
                continue
            path = os.path.join(folder, SRC, file)
            with open(path) as f:
                text = f.read()
            if text.count(old) != 1:
                print(f"FAILED {name}: its text is {text.count(old)} times in {file}", flush=True)
                failed += 1
                continue
            with open(path, "w") as f:
                f.write(text.replace(old, new))
            found, out = caught(kind, folder, arguments.steps)
            with open(path, "w") as f:
                f.write(text)
            if found:
                print(f"caught by {kind}: {name}", flush=True)
                passed += 1
            else:
                print(f"FAILED {name}: {'it survived' if found is False else 'it does not compile'}\n{out[-2000:]}", flush=True)
                failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
