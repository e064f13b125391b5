#!/usr/bin/env python3
"""Kills the leading JobManager again and again while a probe runs, and measures what is felt of it; then TaskManagers.

    leader_kills.py BINARY [--zookeeper keeper:BINARY|apache38|apache39] [--kills 100] [--worker-kills 10]

The probe: a source that makes 1,000 rows a second, each with the time at which it was made, into a sink that is not transactional (a
TaskManager prints), and into files, which are committed with checkpoints. Asserted: no task restarts when a leader dies (attempts
stay), and after each kill the next leader's first checkpoint completes. Reported: the largest gap in the probe's output, the time to a
new leader and to its first checkpoint, and the longest time between two commits. Run it from the repository's root.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import tempfile
import threading
import time

from processes import Cluster

SQL = """
SET 'execution.checkpointing.interval' = '500 ms';
SET 'execution.checkpointing.tolerable-failed-checkpoints' = '1000000';
SET 'restart-strategy.type' = 'fixed-delay';
SET 'restart-strategy.fixed-delay.attempts' = '1000000';
SET 'restart-strategy.fixed-delay.delay' = '10 ms';
CREATE TEMPORARY TABLE ticks (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '1000000000');
CREATE TEMPORARY TABLE shown (n BIGINT) WITH ('connector' = 'print');
CREATE TEMPORARY TABLE kept (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'file://{out}/kept', 'format' = 'csv');
EXECUTE STATEMENT SET BEGIN
  INSERT INTO shown SELECT n FROM ticks;
  INSERT INTO kept SELECT n FROM ticks;
END;
"""


class Watch(threading.Thread):
    """Notes when something was last seen, and the longest time without."""

    def __init__(self, look, every):
        super().__init__(daemon=True)
        self.look, self.every, self.ended = look, every, False
        self.reset()

    def reset(self):
        self.last, self.longest = time.monotonic(), 0.0

    def run(self):
        seen = None
        while not self.ended:
            now_seen, now = self.look(), time.monotonic()
            if now_seen != seen:
                self.longest = max(self.longest, now - self.last)
                seen, self.last = now_seen, now
            time.sleep(self.every)


def size_of(pattern):
    return lambda: sum(os.stat(path).st_size for path in glob.glob(pattern))


def attempts(shown):
    return [s["attempt"] for v in shown["vertices"] for s in v["subtasks"]]


def summary(values):
    values = sorted(values)
    return (f"median {statistics.median(values):.2f} s, 90 % {values[int(len(values) * 0.9)]:.2f} s, "
            f"largest {values[-1]:.2f} s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--zookeeper")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--worker-kills", type=int, default=10)
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="leader-kills-")
    cluster = Cluster(args.binary, args.zookeeper or f"keeper:{args.binary}", directory, session_ms=10_000)
    try:
        cluster.start_all()
        cluster.until("a leader", lambda: cluster.ask("/overview"))
        job = cluster.submit(SQL.format(out=f"{directory}/out"), "-p", "2")
        cluster.wait_running(job)
        probe = Watch(size_of(f"{directory}/logs/tm*.log"), 0.005)
        commits = Watch(lambda: len(os.listdir(f"{directory}/out/kept")) if os.path.isdir(f"{directory}/out/kept") else 0, 0.01)
        probe.start()
        commits.start()
        first = attempts(cluster.job(job))
        gaps, leaders, checkpoints, commit_gaps = [], [], [], []
        for kill in range(args.kills):
            time.sleep(1.5)
            leader = cluster.ask("/v1/streamkeeper/leader")["leader"]
            victim = next(name for name in cluster.rest if str(cluster.rpc[name]) == leader["rpc_address"].split(":")[1])
            before = cluster.newest_checkpoint()
            probe.reset()
            commits.reset()
            cluster.kill(victim)

            def led():
                for name in cluster.rest:
                    found = name != victim and cluster.ask("/v1/streamkeeper/leader", name=name, timeout=0.5)
                    if found and found["leads"] and found["leader"]["epoch"] > leader["epoch"]:
                        return found
            leaders.append(cluster.until("a new leader", led)[1])
            checkpoints.append(cluster.until("a checkpoint", lambda: cluster.newest_checkpoint() > before + 1)[1])
            cluster.start(victim)
            shown = cluster.wait_running(job)[0]
            if attempts(shown) != first:
                raise SystemExit(f"tasks were restarted by kill {kill + 1}: {first} became {attempts(shown)}")
            gaps.append(max(probe.longest, time.monotonic() - probe.last))
            commit_gaps.append(max(commits.longest, time.monotonic() - commits.last))
        print(f"{args.kills} leaders killed, no task restarted")
        print(f"  new leader:               {summary(leaders)}")
        print(f"  its checkpoints complete: {summary(checkpoints)} after that")
        print(f"  gap of the probe:         {summary(gaps)}")
        print(f"  gap of commits:           {summary(commit_gaps)}")
        running = []
        for kill in range(args.worker_kills):
            shown = cluster.wait_running(job)[0]
            time.sleep(1)
            used = {s["taskmanager"].rsplit("-", 1)[0] for v in shown["vertices"] for s in v["subtasks"]}
            victim = sorted(used)[kill % len(used)]
            before = max(attempts(shown))
            cluster.kill(victim)

            def again():
                shown = cluster.job(job)
                tasks = [s for v in shown["vertices"] for s in v["subtasks"]] if shown else []
                return tasks and all(s["state"] == "RUNNING" and s["attempt"] > before for s in tasks)
            running.append(cluster.until("all tasks run again", again)[1])
            cluster.start(victim)
        if running:
            print(f"{args.worker_kills} TaskManagers killed\n  all tasks RUNNING again:  {summary(running)}")
        print(json.dumps({"leader_s": leaders, "checkpoint_s": checkpoints, "gap_s": gaps,
                          "commit_gap_s": commit_gaps, "running_s": running}))
    except BaseException:
        print(f"logs and output are in {directory}")
        raise
    finally:
        cluster.stop_all()
    shutil.rmtree(directory)


main()
