#!/usr/bin/env python3
"""Puts bugs into the runtime and the typed API, one at a time, and shows that the tests of recovery catch each.

    mutations.py [--only REGEX] [--seeds 0..4]

Each mutation is one edit in a copy of the working tree's crates; it is caught when `cargo test --test it recovery` of the crate fails with all
seeds together. Prints which tests caught it. Ends with `N passed, N failed`; a mutation that survives has failed, and so has one
whose text is no longer there.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))

# name, file below crates/, text, text in its place
MUTATIONS = [
    ("restored splits wait in the enumerator", "dataflow/src/job/master/deploy.rs", "for i in 0..splits {", "for i in 0..splits.min(0) {"),
    ("event timers are not in the snapshot", "datastream/src/process/timers.rs", "event.write(EVENT_TIMERS, writer)?;", "let _ = &event;"),
    ("processing timers are not in the snapshot", "datastream/src/process/timers.rs", "processing.write(PROCESSING_TIMERS, writer)", "{ let _ = (&processing, writer); Ok(()) }"),
    ("event timers are not restored", "datastream/src/process/timers.rs", "event: Timers::read(EVENT_TIMERS, &context.restored)?,", "event: Timers::default(),"),
] + [
    (f"{kind} state is not restored", "datastream/src/state/backend.rs", "in restored.keyed(&name, &shape)? {", f'in restored.keyed(&name, &shape)?.iter().filter(|_| kind != "{kind}") {{')
    for kind in ("value", "list", "map", "reducing", "aggregating")
] + [
    ("a rolling fold has no snapshot", "datastream/src/keyed.rs", "Ok(Some(self.values.snapshot(VALUE, Self::shape(), key_group)))", "let _ = key_group; Ok(None)"),
    ("broadcast state is not restored", "datastream/src/broadcast/state.rs", "restored.union(&self.name, &shape::<UK, UV>())? {", "restored.union(&self.name, &shape::<UK, UV>())?.take(0) {"),
    ("broadcast state is written by a subtask that need not be there", "datastream/src/broadcast/process.rs", "|_| self.subtask == 0", "|_| self.subtask == 1"),
    ("broadcast state beside keyed state is not in the snapshot", "datastream/src/broadcast/keyed.rs", "|_| self.subtask == 0", "|_| false"),
    ("records in flight are not in the snapshot", "datastream/src/async_io/operator.rs", "        if records.is_empty() {", "        if true {"),
    ("records in flight come back in every subtask", "datastream/src/async_io/operator.rs", "== subtask {", "== subtask || true {"),
    ("the end does not wait for async calls", "datastream/src/async_io/operator.rs", "        self.queue.is_empty() && self.due_watermark.is_none()", "        true"),
    ("results that wait for their turn are not in the snapshot", "datastream/src/async_io/queue.rs", "        self.records.values().map(|record| (&record.value, record.timestamp))", "        self.records.iter().filter(|(n, _)| !self.segments.iter().any(|s| s.done.iter().any(|(d, _)| d == *n))).map(|(_, record)| (&record.value, record.timestamp))"),
    ("ordered results leave as they come", "datastream/src/async_io/queue.rs", "if !open || self.mode == OutputMode::Ordered {", "if !open {"),
    ("a key's state is not in the snapshot", "datastream/src/state/table.rs", "let mut values = self.values.borrow().clone();", "let mut values = self.values.borrow().clone(); values.truncate(values.len().saturating_sub(1));"),
    ("panes of aligned windows are not restored", "datastream/src/window/aligned.rs", "in context.restored.keyed(CONTENTS, &windows.shape())? {", "in context.restored.keyed(CONTENTS, &windows.shape())?.iter().take(0) {"),
    ("windows by key are not restored", "datastream/src/window/store.rs", "in restored.keyed(CONTENTS, &Self::shape())? {", "in restored.keyed(CONTENTS, &Self::shape())?.iter().take(0) {"),
    ("rows of side outputs stay behind", "datastream/src/process/keyed.rs", "        self.runtime.sides.flush();\n        Ok(())\n", "        Ok(())\n"),
    ("the barrier overtakes rows of side outputs", "dataflow/src/output.rs", "        self.drain_sides()?;\n        self.edges.0.iter_mut().try_for_each(|edge| edge.broadcast(control))?;", "        self.edges.0.iter_mut().try_for_each(|edge| edge.broadcast(control))?;"),
    ("the barrier overtakes rows that wait to be coalesced", "dataflow/src/exchange.rs", "        self.flush()?;\n        let control = ||", "        let control = ||"),
    ("channels are not aligned", "dataflow/src/gate.rs", "            if channel.aligned {\n                continue;\n            }\n", ""),
    ("output is committed before the pointer is written", "dataflow/src/sink.rs", "        if !committables.is_empty() {\n", "        if let Some(committer) = self.sink.committer() { committer.commit(&committables)?; }\n        if !committables.is_empty() {\n"),
    ("output is not in the checkpoint", "dataflow/src/sink.rs", "        if !committables.is_empty() {\n", "        if false {\n"),
    ("what an aborted checkpoint held is forgotten", "dataflow/src/sink.rs", "        if !committables.is_empty() {\n", "        self.pending.clear();\n        if !committables.is_empty() {\n"),
    ("a restart commits nothing", "dataflow/src/job/master/deploy.rs", "committer.recover(&self.config.lineage, &items(uid, COMMITTABLES.0)).map_err(fail)?;", "committer.recover(&self.config.lineage, &[]).map_err(fail)?; let _ = (uid, COMMITTABLES);"),
    ("positions of splits are not restored", "dataflow/src/job/master/deploy.rs", "enumerator.add_splits_back(splits);", "let reset = |s: crate::source::Split| crate::source::Split { payload: vec![0; s.payload.len()], ..s }; enumerator.add_splits_back(splits.into_iter().map(reset).collect());"),
    ("splits that readers had are lost", "dataflow/src/job/master/deploy.rs", "enumerator.add_splits_back(splits);", "begun = 0; drop(splits);"),
    ("a restart goes on from the checkpoint before the latest", "dataflow/src/job/master/checkpoints.rs", "self.latest = Some(Latest::Stored(checkpoint));", "if checkpoint % 2 == 0 || self.latest.is_none() { self.latest = Some(Latest::Stored(checkpoint)); }"),
    ("a source's rows overtake the barrier", "dataflow/src/task/source.rs", "            Ok(())\n        });\n        self.shared.on_barrier", "            Ok(())\n        });\n        if let Ok(Poll::Batch { batch, .. }) = self.reader.poll(self.shared.clock.now_ms()) { self.shared.on_batch(0, batch)?; }\n        self.shared.on_barrier"),
]


def run(command, folder, **more):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    return done.returncode, done.stdout


def caught(folder, environment):
    """The tests that failed; None if it does not compile."""
    test = ["cargo", "test", "-q", "-p", "streamkeeper-datastream", "--test", "it"]
    code, out = run(test + ["--no-run"], folder, env=environment)
    if code != 0:
        return None, out
    code, out = run(test + ["--", "recovery"], folder, env=environment, timeout=1200)
    return sorted(set(re.findall(r"^    recovery::(\S+)$", out, re.M))), out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    parser.add_argument("--seeds", default="0..4")
    arguments = parser.parse_args()
    # A directory of its own: cargo tells the crates of a copy apart from the real ones by nothing.
    target = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "mutations")
    environment = {**os.environ, "CARGO_TARGET_DIR": target, "RECOVERY_SEEDS": arguments.seeds, "RECOVERY_TIMEOUT_S": "10"}
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Cargo.toml", "Cargo.lock", "crates"):
            source = os.path.join(ROOT, name)
            copy = shutil.copytree if os.path.isdir(source) else shutil.copy
            copy(source, os.path.join(folder, name))
        for name, file, old, new in MUTATIONS:
            if arguments.only and not re.search(arguments.only, name):
                continue
            path = os.path.join(folder, "crates", file)
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
