#!/usr/bin/env python3
"""Kills a running job with SIGKILL until N kills hit it, restarts it from its latest checkpoint each time, and compares
the committed rows with those of an undisturbed run.

    kill_campaign.py BINARY [--kills 50] [--debug-binary BINARY]

With a debug binary, whose fault points can be set by the environment, it also dies three times at each step of a
checkpoint and of the final commit. Run it from the repository's root.
"""

import argparse
import collections
import glob
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

SQL = """
SET 'execution.checkpointing.interval' = '{interval}';
SET 'execution.checkpointing.dir' = 'file://{dir}/checkpoints';
CREATE TABLE flights (
  sched_dep TIMESTAMP(3), actual_dep TIMESTAMP(3), carrier STRING, flight INT, tailnum STRING, origin STRING,
  dest STRING, dep_delay_min INT, arr_delay_min INT, air_time_min INT, distance_mi INT,
  WATERMARK FOR sched_dep AS sched_dep - INTERVAL '1' DAY
) WITH ('connector' = 'filesystem', 'path' = 'examples/flights/data/flights', 'format' = 'csv', 'csv.null-literal' = ''{pace});
CREATE TABLE hourly (origin STRING, window_start TIMESTAMP(3), flights BIGINT, mean DOUBLE, worst INT)
  WITH ('connector' = 'filesystem', 'path' = 'file://{dir}/out/hourly', 'format' = 'csv');
CREATE TABLE copy (tailnum STRING, sched_dep TIMESTAMP(3), delay INT)
  WITH ('connector' = 'filesystem', 'path' = 'file://{dir}/out/copy', 'format' = 'csv');
EXECUTE STATEMENT SET BEGIN
  INSERT INTO hourly SELECT origin, window_start, COUNT(*), AVG(CAST(dep_delay_min AS DOUBLE)), MAX(dep_delay_min)
    FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '1' HOUR)) GROUP BY origin, window_start, window_end;
  INSERT INTO copy SELECT tailnum, sched_dep, dep_delay_min FROM flights;
END;
"""


def script(directory, interval, rate=None):
    pace = f", 'source.max-rows-per-second' = '{rate}'" if rate else ""
    return SQL.format(dir=directory, interval=interval, pace=pace)


def start(binary, directory, sql, parallelism, fault=None):
    arguments = [binary, "sql", "-f", "-", "--quiet", "--parallelism", str(parallelism)]
    if glob.glob(f"{directory}/checkpoints/*/_latest"):
        arguments += ["--from-checkpoint", f"{directory}/checkpoints"]
    else:
        shutil.rmtree(f"{directory}/checkpoints", ignore_errors=True)
    environment = dict(os.environ, **({"STREAMKEEPER_FAULT": fault} if fault else {}))
    child = subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    child.stdin.write(sql.encode())
    child.stdin.close()
    return child


def rows(directory):
    found = []
    for path in glob.glob(f"{directory}/out/*/part-*"):
        with open(path) as file:
            found += [f"{os.path.basename(os.path.dirname(path))}: {line}" for line in file]
    return sorted(found)


def finish(binary, directory, sql):
    child = start(binary, directory, sql, 2)
    if child.wait() != 0:
        sys.exit(child.stderr.read().decode())


def compare(directory, expected, what):
    actual = rows(directory)
    if actual != expected:
        missing = collections.Counter(expected) - collections.Counter(actual)
        extra = collections.Counter(actual) - collections.Counter(expected)
        sys.exit(f"{what}: {missing.total()} rows missing, {extra.total()} rows too many")


def phase(directory):
    """What the checkpoint directory says about the moment of a kill."""
    pointers = glob.glob(f"{directory}/checkpoints/*/_latest")
    if not pointers:
        return "before the first checkpoint"
    with open(pointers[0]) as file:
        latest = json.load(file)["retained"][-1]
    ids = [int(path.rsplit("-", 1)[1]) for path in glob.glob(os.path.dirname(pointers[0]) + "/chk-*")]
    if max(ids, default=0) > latest:
        return "while a checkpoint was written"
    return "pending files not yet committed, or none" if glob.glob(f"{directory}/out/*/.part*") else "between checkpoints"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rate", type=int, default=450, help="rows per second of the replay of 27,004 rows")
    parser.add_argument("--debug-binary")
    args = parser.parse_args()
    random.seed(7)
    with tempfile.TemporaryDirectory() as directory:
        finish(args.binary, directory, script(directory, "1h"))
        expected = rows(directory)
    print(f"undisturbed: {len(expected)} rows")
    phases = collections.Counter()
    with tempfile.TemporaryDirectory() as directory:
        sql = script(directory, "200ms", args.rate)
        kills = 0
        while kills < args.kills:
            child = start(args.binary, directory, sql, random.choice([1, 2, 3]))
            time.sleep(random.uniform(0.1, 1.2))
            if child.poll() is not None:
                sys.exit(f"the job ended after {kills} kills ({child.returncode}); pace it slower with --rate")
            child.kill()
            child.wait()
            kills += 1
            phases[phase(directory)] += 1
        finish(args.binary, directory, sql)
        compare(directory, expected, "random kills")
    print(f"{kills} random kills, committed rows equal; at the moment of the kill:")
    for name, count in sorted(phases.items()):
        print(f"  {count:3}  {name}")
    if args.debug_binary:
        points = ["aligning", "state-written", "manifest-written", "pointer-written", "before-commit", "after-commit"]
        faults = [(point, n, "100ms", 9000) for point in points for n in (1, 2, 3)]
        # With an interval that never comes, the only checkpoint is the final one.
        faults += [(point, 1, "1h", None) for point in points[1:] for _ in range(3)]
        for point, n, interval, rate in faults:
            with tempfile.TemporaryDirectory() as directory:
                sql = script(directory, interval, rate)
                child = start(args.debug_binary, directory, sql, 2, f"{point}:{n}")
                if child.wait() == 0:
                    sys.exit(f"the job did not die at {point}:{n}")
                finish(args.debug_binary, directory, sql)
                what = f"{point}{' of the final checkpoint' if rate is None else ''}"
                compare(directory, expected, what)
                phases[what] += 1
        print("killed at fault points, committed rows equal each time:")
        for point, _, interval, rate in dict.fromkeys((p, 0, i, r) for p, _, i, r in faults):
            what = f"{point}{' of the final checkpoint' if rate is None else ''}"
            print(f"  {phases[what]:3}  {what}")


main()
