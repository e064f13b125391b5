"""Hosts of a network that can be cut: each is a network namespace with an address of its own on a common bridge.

Everything is in a namespace of the test's own, which ends with it, so nothing of the machine's network is touched. Packets are lost
without a word, as where a cable is cut: by taking the bridge's end of a host's cable down, or by giving a neighbour's address a
hardware address that nobody has.
"""
import os
import signal
import subprocess
import sys

NOBODY = "02:00:00:00:ff:ff"
IN_PRIVATE = "STREAMKEEPER_PRIVATE_NETWORK"


def ip(*arguments, within=()):
    command = [*within, "ip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}; the test needs network namespaces (root, ip, nsenter, unshare)")


def private():
    """Goes on in a network namespace of its own: starts the program anew there. Ends the test where that cannot be done."""
    if os.environ.get(IN_PRIVATE):
        return
    user = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    probe = subprocess.run(["unshare", *user, "--net", "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        sys.exit(f"there are no network namespaces here: {probe.stderr.strip()}")
    os.environ[IN_PRIVATE] = "1"
    os.execvp("unshare", ["unshare", *user, "--net", sys.executable, *sys.argv])


class Hosts:
    """Cuts may overlap: a way is open again when nobody cuts it any more."""

    def __init__(self, names):
        self.number = {name: n for n, name in enumerate(names, 2)}
        self.holders, self.unplugged, self.dropped = {}, {}, {}
        ip("link", "set", "lo", "up")
        ip("link", "add", "switch", "type", "bridge")
        ip("address", "add", "10.77.0.1/24", "dev", "switch")
        ip("link", "set", "switch", "up")
        for name in names:
            self.plug_in(name)

    def address(self, name):
        return f"10.77.0.{self.number[name]}"

    def plug_in(self, name):
        # Holds the namespace; it ends with its standard input, whatever becomes of the test.
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdout.readline()
        self.holders[name] = holder
        ip("link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        ip("link", "set", f"to-{name}", "master", "switch", "up")
        within = self.within(name)
        ip("link", "set", "lo", "up", within=within)
        ip("address", "add", f"{self.address(name)}/24", "dev", "eth0", within=within)
        ip("link", "set", "eth0", "up", within=within)

    def within(self, name):
        """What is put before a command to run it on a host."""
        return ["nsenter", f"--net=/proc/{self.holders[name].pid}/ns/net"]

    def isolate(self, name):
        """Nothing comes to a host or goes from it."""
        if self.count(self.unplugged, name, 1) == 1:
            ip("link", "set", f"to-{name}", "down")

    def rejoin(self, name):
        if self.count(self.unplugged, name, -1) == 0:
            ip("link", "set", f"to-{name}", "up")

    def drop(self, sender, receiver):
        """Nothing that one host sends arrives at the other."""
        if self.count(self.dropped, (sender, receiver), 1) == 1:
            ip("neighbour", "replace", self.address(receiver), "lladdr", NOBODY, "nud", "permanent", "dev", "eth0",
               within=self.within(sender))

    def pass_on(self, sender, receiver):
        if self.count(self.dropped, (sender, receiver), -1) == 0:
            ip("neighbour", "del", self.address(receiver), "dev", "eth0", within=self.within(sender))

    @staticmethod
    def count(counts, key, change):
        counts[key] = counts.get(key, 0) + change
        return counts[key]

    def close(self):
        for holder in self.holders.values():
            holder.send_signal(signal.SIGKILL)
            holder.wait()
