#!/usr/bin/env python3
"""Puts bugs into what is kept in ZooKeeper, one at a time, and shows that the tests catch each.

    mutations.py [--only REGEX]

Each mutation is one edit in a copy of the working tree's crates; it is caught when `cargo test` of the crate fails, or does not end. Prints
which tests caught it. Ends with `N passed, N failed`; a mutation that survives has failed, and so has one whose text is no longer there.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
TIMEOUT_S = 90

# name, file below crates/coordination/src/, text, text in its place
MUTATIONS = [
    ("opening writes each time", "cluster.rs", "if found.iter().all(Option::is_some) {", "if found.iter().all(Option::is_some) {\n                self.zookeeper.set(&self.layout.jobs(), \"\", None).await?;"),
    ("a document may be of any size", "document.rs", "    if text.len() > MAX_BYTES {\n        return Err(refused(", "    if false {\n        return Err(refused("),
    ("any version of the format is read", "document.rs", "Some(version) if version == u64::from(VERSION) => {}", "Some(_) if VERSION > 0 => {}"),
    ("an office survives its session", "election/core.rs", "        self.session = None;\n        self.held = None;", "        self.session = None;"),
    ("an office survives another leader", "election/core.rs", "|held| !is_own || held.version != look.version", "|_| false"),
    ("a leader follows the epoch to a version that it has not taken office at", "election/core.rs", "        self.held.take_if(|held| !is_own || held.version != look.version);", "        if let Some(held) = &mut self.held { held.version = look.version; }"),
    ("a lost connection revokes", "election/core.rs", "Event::Suspended => self.connected = false,", "Event::Suspended => { self.connected = false; self.held = None; }"),
    ("a leadership resumes unseen", "election/core.rs", "                self.confirmed = false;\n", ""),
    ("a look of before the connection confirms", "election/core.rs", "self.confirmed |= self.connected && self.fresh;", "self.confirmed |= self.connected;"),
    ("a latch node too many stays", "election/core.rs", "if let Some(extra) = own.get(1) {", "if let Some(extra) = own.get(9) {"),
    ("latch nodes of older sessions are its own", "election/core.rs", 'let prefix = format!("{}-{}-", self.guid, self.session?);', 'self.session?; let prefix = format!("{}-", self.guid);'),
    ("whoever comes takes office", "election/core.rs", "if deposes || is_own || (incumbent.is_none() && predecessor.is_none()) {", "if deposes || is_own || predecessor.is_none() {"),
    ("any leader is deposed", "election/core.rs", "|leader| *leader == document.leader);", "|_| true);"),
    ("a deposed leader's latch node stays", "election/core.rs", "delete: incumbent.map(str::to_owned),", "delete: incumbent.filter(|_| false).map(str::to_owned),"),
    ("the one in office is not watched", "election/core.rs", "predecessor.or(incumbent)", "predecessor"),
    ("the epoch stays", "election/core.rs", "epoch: seen + 1,", "epoch: seen.max(1),"),
    ("office is taken at any version", "election/task.rs", "text, Some(take.version))", "text, None)"),
    ("office is taken without a latch node", "election/task.rs", "let mut multi = Multi::new().check(&layout.latch(&take.document.latch), -1);", "let mut multi = Multi::new();"),
    ("the leader that is shown goes back", "election/leader.rs", "known.epoch <= new.epoch", "known.epoch >= new.epoch"),
    ("writes are not guarded", "guard.rs", "Multi::new().check(&cluster.layout().epoch(), self.version);", "Multi::new().check(&cluster.layout().epoch(), -1);"),
    ("an unknown outcome is taken for done", "guard.rs", "                        unsure = true;\n                        error.into()", "                        return Ok(())"),
    ("an unknown outcome is taken for not done", "guard.rs", "                        unsure = true;\n                        error.into()", "                        error.into()"),
    ("a write is found by its text alone", "guard.rs", "*now == version + 1 && text == data", "text == data"),
    ("a write is found by its version alone", "guard.rs", "*now == version + 1 && text == data", "*now == version + 1"),
    ("a checkpoint pointer goes back", "jobs/lead.rs", ".filter(|latest| *latest >= new)", ".filter(|_| false)"),
    ("the pointer's znode is replaced whatever it holds", "jobs/lead.rs", 'Err(Error::Changed { path }) => tracing::warn!("{path} was changed by a foreign hand"),', 'Err(Error::Changed { .. }) => { let v = self.cluster().zookeeper().get(&path).await?.1.version; cache.checkpoint = Some(Versioned { value: CheckpointPointer::default(), version: v }); }'),
    ("a client's wish is overwritten", "jobs/lead.rs", "text.path == path && text.version.is_some()", "text.path == path && false"),
    ("documents stay when a job ends", "jobs/lead.rs", "writes.extend(live.iter().map(", "writes.extend(live.iter().take(0).map("),
    ("results are kept for ever", "jobs/results.rs", "kept.iter().take(over.min(MAX_REMOVED))", "kept.iter().take(over.min(0))"),
    ("a job that has ended is run again", "jobs/store.rs", "&[JobPart::Result, JobPart::Spec]", "&[JobPart::Assignment.min(JobPart::Status), JobPart::Spec]"),
    ("another spec is taken for the same", "jobs/store.rs", "if !known.is_same_as(spec) {", "if false {"),
    ("a spoilt document is taken for none", "jobs/view.rs", "Some((text, version)) => Some(Versioned { value: decode(text)?, version }),", "Some((text, version)) => decode(text).ok().map(|value| Versioned { value, version }),"),
    ("changes while it reads are not seen", "follow.rs", "            while let Some(event) = self.watch.try_next() {\n                self.take(Some(event))?;\n            }", "            while let Some(event) = self.watch.try_next() {\n                let _ = event?;\n            }"),
    ("what was missed without a connection is not read", "follow.rs", "Some(Ok(WatchEvent::Watching)) => self.all = true,", "Some(Ok(WatchEvent::Watching)) => self.all |= self.known.is_empty(),"),
    ("what is gone is still shown", "follow.rs", "                paths.extend(self.known.iter().cloned());\n", ""),
    ("a document of a lost session stays", "membership.rs", "Some((_, owner)) if owner == own.1 => Step::Nothing,", "Some((text, _)) if text == own.0 => Step::Nothing,"),
    ("another's registration is taken away", "membership.rs", "Some((text, _)) if text == own.0 => Step::Replace,", "Some(_) if own.1 != 0 => Step::Replace,"),
    ("an object is replaced at any version", "catalog.rs", "set(&path, text, Some(version))", "set(&path, text, None)"),
]


def run(command, folder, **more):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    return done.returncode, done.stdout


def caught(folder, environment):
    """The tests that failed; None if it does not compile."""
    test = ["cargo", "test", "-q", "-p", "streamkeeper-coordination", "--lib", "--test", "it"]
    code, out = run(test + ["--no-run"], folder, env=environment)
    if code != 0:
        return None, out
    code, out = run(["timeout", str(TIMEOUT_S)] + test + ["--no-fail-fast"], folder, env=environment)
    failed = sorted(set(re.findall(r"^    (\w+(?:::\w+)+)$", out, re.M)))
    return failed or (["it does not end"] if code == 124 else []), out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    arguments = parser.parse_args()
    # A directory of its own: cargo tells the crates of a copy apart from the real ones by nothing.
    target = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "mutations")
    environment = {**os.environ, "CARGO_TARGET_DIR": target, "RUST_BACKTRACE": "0"}
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Cargo.toml", "Cargo.lock", "crates"):
            source = os.path.join(ROOT, name)
            copy = shutil.copytree if os.path.isdir(source) else shutil.copy
            copy(source, os.path.join(folder, name))
        for name, file, old, new in MUTATIONS:
            if arguments.only and not re.search(arguments.only, name):
                continue
            path = os.path.join(folder, "crates/coordination/src", file)
            with open(path) as f:
                text = f.read()
            if text.count(old) != 1:
                print(f"FAILED {name}: its text is {text.count(old)} times in {file}", flush=True)
                failed += 1
                continue
            with open(path, "w") as f:
                f.write(text.replace(old, new))
            tests, out = caught(folder, environment)
            with open(path, "w") as f:
                f.write(text)
            if tests:
                print(f"caught: {name}: {', '.join(tests)}", flush=True)
                passed += 1
            else:
                print(f"FAILED {name}: {'it does not compile' if tests is None else 'it survived'}\n{out[-2000:]}", flush=True)
                failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
