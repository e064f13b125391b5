#!/usr/bin/env python3
"""Counts what a cluster writes to ZooKeeper, by the server's zxid, and runs many jobs on one cluster.

    budget.py BINARY [--zookeeper keeper:BINARY|apache38|apache39] [--jobs 200]

Sessions' own transactions (create, close) are counted apart: a process that dies leaves one, a process that starts makes one.
Run it from the repository's root.
"""
import argparse
import re
import shutil
import tempfile
import time

from processes import Cluster

CHECKPOINTED = """
SET 'execution.checkpointing.interval' = '{interval}';
CREATE TEMPORARY TABLE ticks (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10');
CREATE TEMPORARY TABLE gone (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO gone SELECT n FROM ticks;
"""


def zxid(cluster):
    return int(re.search(r"Zxid: (0x[0-9a-f]+)", cluster.server.four_letter("srvr")).group(1), 16)


def expect(what, found, limit):
    print(f"  {what:50} {found:5}  (at most {limit})")
    if found > limit:
        raise SystemExit(f"{what}: {found} transactions, the budget is {limit}")


def resident_mib(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--zookeeper")
    parser.add_argument("--jobs", type=int, default=200)
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="budget-")
    slots = args.jobs // 3 + 2
    cluster = Cluster(args.binary, args.zookeeper or f"keeper:{args.binary}", directory, slots=slots, session_ms=10_000)
    try:
        cluster.start_all()
        cluster.until("three TaskManagers", lambda: (cluster.ask("/overview") or {}).get("taskmanagers") == 3)
        time.sleep(1)
        print("transactions in ZooKeeper:")
        before = zxid(cluster)
        time.sleep(10)
        expect("idle cluster, 10 s", zxid(cluster) - before, 0)

        before = zxid(cluster)
        job = cluster.submit(CHECKPOINTED.format(interval="1 h"), "-p", "1", to="jm0")
        cluster.wait_running(job)
        time.sleep(0.5)
        expect("a job from its submission to RUNNING", zxid(cluster) - before, 3)
        before = zxid(cluster)
        time.sleep(5)
        expect("it runs, without checkpoints, 5 s", zxid(cluster) - before, 0)

        job = cluster.submit(CHECKPOINTED.format(interval="300 ms"), "-p", "1", to="jm0")
        cluster.wait_running(job)
        time.sleep(0.5)

        def state():
            counts = cluster.job(job)["checkpoints"]["completed"]
            return zxid(cluster), counts
        start = state()
        time.sleep(6)
        end = state()
        # One may complete between the two looks.
        expect(f"{end[1] - start[1]} checkpoints", end[0] - start[0], end[1] - start[1] + 1)
        cluster.ask(f"/jobs/{job}?mode=cancel", method="PATCH")
        cluster.until("the job's end", lambda: cluster.job(job)["state"] == "CANCELED")
        time.sleep(0.5)

        leader = cluster.ask("/v1/streamkeeper/leader")["leader"]
        victim = next(name for name in cluster.rest if str(cluster.rpc[name]) == leader["rpc_address"].split(":")[1])
        other = next(name for name in cluster.rest if name != victim)
        before = zxid(cluster)
        cluster.kill(victim)
        cluster.until("a new leader", lambda: (cluster.ask("/v1/streamkeeper/leader", name=other) or {}).get("leads"))
        cluster.wait_running_on(other)
        time.sleep(1)
        # The new leader begins with a checkpoint of the job that runs.
        expect("a change of the leader, and one checkpoint", zxid(cluster) - before, 2)
        cluster.start(victim)

        cluster.until("its REST API", lambda: cluster.ask("/overview", name=victim))
        start = time.monotonic()
        jobs = [cluster.submit(CHECKPOINTED.format(interval="1 h"), "-p", "1", to="jm0") for _ in range(args.jobs)]
        cluster.until("all jobs run", lambda: (cluster.ask("/overview", timeout=10) or {}).get("jobs-running", 0) >= args.jobs, 120)
        print(f"{len(jobs)} jobs run, {time.monotonic() - start:.1f} s after the first was submitted")
        time.sleep(2)
        before = zxid(cluster)
        time.sleep(5)
        expect(f"{len(jobs)} jobs run, without checkpoints, 5 s", zxid(cluster) - before, 0)
        for name in sorted(cluster.running):
            print(f"  {name}: {resident_mib(cluster.running[name]):.1f} MiB resident")
        leader = cluster.ask("/v1/streamkeeper/leader", timeout=10)["leader"]
        victim = next(name for name in cluster.rest if str(cluster.rpc[name]) == leader["rpc_address"].split(":")[1])
        other = next(name for name in cluster.rest if name != victim)
        start = time.monotonic()
        cluster.kill(victim)
        cluster.until("all jobs run under the next leader",
                      lambda: (cluster.ask("/overview", name=other, timeout=10) or {}).get("jobs-running", 0) >= args.jobs, 60)
        print(f"{len(jobs)} jobs taken over by the next leader in {time.monotonic() - start:.1f} s")
    except BaseException:
        print(f"logs are in {directory}")
        raise
    finally:
        cluster.stop_all()
    shutil.rmtree(directory)


main()
