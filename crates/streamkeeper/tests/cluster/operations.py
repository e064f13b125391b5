#!/usr/bin/env python3
"""Operates a job while processes of its cluster are killed: rescales it, takes savepoints, stops it and goes on from the savepoint at
another parallelism. What is committed in the end is compared with an undisturbed run; each savepoint that was taken on the way is
restored as well.

    operations.py BINARY [--zookeeper keeper:BINARY|apache38|apache39] [--steps 50] [--seed 1]

Run it from the repository's root.
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
import threading
import time

from processes import Cluster

SQL = """
SET 'execution.checkpointing.interval' = '300ms';
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
    return collections.Counter(found)


def undisturbed(binary):
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([binary, "sql", "-f", "-", "--quiet"], input=SQL.format(pace="", out=out).encode(), check=True)
        return rows(out)


class Operator:
    """Whoever operates the job; a step that fails because of a fault is taken again."""

    def __init__(self, args, cluster, directory):
        self.cluster, self.directory, self.rng = cluster, directory, random.Random(args.seed)
        self.binary, self.rate, self.counts = cluster.binary, args.rate, collections.Counter()
        self.job, self.savepoints = None, []

    def streamkeeper(self, *arguments, stdin=None):
        for address in [f"127.0.0.1:{port}" for name, port in self.cluster.rest.items() if name in self.cluster.running]:
            done = subprocess.run([self.binary, *arguments, "-m", address], input=stdin, capture_output=True, text=True)
            if done.returncode == 0:
                return done.stdout
        return None

    def run(self, out, *arguments, rate=None):
        pace = f", 'source.max-rows-per-second' = '{rate}'" if rate else ""
        job = f"{self.rng.getrandbits(128):032x}"

        def submitted():
            return self.streamkeeper("run", "-f", "-", "--detached", "--job-id", job, *arguments, stdin=SQL.format(pace=pace, out=out))
        self.cluster.until("a job is submitted", submitted, 120)
        return job

    def state(self):
        shown = self.cluster.job(self.job)
        return shown["state"] if shown else None

    def rescale(self):
        parallelism = self.rng.randint(1, 4)
        if self.streamkeeper("rescale", self.job, "-p", str(parallelism), "--detached"):
            self.counts["rescaled"] += 1
            end = time.monotonic() + self.rng.uniform(0.5, 3)
            while time.monotonic() < end:
                time.sleep(0.1)

    def savepoint(self):
        said = self.streamkeeper("savepoint", self.job, f"{self.directory}/savepoints")
        if said:
            self.savepoints.append(said.split("Path: ")[1].strip())
            self.counts["savepoints"] += 1

    def stop(self):
        said = self.streamkeeper("stop", self.job, "-p", f"{self.directory}/savepoints")
        # It may have ended though nobody could say so: then the savepoint is the newest one.
        if not said and self.state() != "FINISHED":
            return
        complete = glob.glob(f"{self.directory}/savepoints/savepoint-{self.job[:6]}-*/_metadata")
        newest = max(complete, key=os.path.getmtime)
        path = os.path.dirname(newest)
        if said:
            path = said.split("Savepoint: ")[1].strip()
        if "with which the job ended" not in subprocess.run(
                [self.binary, "savepoint", "inspect", path], capture_output=True, text=True, check=True).stdout:
            return
        moved = f"{self.directory}/moved-{self.counts['stopped']}"
        shutil.move(path, moved)
        self.counts["stopped"] += 1
        out = f"{self.directory}/out"
        self.job = self.run(out, "--from-savepoint", moved, "-p", str(self.rng.randint(1, 4)), rate=self.rate)
        self.cluster.until("the job runs", lambda: self.state() in ("RUNNING", "FINISHED"), 120)


def faults(cluster, rng, over, counts):
    """Kills a process now and then, and starts it again."""
    while not over.wait(rng.uniform(2, 5)):
        name = rng.choice([*cluster.rest, *cluster.workers])
        cluster.kill(name)
        counts[f"SIGKILL of a {'JobManager' if name[0] == 'j' else 'TaskManager'}"] += 1
        over.wait(rng.uniform(0.3, 1.5))
        cluster.start(name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--zookeeper")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rate", type=int, default=400, help="rows per second of the replay")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calm", action="store_true", help="kill nobody")
    args = parser.parse_args()
    expected = undisturbed(args.binary)
    print(f"undisturbed: {expected.total()} rows", flush=True)
    directory = tempfile.mkdtemp(prefix="operations-")
    keys = ["heartbeat.interval=500 ms", "heartbeat.timeout=4 s"]
    cluster = Cluster(args.binary, args.zookeeper or f"keeper:{args.binary}", directory, keys=keys)
    over, counts = threading.Event(), collections.Counter()
    killer = threading.Thread(target=faults, args=(cluster, random.Random(args.seed + 1), over, counts), daemon=True)
    try:
        cluster.start_all()
        cluster.until("a leader", lambda: cluster.ask("/overview"))
        operator = Operator(args, cluster, directory)
        operator.job = operator.run(f"{directory}/out", "-p", "2", rate=args.rate)
        cluster.until("the job runs", lambda: operator.state() == "RUNNING")
        if not args.calm:
            killer.start()
        for step in range(args.steps):
            if operator.state() == "FINISHED":
                print(f"the job has come to its end after {step} steps")
                break
            if operator.state() in ("FAILED", "CANCELED"):
                sys.exit(f"job {operator.job}: {cluster.job(operator.job)}")
            operator.rng.choices([operator.rescale, operator.savepoint, operator.stop], [4, 2, 1])[0]()
        over.set()
        if killer.is_alive():
            killer.join()
        # The rest goes on at the same pace: the job's source is part of it.
        cluster.until("the job's end", lambda: operator.state() in ("FINISHED", "FAILED"), 600)
        if operator.state() != "FINISHED":
            sys.exit(f"job {operator.job}: {cluster.job(operator.job)}")
        actual = rows(f"{directory}/out")
        if actual != expected:
            sys.exit(f"{(expected - actual).total()} rows missing, {(actual - expected).total()} rows too many")
        for number, savepoint in enumerate(operator.savepoints):
            out = f"{directory}/again-{number}"
            operator.job = operator.run(out, "--from-savepoint", savepoint, "--allow-non-restored-state", "-p", "3")
            cluster.until(f"the end of a job from {savepoint}", lambda: operator.state() in ("FINISHED", "FAILED"), 120)
            again = rows(out)
            if operator.state() != "FINISHED" or again - expected or not again:
                sys.exit(f"{savepoint}: {operator.state()}, {again.total()} rows, {(again - expected).total()} too many")
        counts.update(operator.counts)
    except BaseException:
        print(f"logs and output are in {directory}", file=sys.stderr)
        raise
    finally:
        over.set()
        cluster.stop_all()
    shutil.rmtree(directory)
    print(f"committed rows equal; {len(operator.savepoints)} savepoints restored")
    for name, count in sorted(counts.items()):
        print(f"  {count:3}  {name}")


main()
