#!/usr/bin/env python3
"""Kills, freezes and restarts the processes of a cluster at random while jobs run, and compares what the jobs commit with an
undisturbed run.

    chaos.py BINARY [--zookeeper keeper:BINARY|apache38|apache39] [--faults 200] [--seed 1]

A fault counts only when a checkpoint was completed since the one before. Faults come 1 to 3 s apart: SIGKILL and a start anew, or
SIGSTOP and SIGCONT, of JobManagers, TaskManagers and the ZooKeeper server. Run it from the repository's root.
"""
import argparse
import collections
import glob
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from processes import Cluster

SQL = """
SET 'execution.checkpointing.interval' = '{interval}';
SET 'execution.checkpointing.num-retained' = '2';
SET 'restart-strategy.type' = 'fixed-delay';
SET 'restart-strategy.fixed-delay.attempts' = '1000000';
SET 'restart-strategy.fixed-delay.delay' = '100 ms';
SET 'execution.checkpointing.tolerable-failed-checkpoints' = '1000000';
CREATE TEMPORARY TABLE flights (
  sched_dep TIMESTAMP(3), actual_dep TIMESTAMP(3), carrier STRING, flight INT, tailnum STRING, origin STRING,
  dest STRING, dep_delay_min INT, arr_delay_min INT, air_time_min INT, distance_mi INT,
  WATERMARK FOR sched_dep AS sched_dep - INTERVAL '1' DAY
) WITH ('connector' = 'filesystem', 'path' = 'examples/flights/data/flights', 'format' = 'csv', 'csv.null-literal' = ''{pace});
CREATE TEMPORARY TABLE hourly (origin STRING, window_start TIMESTAMP(3), flights BIGINT, mean DOUBLE, worst INT)
  WITH ('connector' = 'filesystem', 'path' = 'file://{out}/hourly', 'format' = 'csv');
CREATE TEMPORARY TABLE copy (tailnum STRING, sched_dep TIMESTAMP(3), delay INT)
  WITH ('connector' = 'filesystem', 'path' = 'file://{out}/copy', 'format' = 'csv');
EXECUTE STATEMENT SET BEGIN
  INSERT INTO hourly SELECT origin, window_start, COUNT(*), AVG(CAST(dep_delay_min AS DOUBLE)), MAX(dep_delay_min)
    FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '1' HOUR)) GROUP BY origin, window_start, window_end;
  INSERT INTO copy SELECT tailnum, sched_dep, dep_delay_min FROM flights;
END;
"""


def rows(out):
    found = []
    for path in glob.glob(f"{out}/*/part-*"):
        with open(path) as file:
            found += [f"{os.path.basename(os.path.dirname(path))}: {line}" for line in file]
    return sorted(found)


def undisturbed(binary):
    with tempfile.TemporaryDirectory() as out:
        sql = SQL.format(interval="1h", pace="", out=out)
        subprocess.run([binary, "sql", "-f", "-", "--quiet"], input=sql.encode(), check=True)
        return rows(out)


def compare(out, expected, what):
    actual = rows(out)
    if actual != expected:
        missing = collections.Counter(expected) - collections.Counter(actual)
        extra = collections.Counter(actual) - collections.Counter(expected)
        sys.exit(f"{what}: {missing.total()} rows missing, {extra.total()} rows too many")


