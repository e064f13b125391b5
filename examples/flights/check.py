#!/usr/bin/env python3
"""Computes the first two results of delays.sql from the input files alone and compares them with target/delays."""

import csv
import glob
import gzip
import os
import sys
from collections import defaultdict

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else "target/delays"


def flights():
    with gzip.open(os.path.join(HERE, "data/flights/flights-2013-01.csv.gz"), "rt") as file:
        for row in csv.reader(file):
            sched, actual, carrier, origin, delay = row[0], row[1], row[2], row[5], row[7]
            yield sched, actual, carrier, origin, int(delay) if delay else None


def hourly():
    groups = defaultdict(list)
    for sched, actual, _, origin, delay in flights():
        groups[origin, sched[:13] + ":00:00"].append((actual == "", delay))
    rows = set()
    for (origin, start), members in groups.items():
        delays = [delay for _, delay in members if delay is not None]
        mean, largest = (sum(delays) / len(delays), max(delays)) if delays else (None, None)
        rows.add((origin, start, len(members), sum(cancelled for cancelled, _ in members), mean, largest))
    return rows


def worst_carriers():
    with open(os.path.join(HERE, "data/airlines/airlines.csv")) as file:
        names = dict(csv.reader(file))
    delays = defaultdict(list)
    for sched, _, carrier, origin, delay in flights():
        if delay is not None:
            delays[origin, sched[:10] + " 00:00:00", carrier].append(delay)
    days = defaultdict(list)
    for (origin, start, carrier), values in delays.items():
        days[origin, start].append((-sum(values) / len(values), carrier, len(values)))
    rows = set()
    for (origin, start), carriers in days.items():
        for rank, (mean, carrier, count) in enumerate(sorted(carriers)[:3], 1):
            rows.add((origin, start, carrier, names[carrier], -mean, count, rank))
    return rows


def read(directory, types):
    rows = []
    for path in sorted(glob.glob(os.path.join(OUT, directory, "part-*"))):
        with open(path, newline="") as file:
            for row in csv.reader(file):
                rows.append(tuple(kind(text) if text else None for kind, text in zip(types, row, strict=True)))
    return rows


def compare(name, directory, types, expected):
    rows = read(directory, types)
    if len(rows) != len(set(rows)):
        sys.exit(f"{name}: {len(rows) - len(set(rows))} rows are there twice (of two runs? remove {OUT} first)")
    if set(rows) != expected:
        missing, extra = sorted(expected - set(rows), key=str), sorted(set(rows) - expected, key=str)
        sys.exit(f"{name}: {len(missing)} rows missing {missing[:3]}, {len(extra)} unexpected {extra[:3]}")
    print(f"{name}: {len(rows)} rows, all as computed here")


compare("hourly", "hourly", (str, str, int, int, float, int), hourly())
compare("worst_carriers", "worst_carriers", (str, str, str, str, float, int, int), worst_carriers())
