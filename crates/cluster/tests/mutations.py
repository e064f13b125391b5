#!/usr/bin/env python3
"""Puts bugs into the cluster, one at a time, and shows that the tests catch each.

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
TIMEOUT_S = 120

# What a job's master does is shown by the simulation of the control plane.
MASTER = "../../dataflow/src/job/master/"

# name, file below crates/cluster/src/, text, text in its place
MUTATIONS = [
    ("a frame may be of any length", "rpc/frame.rs", "    if bytes > MAX_FRAME_BYTES {", "    if false {"),
    ("who does not read is waited for", "rpc/connection.rs", "+ bytes > MAX_QUEUED_BYTES", "+ bytes > usize::MAX / 2"),
    ("silence is no end", "rpc/connection.rs", "stream.set_read_timeout(Some(times.timeout))?;", "stream.set_read_timeout(None)?;"),
    ("there are no heartbeats", "rpc/connection.rs", "Err(RecvTimeoutError::Timeout) => self.stream.write_all(heartbeat),", "Err(RecvTimeoutError::Timeout) => { let _ = heartbeat; Ok(()) }"),
    ("strangers are welcome", "rpc/server.rs", "hello.cluster != cluster {", "hello.cluster.is_empty() && hello.cluster != cluster {"),
    ("slots move without need", "placement.rs", "        if let Some(host) = host.filter(|host| hosts[*host].has_room()) {", "        if let Some(host) = host.filter(|host| hosts[*host].has_room() && slot % 2 == 0) {"),
    ("slots are not spread", "placement.rs", "a.mine.cmp(&b.mine).then_with(|| a.load().cmp(&b.load()))", "b.mine.cmp(&a.mine).then_with(|| a.load().cmp(&b.load()))"),
    ("there are more slots than there are", "placement.rs", "self.of.used + self.mine < self.of.slots", "self.of.used + self.mine < self.of.slots + 1"),
    ("a lower epoch is obeyed", "taskmanager/link.rs", "if epoch < self.epoch {", "if epoch < self.epoch && self.paused {"),
    ("a leader is followed back", "taskmanager/link.rs", "let new = epoch > self.epoch ||", "let new = epoch != self.epoch ||"),
    ("sources never pause", "taskmanager/link.rs", "since.saturating_add(self.grace));\n        if std", "since.saturating_add(self.grace) + (1 << 40));\n        if std"),
    ("sources stay paused", "taskmanager/link.rs", "std::mem::replace(&mut self.paused, pause) != pause", "!std::mem::replace(&mut self.paused, pause) && pause"),
    ("a plan may be another", "taskmanager/hosted.rs", "if fingerprint != open.fingerprint {", "if fingerprint == 0 {"),
    ("who came back is lost", "jobmanager/roster.rs", "Member { worker, slots, lost_at: None }", "Member { worker, slots, lost_at: Some(0) }"),
    ("one who is connected may be dead", "jobmanager/roster.rs", "is_some_and(|member| member.lost_at.is_some());", "is_some();"),
    ("a leader that is cut off loses all", "jobmanager/roster.rs", "!self.suspended && member.lost_at", "member.lost_at"),
    ("who comes back has missed nothing", "jobmanager/members.rs", "                self.take_over_anew(*job, Some(&id));", "                let _ = job;"),
    ("nobody waits for inventories", "jobmanager/term.rs", "if now >= *deadline || job.wants().iter().all(settled) {", "if now >= *deadline || job.wants().iter().all(settled) || now > 0 {"),
    ("slots that come are not told of", "jobmanager/members.rs", "        self.resources_changed();\n        if !returned {", "        if !returned {"),
    ("a job that is cancelled goes on", "jobmanager/term.rs", "            if desired == Some(DesiredState::Canceled) {\n                self.cancel(id);", "            if desired.is_none() {\n                self.cancel(id);"),
    ("slots stay reserved", "jobmanager/term.rs", "        lock(&self.shared.roster).release(id);", ""),
    ("jobs never move", "jobmanager/job.rs", "advanced && self.moving", "advanced && self.moving && self.cancelled"),
    ("a dead leader is waited for", "jobmanager/shell.rs", "                    self.following.depose(leader.leader.clone());", "                    let _ = leader;"),
    ("a status costs a write", "jobmanager/workers.rs", "        let update = update.assignment(assignment)", "        self.write(update.clone().status(before.clone()))?;\n        let update = update.assignment(assignment)"),
    ("a request goes round and round", "rest/forward.rs", "if request.headers().contains_key(FORWARDED_BY) {", "if false {"),
    ("a standby answers of itself", "rest/forward.rs", "    if leads {\n", "    if leads || !api.handle.id().is_empty() {\n"),
    ("a body may be of any length", "rest/routes.rs", "DefaultBodyLimit::max(MAX_BODY_BYTES)", "DefaultBodyLimit::max(MAX_BODY_BYTES * 64)"),
    ("idle connections are kept", "rest/listener.rs", "Poll::Pending if self.idle.as_mut().poll(context).is_ready() => {", "Poll::Pending if self.idle.as_mut().poll(context).is_ready() && self.timeout.is_zero() => {"),
    ("a field has another name", "rest/vertices.rs", '"taskmanager-id": if subtask.worker', '"taskmanager_id": if subtask.worker'),
    ("a number is a text", "rest/checkpoints.rs", '"num_acknowledged_subtasks": count,', '"num_acknowledged_subtasks": count.to_string(),'),
    ("our own answer is not as described", "rest/own.rs", '"already": already', '"already": already.to_string()'),
    ("any file is a log", "rest/configuration.rs", "files(directory).iter().any(|(file, ..)| file == name)", "directory.join(name).exists()"),
    ("secrets are shown", "rest/configuration.rs", "PARTS.iter().any(|part| key.contains(part))", "PARTS.iter().all(|part| key.contains(part))"),
    ("jobs that have ended are forgotten", "jobmanager/term.rs", "            self.archive.keep(id, job);", "            drop(job);"),
    ("a checkpoint completes twice", "jobmanager/history.rs", "find(|c| c.id == id && c.outcome == Outcome::InProgress)", "find(|c| c.id == id)"),
    ("rates never fall", "jobmanager/observed.rs", "if now - at > SILENCE_MS { now } else { *at }", "*at"),
    ("a restart is not counted", "jobmanager/documents.rs", "before.restarts + u32::from(began)", "before.restarts + u32::from(began) * 0"),
    ("old inventories are adopted", "jobmanager/term.rs", "if pending.get(&id) != Some(&request) {", "if !pending.contains_key(&id) {"),
    ("tasks that were told to stop are taken for running", MASTER + "mod.rs", "self.on_failure(task, failure.unwrap_or_else(ordered))", "{ let _ = ordered; self.on_failure(task, failure?) }"),
    ("a region that becomes due between two looks waits", MASTER + "mod.rs", "r.due > self.looked;", "r.due > self.clock.now_ms();"),
    ("tasks hear of a checkpoint before its pointer is written", MASTER + "checkpoints.rs", "                Effect::Write(_) => self.write(),", "                Effect::Write(_) => { if let Some(f) = &self.flight { let n = f.barrier.checkpoint; self.broadcast(&Order::Completed(n)); } self.write() }"),
    ("numbers of checkpoints in flight are used again", MASTER + "../mod.rs", "self.checkpoint().unwrap_or(0).max(adopted)", "{ let _ = adopted; self.checkpoint().unwrap_or(0) }"),
    ("splits that readers have are given out again", MASTER + "adopt.rs", "            if !given.contains(split.id.as_str()) {", "            if !given.contains(split.id.as_str()) || true {"),
]


def run(command, folder, **more):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    return done.returncode, done.stdout


def caught(folder, environment):
    """The tests that failed; None if it does not compile."""
    test = ["cargo", "test", "-q", "-p", "streamkeeper-cluster", "--lib", "--test", "it"]
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
    environment = {**os.environ, "CARGO_TARGET_DIR": target, "RUST_BACKTRACE": "0", "STREAMKEEPER_SEEDS": "1000"}
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Cargo.toml", "Cargo.lock", "crates"):
            source = os.path.join(ROOT, name)
            copy = shutil.copytree if os.path.isdir(source) else shutil.copy
            copy(source, os.path.join(folder, name))
        for name, file, old, new in MUTATIONS:
            if arguments.only and not re.search(arguments.only, name):
                continue
            path = os.path.join(folder, "crates/cluster/src", file)
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
