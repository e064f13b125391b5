#!/usr/bin/env python3
"""Reads everything with PyPI's client for Flink's REST API, which is made from Flink's own OpenAPI document.

    pip install flink-job-manager-api
    flink_api.py path/to/streamkeeper

Starts a cluster in one process, runs a job, and calls every function of the client that reads. A function passes when it understands our answer.
One that does not understand Flink's own answer either (the vendored reply of Flink 2.3) is the client's fault, and is shown as such.
Ends with `N passed, N failed`.
"""
import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
import time

import flink_job_manager_api.api.default as functions
import httpx
from flink_job_manager_api import Client

REPLIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../flink-rest")
# What Streamkeeper does not have: it answers 501.
UNSUPPORTED = {
    "get_job_manager_thread_dump",
    "get_task_manager_thread_dump",
    "get_job_vertex_flame_graph",
    "get_job_resource_requirements",
}
# Where a log is shown by somebody else, and the status of operations that cannot be begun.
ABSENT = {
    "get_job_manager_log_url",
    "get_task_manager_log_url",
    "get_cluster_data_set_delete_status",
    "get_rescaling_status",
}
JOB = """
CREATE TABLE g (bidder BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '300', 'fields.bidder.min' = '1', 'fields.bidder.max' = '9');
CREATE TABLE s (bidder BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
SET 'execution.checkpointing.interval' = '200 ms';
INSERT INTO s SELECT bidder, COUNT(*) FROM g GROUP BY bidder;
"""


def wait(what, look):
    end = time.time() + 60
    while time.time() < end:
        try:
            found = look()
            if found:
                return found
        except (httpx.TransportError, KeyError, IndexError, TypeError, FileNotFoundError, AttributeError):
            pass
        time.sleep(0.05)
    sys.exit(f"{what}: not within 60 s")


def replies():
    """Flink's replies by the pattern of their path."""
    found = {}
    with open(os.path.join(REPLIES, "requests.txt")) as lines:
        for line in lines:
            name, path = line.split()
            if "?" not in path and "__finished" not in name:
                pattern = re.sub(r"\{\w+\}", "[^/]+", path).replace("/0", "/[0-9]+")
                with open(os.path.join(REPLIES, name)) as text:
                    found[re.compile(f"(/v1)?{pattern}")] = json.load(text)
    # It has the form of all lists of metrics.
    found[re.compile(".*/jm-operator-metrics")] = []
    return found


def attempt(module, client, arguments):
    """What is wrong with an answer; None: nothing."""
    try:
        answer = module.sync_detailed(client=client, **arguments)
        return None if answer.parsed is not None else f"{answer.status_code}: nothing was understood"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:120]!r}"


def same(problem, other):
    """Whether two answers are misunderstood in the same way: by the same exception, and not for another status."""
    kind = lambda text: re.match(r"\w+(: .Unexpected status code: \d+)?", text or "").group()
    return other is not None and kind(problem) == kind(other)


def check(address):
    http = httpx.Client(base_url=address)
    read = lambda path: http.get(path).json()
    job = wait("a job", lambda: read("/jobs")["jobs"][0]["id"])
    vertex = wait("its vertices", lambda: read(f"/jobs/{job}")["vertices"][-1]["id"])
    known = {
        "jobid": job,
        "vertexid": vertex,
        "taskmanagerid": read("/taskmanagers")["taskmanagers"][0]["id"],
        "subtaskindex": 0,
        "attempt": 0,
        "checkpointid": wait("a checkpoint", lambda: read(f"/jobs/{job}/checkpoints")["latest"]["completed"]["id"]),
        "triggerid": "0" * 32,
    }
    wait("metrics", lambda: read(f"/jobs/{job}/vertices/{vertex}/watermarks")[0]["value"])
    known_replies = replies()

    def of_flink(request):
        matching = [reply for pattern, reply in known_replies.items() if pattern.fullmatch(request.url.path)]
        return httpx.Response(200, json=matching[0]) if matching else httpx.Response(404)

    ours = Client(base_url=address, raise_on_unexpected_status=True)
    flinks = Client(base_url="http://flink", raise_on_unexpected_status=True)
    flinks.set_httpx_client(httpx.Client(base_url="http://flink", transport=httpx.MockTransport(of_flink)))
    passed = failed = 0
    for part in pkgutil.iter_modules(functions.__path__):
        module = importlib.import_module(f"{functions.__name__}.{part.name}")
        if part.name in ABSENT or '"method": "get"' not in inspect.getsource(module):
            continue
        parameters = inspect.signature(module.sync_detailed).parameters.items()
        needed = [name for name, about in parameters if about.default is inspect.Parameter.empty and name != "client"]
        arguments = {name: known[name] for name in needed}
        problem = attempt(module, ours, arguments)
        if problem is None:
            passed += 1
        elif part.name in UNSUPPORTED or "triggerid" in needed:
            if "501" not in problem:
                print(f"FAILED {part.name}: not 501, but {problem}")
                failed += 1
        elif same(problem, with_flinks := attempt(module, flinks, arguments)):
            print(f"the client's fault: {part.name}: {problem[:100]}")
        else:
            print(f"FAILED {part.name}: {problem}; with Flink's reply: {with_flinks}")
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return failed == 0


def main():
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/debug/streamkeeper")
    folder = tempfile.mkdtemp()
    script = os.path.join(folder, "job.sql")
    with open(script, "w") as file:
        file.write(JOB)
    command = [binary, "standalone", "--data-dir", os.path.join(folder, "data"), "--zookeeper-port", "0"]
    with open(os.path.join(folder, "out"), "w") as out, open(os.path.join(folder, "err"), "w") as err:
        cluster = subprocess.Popen(command + ["--set", "rest.port=0", "--set", "jobmanager.rpc.port=0"], stdout=out, stderr=err)
    try:
        def address():
            with open(os.path.join(folder, "out")) as text:
                return re.search(r"REST API on (http://[\w.:]+)", text.read()).group(1)

        rest = wait("the cluster", address)
        host = rest.removeprefix("http://")
        subprocess.run([binary, "run", "--detached", "-m", host, "-f", script], check=True, stdout=subprocess.DEVNULL)
        good = check(rest)
    finally:
        cluster.terminate()
        cluster.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if good else 1)


main()
