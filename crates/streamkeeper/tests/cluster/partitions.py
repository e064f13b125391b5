#!/usr/bin/env python3
"""Cuts a cluster's network while a job runs, and compares what the job commits with an undisturbed run.

    partitions.py BINARY [--zookeeper keeper:BINARY|apache38|apache39] [--cuts 20] [--seed 1] [--verbose]

ZooKeeper, two JobManagers and three TaskManagers are on hosts of their own (hosts.py), which share a disk: a TaskManager that is cut off
still writes files. Run it from the repository's root, as root or where users may have namespaces; it fails where there are none.

After each cut is healed, two more checkpoints must complete. A cut of the leader or of ZooKeeper must restart no task. At the end of
each job, besides the rows:
- every write of a leader in ZooKeeper's log was made while its epoch was the last, by the session that took office; epochs, attempts and
  the checkpoint pointer only grow
- every committed file was written by the attempt that the assignment named when its checkpoint was completed
"""
import argparse
import bisect
import collections
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import chaos
import history
import hosts
from processes import Cluster
from renames import Renames

SESSION_MS = 4000
KEYS = [
    "heartbeat.interval=500 ms",
    "heartbeat.timeout=3 s",
    "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout=1 h",
]
# How often each kind of cut is drawn, and whether tasks may be restarted by it.
KINDS = {
    "the leader from everybody": (2, False),
    "the leader from ZooKeeper": (2, False),
    "a TaskManager from everybody": (2, True),
    "a TaskManager from the leader": (2, True),
    "ZooKeeper from everybody": (2, False),
    "a TaskManager from another": (1, True),
}


class Partitioned(Cluster):
    """A cluster whose processes are on hosts of their own."""

    def __init__(self, binary, zookeeper, directory):
        super().__init__(binary, zookeeper, directory, session_ms=SESSION_MS, keys=KEYS)
        self.hosts = hosts.Hosts(["zk", *self.rest, *self.workers])
        self.server.cfg["clientPortAddress"] = self.host("zk")
        self.history = history.History(self.server.data)

    def host(self, name):
        return self.hosts.address(name)

    def within(self, name):
        return self.hosts.within(name)

    def keys_of(self, name):
        host = self.host(name)
        roles = {"j": ["jobmanager.bind-host", "jobmanager.rpc.address", "rest.bind-address"], "t": ["taskmanager.bind-host", "taskmanager.host"]}
        keys = [f"high-availability.zookeeper.quorum={self.host('zk')}:{self.server.port}", *(f"{key}={host}" for key in roles[name[0]])]
        return super().keys_of(name) + [part for key in keys for part in ("--set", key)]

    def start(self, name):
        if name != "zk":
            return super().start(name)
        log = open(f"{self.directory}/logs/zk.log", "a")
        self.running[name] = subprocess.Popen([*self.within("zk"), *self.server.command()], stdout=log, stderr=log)

    def stop_all(self):
        super().stop_all()
        self.hosts.close()

    def leader(self):
        """The name of the JobManager that leads."""
        offices = self.history.go_on().offices
        names = {self.host(name): name for name in self.rest}
        return names[offices[-1].address.rpartition(":")[0]] if offices else None


class Cut:
    """One cut, and how it is healed."""

    def __init__(self, cluster, kind, rng):
        net, leader = cluster.hosts, cluster.leader()
        worker, other = rng.sample(cluster.workers, 2)
        self.kind, self.may_restart = kind, KINDS[kind][1]
        self.seconds = rng.uniform(1, 10)
        self.began = time.monotonic()
        if kind == "ZooKeeper from everybody":
            self.seconds = rng.uniform(SESSION_MS / 1000 + 1, 10)
        alone = {
            "the leader from everybody": leader,
            "a TaskManager from everybody": worker,
            "ZooKeeper from everybody": "zk",
        }.get(kind)
        if alone:
            self.what = f"{alone} from everybody"
            net.isolate(alone)
            self.heal = lambda: net.rejoin(alone)
            return
        one, two = {
            "the leader from ZooKeeper": (leader, "zk"),
            "a TaskManager from the leader": (worker, leader),
            "a TaskManager from another": (worker, other),
        }[kind]
        ways = rng.choice([[(one, two), (two, one)], [(one, two), (two, one)], [(one, two)], [(two, one)]])
        self.what = ", ".join(f"from {sender} to {receiver}" for sender, receiver in ways)
        for way in ways:
            net.drop(*way)
        self.heal = lambda: [net.pass_on(*way) for way in ways]


def told(args, what):
    if args.verbose:
        print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def wait(cluster, seconds, wanted=None):
    """Waits for some time, or until the job has ended or has completed the checkpoint."""
    end = time.monotonic() + seconds
    while True:
        now = cluster.history.go_on()
        if now.wrong:
            sys.exit("\n".join(now.wrong))
        if now.result or wanted and now.newest() >= wanted or time.monotonic() >= end:
            return
        time.sleep(0.05)


