"""What the tours share: cases, checks that count, and the main function."""
import argparse
import logging
import os
import sys
import time
import traceback
import warnings

from server import Server

CASES = []
COUNT = {"passed": 0, "failed": 0}
CURRENT = "?"


def case(function):
    CASES.append(function)
    return function


def check(what, got, want):
    """Counts; a failure is told and the case goes on."""
    if got == want:
        COUNT["passed"] += 1
        return
    COUNT["failed"] += 1
    print(f"FAILED {CURRENT}: {what}\n     got: {got!r}\n  wanted: {want!r}", flush=True)


def raises(what, error, function, *args, **kwargs):
    """Exactly this error, not one of its kind."""
    try:
        got = function(*args, **kwargs)
    except Exception as e:  # whatever it is, it is what we got
        got = type(e)
    check(what, got, error)


def until(function, seconds=10.0):
    """The first true value, or the last one when time is up: what comes on its own (events, expiry) takes a while."""
    end = time.monotonic() + seconds
    while True:
        value = function()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.01)


def main(doc, cfg=None, add_arguments=None):
    global CURRENT
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--target", required=True, help="keeper:PATH, apache38 or apache39")
    parser.add_argument("cases", nargs="*", help="only these")
    if add_arguments:
        add_arguments(parser)
    args = parser.parse_args()
    logging.disable()  # kazoo tells of every connection that we cut
    warnings.simplefilter("ignore")
    cases = [c for c in CASES if not args.cases or c.__name__ in args.cases]
    with Server(args.target, cfg(args) if callable(cfg) else cfg) as server:
        server.args = args
        for c in cases:
            CURRENT = c.__name__
            try:
                c(server)
            except Exception:
                COUNT["failed"] += 1
                print(f"FAILED {CURRENT}", flush=True)
                traceback.print_exc(limit=-5, file=sys.stdout)
    name = os.path.basename(sys.argv[0]).removesuffix(".py")
    print(f"{name} {args.target.partition(':')[0]}: {COUNT['passed']} passed, {COUNT['failed']} failed", flush=True)
    sys.exit(1 if COUNT["failed"] or not COUNT["passed"] else 0)