class Faults:
    """What happens to whom, and when it is over."""

    def __init__(self, cluster, random, verbose):
        self.cluster, self.random, self.verbose = cluster, random, verbose
        self.counts = collections.Counter()
        # (when, what to do then)
        self.due = []

    def heal(self, everything=False):
        now = time.monotonic()
        for item in list(self.due):
            if everything or item[0] <= now:
                self.due.remove(item)
                item[1](item[2])

    def victims(self):
        healthy = [n for n in ["zk", *self.cluster.rest, *self.cluster.workers] if not any(n == d[2] for d in self.due)]
        # ZooKeeper less often: while it is away, nobody is replaced.
        return [n for n in healthy if n != "zk" or self.random.random() < 0.5]

    def strike(self):
        name = self.random.choice(self.victims())
        kind = {"z": "ZooKeeper", "j": "JobManager", "t": "TaskManager"}[name[0]]
        after = time.monotonic() + self.random.uniform(0.3, 2)
        if self.random.random() < 0.7:
            self.cluster.kill(name)
            self.due.append((after, self.cluster.start, name))
            self.counts[f"SIGKILL of a {kind}"] += 1
            self.tell(f"SIGKILL {name}")
        else:
            self.cluster.freeze(name)
            # At times longer than a session and a heartbeat last.
            after = time.monotonic() + self.random.choice([0.5, 2, 7])
            self.due.append((after, self.cluster.thaw, name))
            self.counts[f"SIGSTOP of a {kind}"] += 1
            self.tell(f"SIGSTOP {name} for {after - time.monotonic():.1f} s")

    def tell(self, what):
        if self.verbose:
            print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def run(args, expected, counts, round_number, wanted):
    """One job under faults. Returns how many faults counted."""
    rng = random.Random(args.seed * 1000 + round_number)
    keys = ["heartbeat.interval=500 ms", "heartbeat.timeout=4 s"]
    directory = tempfile.mkdtemp(prefix="chaos-")
    cluster = Cluster(args.binary, args.zookeeper, directory, keys=keys)
    out = f"{directory}/out"
    try:
        cluster.start_all()
        pace = f", 'source.max-rows-per-second' = '{args.rate}'"
        cluster.until("a leader", lambda: cluster.ask("/overview"))
        job = cluster.submit(SQL.format(interval="300ms", pace=pace, out=out), "-p", "4")
        cluster.wait_running(job)
        faults = Faults(cluster, rng, args.verbose)
        counted, checkpoint = 0, cluster.newest_checkpoint()
        progress = time.monotonic()
        state = "RUNNING"
        while counted < wanted:
            end = time.monotonic() + rng.uniform(1, 3)
            while time.monotonic() < end:
                faults.heal()
                time.sleep(0.02)
            newest = cluster.newest_checkpoint()
            shown = cluster.job(job)
            state = shown["state"] if shown else state
            if state in ("FINISHED", "FAILED", "CANCELED"):
                break
            if newest > checkpoint:
                checkpoint, progress = newest, time.monotonic()
            elif time.monotonic() > progress + 60:
                sys.exit(f"no checkpoint for 60 s under faults; logs are in {directory}/logs")
            else:
                continue
            faults.strike()
            counted += 1
        faults.heal(everything=True)

        def finished():
            shown = cluster.job(job)
            if shown and shown["state"] in ("FAILED", "CANCELED"):
                sys.exit(f"the job is {shown['state']}: {shown.get('error')}")
            return shown and shown["state"] == "FINISHED"
        cluster.until("the job's end", finished, 600)
        if cluster.died():
            sys.exit(f"ended of themselves: {cluster.died()}")
        compare(out, expected, f"seed {args.seed}, round {round_number}")
        counts.update(faults.counts)
    except BaseException:
        print(f"logs and output are in {directory}", file=sys.stderr)
        raise
    finally:
        cluster.stop_all()
    shutil.rmtree(directory)
    return counted


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--zookeeper")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--rate", type=int, default=1200, help="rows per second of the replay, dealt out among four readers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="tell each fault")
    args = parser.parse_args()
    args.zookeeper = args.zookeeper or f"keeper:{args.binary}"
    expected = undisturbed(args.binary)
    print(f"undisturbed: {len(expected)} rows", flush=True)
    counts, done, round_number = collections.Counter(), 0, 0
    start = time.monotonic()
    while done < args.faults:
        done += run(args, expected, counts, round_number, args.faults - done)
        round_number += 1
        print(f"{done} faults in {round_number} jobs, committed rows equal ({time.monotonic() - start:.0f} s)", flush=True)
    for name, count in sorted(counts.items()):
        print(f"  {count:3}  {name}")


if __name__ == "__main__":
    main()