def check_files(renames, now):
    """Who wrote the files that can be seen. Those of a checkpoint that was given up are in the next one that was completed."""
    numbers = [number for number, _, _ in now.checkpoints]
    for before, after in renames.pairs:
        found = re.search(r"-a(\d+)-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-\d+\.inprogress$", before or "")
        if not found:
            sys.exit(f"{before} was renamed to {after}: it cannot be told who wrote it")
        attempt, checkpoint = int(found[1]), int(after.split("-")[-2])
        completed = bisect.bisect_left(numbers, checkpoint)
        attempts = now.checkpoints[completed][2] if completed < len(numbers) else {}
        if attempt not in attempts.values():
            sys.exit(f"{after} was written by attempt {attempt}; the checkpoint that holds it is of {attempts}")
    return len(renames.pairs)


def run(args, expected, counts, gaps, round_number, wanted):
    """One job, and cuts one after the other. Returns how many there were."""
    rng = random.Random(args.seed * 1000 + round_number)
    directory = tempfile.mkdtemp(prefix="partitions-")
    cluster = Partitioned(args.binary, args.zookeeper, directory)
    out = f"{directory}/out"
    renames = Renames([f"{out}/hourly", f"{out}/copy"])
    done = 0
    try:
        cluster.start_all()
        cluster.until("a leader", lambda: cluster.ask("/overview"))
        pace = f", 'source.max-rows-per-second' = '{args.rate}'"
        now = cluster.history
        now.job = cluster.submit(chaos.SQL.format(interval="300ms", pace=pace, out=out), "-p", "4")
        cluster.wait_running(now.job)
        wait(cluster, 60, 2)
        while done < wanted and not now.result:
            before = now.attempts()
            cuts = [cut(args, cluster, rng)]
            if rng.random() < args.overlap:
                wait(cluster, rng.uniform(0, cuts[0].seconds))
                cuts.append(cut(args, cluster, rng))
            for each in sorted(cuts, key=lambda each: each.began + each.seconds):
                wait(cluster, each.began + each.seconds - time.monotonic())
                each.heal()
                told(args, f"healed: {each.what}")
            healed, newest = time.monotonic(), now.go_on().newest()
            wait(cluster, 60, newest + 2)
            # An end right after the cut is progress as well.
            if now.newest() < newest + 2 and not now.result:
                sys.exit(f"no progress for 60 s after {[each.what for each in cuts]} was healed")
            gaps.append((time.monotonic() - healed, [each.kind for each in cuts]))
            if not any(each.may_restart for each in cuts) and now.attempts() != before:
                sys.exit(f"{[each.what for each in cuts]} has restarted tasks: {before}, {now.attempts()}")
            counts.update(each.kind for each in cuts)
            done += len(cuts)
            wait(cluster, rng.uniform(0, 2))
        wait(cluster, 600, sys.maxsize)
        if not now.result or now.result.get("state") != "FINISHED":
            sys.exit(f"the job has not finished: {now.result}")
        if cluster.died():
            sys.exit(f"ended of themselves: {cluster.died()}")
        chaos.compare(out, expected, f"seed {args.seed}, round {round_number}")
        files = check_files(renames, now)
        print(
            f"  {len(now.checkpoints)} checkpoints, {len(now.offices)} epochs, attempts {sorted(set(now.attempts().values()))}, "
            f"{files} files committed", flush=True)
    except BaseException:
        print(f"seed {args.seed}, round {round_number}: logs and output are in {directory}", file=sys.stderr)
        raise
    finally:
        cluster.stop_all()
    shutil.rmtree(directory)
    return done


def cut(args, cluster, rng):
    kinds = [kind for kind in KINDS if not args.only or re.search(args.only, kind)]
    made = Cut(cluster, rng.choices(kinds, [KINDS[kind][0] for kind in kinds])[0], rng)
    told(args, f"cut: {made.what} for {made.seconds:.1f} s")
    return made


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--zookeeper")
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--rate", type=int, default=600, help="rows per second of the replay, dealt out among four readers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--overlap", type=float, default=0.25, help="share of cuts during which there is another one")
    parser.add_argument("--only", help="kinds of cuts whose name this regular expression finds")
    parser.add_argument("--verbose", action="store_true", help="tell each cut")
    args = parser.parse_args()
    hosts.private()
    args.zookeeper = args.zookeeper or f"keeper:{os.path.abspath(args.binary)}"
    expected = chaos.undisturbed(args.binary)
    print(f"undisturbed: {len(expected)} rows", flush=True)
    counts, gaps, done, round_number = collections.Counter(), [], 0, 0
    while done < args.cuts:
        done += run(args, expected, counts, gaps, round_number, args.cuts - done)
        round_number += 1
        print(f"{done} cuts in {round_number} jobs, committed rows equal", flush=True)
    for name, count in sorted(counts.items()):
        print(f"  {count:3}  {name}")
    print("two checkpoints after healing: at most %.1f s, after %s" % max(gaps))


if __name__ == "__main__":
    main()
