"""The processes of a cluster under test: a ZooKeeper server (ours or Apache's), JobManagers and TaskManagers.

Each process has its log in the cluster's directory. A process is killed, frozen and started again by its name: `jm0`, `tm2`, `zk`.
"""
import glob
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../keeper/tests/foreign"))
import server  # noqa: E402


class Cluster:
    def __init__(self, binary, zookeeper, directory, job_managers=2, task_managers=3, slots=2, session_ms=4000, keys=()):
        self.binary, self.directory = os.path.abspath(binary), directory
        os.makedirs(f"{directory}/logs", exist_ok=True)
        self.server = server.Server(zookeeper, cfg={"tickTime": 500, "maxClientCnxns": 0}, data=f"{directory}/zookeeper")
        os.makedirs(self.server.data, exist_ok=True)
        self.rest = {f"jm{i}": server.free_port() for i in range(job_managers)}
        self.rpc = {f"jm{i}": server.free_port() for i in range(job_managers)}
        self.workers = [f"tm{i}" for i in range(task_managers)]
        self.slots, self.session_ms, self.keys = slots, session_ms, list(keys)
        self.running, self.frozen = {}, set()

    def keys_of(self, name):
        keys = [
            f"high-availability.zookeeper.quorum={self.server.address}",
            f"high-availability.zookeeper.client.session-timeout={self.session_ms} ms",
            f"execution.checkpointing.dir={self.directory}/checkpoints",
        ]
        if name in self.rest:
            keys += [f"rest.port={self.rest[name]}", f"jobmanager.rpc.port={self.rpc[name]}"]
        else:
            keys += [f"taskmanager.numberOfTaskSlots={self.slots}", f"taskmanager.resource-id={name}"]
        return [part for key in keys + self.keys for part in ("--set", key)]

    def start(self, name):
        if name == "zk":
            self.server.start()
            self.running[name] = self.server.process
            return
        role = "jobmanager" if name in self.rest else "taskmanager"
        log = open(f"{self.directory}/logs/{name}.log", "a")
        self.running[name] = subprocess.Popen(
            [*self.within(name), self.binary, role, *self.keys_of(name)], stdout=log, stderr=log, cwd=os.getcwd())

    def within(self, name):
        """What is put before the command of a process: nothing, as all are on this host."""
        return []

    def host(self, name):
        """The address of the host that a process is on."""
        return "127.0.0.1"

    def start_all(self):
        for name in ["zk", *self.rest, *self.workers]:
            self.start(name)

    def kill(self, name):
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()
        self.frozen.discard(name)

    def freeze(self, name):
        self.running[name].send_signal(signal.SIGSTOP)
        self.frozen.add(name)

    def thaw(self, name):
        self.running[name].send_signal(signal.SIGCONT)
        self.frozen.discard(name)

    def stop_all(self):
        for name, process in self.running.items():
            if process.poll() is None:
                process.kill()
                process.wait()

    def died(self):
        """Processes that have ended of themselves, with their exit codes."""
        return {name: p.returncode for name, p in self.running.items() if p.poll() is not None}

    def ask(self, path, method="GET", body=None, name=None, timeout=2):
        """An answer of the REST API, of any JobManager unless one is named; None while nobody answers."""
        for jm in [name] if name else self.rest:
            request = urllib.request.Request(f"http://{self.host(jm)}:{self.rest[jm]}{path}", method=method)
            if body is not None:
                request.data = json.dumps(body).encode()
                request.add_header("content-type", "application/json")
            try:
                with urllib.request.urlopen(request, timeout=timeout) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")
            except (OSError, ValueError):
                pass
        return None

    def until(self, what, condition, seconds=60):
        """Waits until the condition gives something, and returns it with the seconds it took."""
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            found = condition()
            if found:
                return found, time.monotonic() - start
            time.sleep(0.01)
        sys.exit(f"{what}: not within {seconds} s; logs are in {self.directory}/logs")

    def job(self, job):
        return self.ask(f"/v1/streamkeeper/jobs/{job}")

    def submit(self, sql, *options, to=None):
        """Submits a script, to the leader or to the JobManager of this name, and returns the id of its job."""
        where = ["-m", f"127.0.0.1:{self.rest[to]}"] if to else []
        arguments = [self.binary, "run", "-f", "-", "--detached", "--json", *self.keys_of("tm0"), *where, *options]
        done = subprocess.run(arguments, input=sql.encode(), capture_output=True, timeout=60)
        if done.returncode != 0:
            sys.exit(f"run: {done.stderr.decode()}")
        return json.loads(done.stdout)["jobid"]

    def wait_running(self, job, seconds=60):
        def running():
            shown = self.job(job)
            if shown and shown["state"] in ("FAILED", "CANCELED"):
                sys.exit(f"job {job} is {shown['state']}: {shown.get('error')}")
            tasks = [s["state"] for v in shown["vertices"] for s in v["subtasks"]] if shown else []
            return shown if tasks and shown["state"] == "RUNNING" and set(tasks) <= {"RUNNING", "FINISHED"} else None
        return self.until("all tasks run", running, seconds)

    def wait_running_on(self, name):
        """Waits until all jobs run under the JobManager of this name."""
        def running():
            shown = self.ask("/jobs/overview", name=name)
            live = [job for job in shown["jobs"] if job["state"] not in ("FINISHED", "FAILED", "CANCELED")] if shown else []
            return live and all(job["state"] == "RUNNING" for job in live)
        self.until("all jobs run", running)

    def newest_checkpoint(self):
        """The highest number of a checkpoint whose manifest is there."""
        manifests = glob.glob(f"{self.directory}/checkpoints/*/chk-*/_metadata")
        return max((int(path.split("chk-")[-1].split("/")[0]) for path in manifests), default=0)
