#!/usr/bin/env python3
"""kazoo's recipes against a server: what people build on the client, each with two clients or more."""
import datetime
import threading
import time

from kazoo import exceptions as e
from kazoo.recipe.cache import TreeCache, TreeEvent

from checks import case, check, main, raises, until
from clients import client, close, connect


def start(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


@case
def locks(server):
    with client(server) as a, client(server) as b:
        first, second = a.Lock("/lock", "a"), b.Lock("/lock", "b")
        check("acquire", first.acquire(), True)
        check("held", second.acquire(blocking=False), False)
        raises("with a time limit", e.LockTimeout, second.acquire, timeout=0.2)
        order = []
        waiting = start(lambda: (second.acquire(), order.append("b")))
        check("contenders in order", until(lambda: first.contenders() == ["a", "b"]), True)
        order.append("a")
        first.release()
        waiting.join(5)
        check("handed over", (order, second.is_acquired), (["a", "b"], True))
        second.release()
        check("nothing is left", a.get_children("/lock"), [])
        with a.Lock("/lock"):
            check("as a context", len(a.get_children("/lock")), 1)
        # The holder dies.
        c = connect(server)
        c.Lock("/lock", "c").acquire()
        waiting = start(second.acquire)
        until(lambda: len(a.get_children("/lock")) == 2)
        close(c)
        waiting.join(5)
        check("a dead holder's lock is free", second.is_acquired, True)
        second.release()
        # Many.
        inside, most = [], []

        def work(zk):
            for _ in range(5):
                with zk.Lock("/busy"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
        threads = [start(work, zk) for zk in (a, b)]
        for thread in threads:
            thread.join(20)
        check("one at a time", (len(most), max(most)), (10, 1))


@case
def read_and_write_locks(server):
    with client(server) as a, client(server) as b, client(server) as c:
        r1, r2, w = a.ReadLock("/rw", "r1"), b.ReadLock("/rw", "r2"), c.WriteLock("/rw", "w")
        check("two readers", (r1.acquire(), r2.acquire()), (True, True))
        check("no writer", w.acquire(blocking=False), False)
        waiting = start(w.acquire)
        until(lambda: len(a.get_children("/rw")) == 3)
        r1.release()
        time.sleep(0.1)
        check("not yet", w.is_acquired, False)
        r2.release()
        waiting.join(5)
        check("the writer", w.is_acquired, True)
        check("no reader", r1.acquire(blocking=False), False)
        w.release()
        check("a reader", r1.acquire(blocking=False), True)
        r1.release()


@case
def semaphores(server):
    with client(server) as a, client(server) as b, client(server) as c:
        one, two, three = (zk.Semaphore("/sem", n, max_leases=2) for zk, n in ((a, "1"), (b, "2"), (c, "3")))
        check("two leases", (one.acquire(), two.acquire()), (True, True))
        check("no third", three.acquire(blocking=False), False)
        check("holders", sorted(one.lease_holders()), ["1", "2"])
        waiting = start(three.acquire)
        time.sleep(0.1)
        one.release()
        waiting.join(5)
        check("the third", (three.is_acquired, sorted(one.lease_holders())), (True, ["2", "3"]))
        raises("another number of leases", ValueError, a.Semaphore("/sem", "4", max_leases=3).acquire)
        two.release()
        three.release()


@case
def leases(server):
    with client(server) as a, client(server) as b:
        hour = datetime.timedelta(hours=1)
        check("granted", bool(a.NonBlockingLease("/lease", hour, "a")), True)
        check("not twice", bool(b.NonBlockingLease("/lease", hour, "b")), False)
        check("but again to the same", bool(a.NonBlockingLease("/lease", hour, "a")), True)
        check("one of two", bool(b.MultiNonBlockingLease(2, "/leases", hour, "b")), True)
        check("two of two", bool(a.MultiNonBlockingLease(2, "/leases", hour, "a")), True)
        check("no third", bool(a.MultiNonBlockingLease(2, "/leases", hour, "c")), False)


@case
def elections(server):
    with client(server) as a, client(server) as b:
        one, two = a.Election("/el", "one"), b.Election("/el", "two")
        led, go = [], threading.Event()

        def lead(name):
            led.append(name)
            go.wait(5)

        first = start(one.run, lead, "one")
        until(lambda: led)
        second = start(two.run, lead, "two")
        check("contenders", until(lambda: one.contenders() == ["one", "two"]), True)
        check("one leads", led, ["one"])
        go.set()
        first.join(5)
        second.join(5)
        check("then two", (led, one.contenders()), (["one", "two"], []))


@case
def counters(server):
    with client(server) as a, client(server) as b:
        one, two = a.Counter("/count"), b.Counter("/count")
        one += 5
        two -= 2
        check("both", (one.value, two.value, one.post_value, two.pre_value), (3, 3, 5, 5))

        def add(counter):
            for _ in range(10):
                counter += 1
        threads = [start(add, c) for c in (one, two)]
        for thread in threads:
            thread.join(20)
        check("no update is lost", one.value, 23)
        half = a.Counter("/half", default=0.5)
        half += 1.25
        check("of float", half.value, 1.75)


@case
def barriers(server):
    with client(server) as a, client(server) as b:
        barrier = a.Barrier("/bar")
        barrier.create()
        check("closed", b.Barrier("/bar").wait(0.1), False)
        opened = []
        waiting = start(lambda: opened.append(b.Barrier("/bar").wait(5)))
        time.sleep(0.1)
        check("remove", barrier.remove(), True)
        waiting.join(5)
        check("opened", opened, [True])
        check("remove again", barrier.remove(), False)

        log = []

        def both(zk, name):
            double = zk.DoubleBarrier("/double", 2, name)
            double.enter()
            log.append("in")
            double.leave()
            log.append("out")
        threads = [start(both, a, "a")]
        time.sleep(0.2)
        check("the first waits", log, [])
        threads.append(start(both, b, "b"))
        for thread in threads:
            thread.join(10)
        check("in together, out together", log, ["in", "in", "out", "out"])


@case
def queues(server):
    with client(server) as a, client(server) as b:
        queue = a.Queue("/queue")
        for value, priority in [(b"late", 200), (b"1", 100), (b"2", 100), (b"urgent", 5)]:
            queue.put(value, priority)
        check("length", len(b.Queue("/queue")), 4)
        other = b.Queue("/queue")
        check("by priority, then in order", [other.get() for _ in range(5)], [b"urgent", b"1", b"2", b"late", None])
        locking = a.LockingQueue("/lq")
        locking.put(b"x", priority=2)
        locking.put_all([b"y", b"z"], priority=1)
        theirs = b.LockingQueue("/lq")
        check("length", len(locking), 3)
        check("get locks", (locking.get(), theirs.get()), (b"y", b"z"))
        check("held", (locking.holds_lock(), theirs.holds_lock()), (True, True))
        check("consume", (locking.consume(), locking.holds_lock()), (True, False))
        check("released", theirs.release(), True)
        check("again", (locking.get(), locking.consume()), (b"z", True))
        check("the last", (theirs.get(), theirs.consume()), (b"x", True))
        check("none", theirs.get(timeout=0.2), None)
        got = []
        waiting = start(lambda: got.append(theirs.get(timeout=5)))
        time.sleep(0.1)
        locking.put(b"new")
        waiting.join(6)
        check("a waiting get", got, [b"new"])
        theirs.consume()


@case
def parties(server):
    with client(server) as a, client(server) as b:
        one, two = a.Party("/party", "one"), b.Party("/party", "two")
        one.join()
        two.join()
        check("both", (sorted(one), len(two)), (["one", "two"], 2))
        one.leave()
        check("one left", list(two), ["two"])
        shallow = a.ShallowParty("/shallow", "me")
        shallow.join()
        check("shallow", (list(b.ShallowParty("/shallow")), len(shallow)), (["me"], 1))
        c = connect(server)
        c.Party("/party", "three").join()
        check("three came", sorted(two), ["three", "two"])
        close(c)
        check("and went with its session", list(two), ["two"])


@case
def partitioners(server):
    def settle(partitioners):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for p in partitioners:
                if p.release:
                    p.release_set()
                elif p.allocating:
                    p.wait_for_acquire(0.1)
            if all(p.acquired for p in partitioners):
                return sorted(sorted(p) for p in partitioners)
        return [p.state for p in partitioners]

    with client(server) as a, client(server) as b:
        parts = ("1", "2", "3", "4")
        one = a.SetPartitioner("/parts", parts, identifier="one", time_boundary=0.3)
        check("all to the only one", settle([one]), [["1", "2", "3", "4"]])
        two = b.SetPartitioner("/parts", parts, identifier="two", time_boundary=0.3)
        until(lambda: one.release)
        check("half to each", settle([one, two]), [["1", "3"], ["2", "4"]])
        two.finish()
        until(lambda: one.release)
        check("all again", settle([one]), [["1", "2", "3", "4"]])
        one.finish()


@case
def tree_caches(server):
    with client(server) as a, client(server) as b:
        a.create("/tree/x/y", b"deep", makepath=True)
        cache, events = TreeCache(b, "/tree"), []
        cache.listen(lambda ev: events.append((ev.event_type, ev.event_data and ev.event_data.path)))
        cache.start()
        until(lambda: (TreeEvent.INITIALIZED, None) in events)
        check("filled", (cache.get_data("/tree/x/y").data, cache.get_children("/tree")), (b"deep", {"x"}))
        check("told", sorted(e[1] for e in events if e[0] == TreeEvent.NODE_ADDED), ["/tree", "/tree/x", "/tree/x/y"])
        events.clear()
        a.set("/tree/x", b"new")
        check("updated", until(lambda: events[:]), [(TreeEvent.NODE_UPDATED, "/tree/x")])
        events.clear()
        a.create("/tree/z")
        check("added", until(lambda: events[:]), [(TreeEvent.NODE_ADDED, "/tree/z")])
        events.clear()
        a.delete("/tree/x", recursive=True)
        check("removed", until(lambda: len(events) == 2 and sorted(events)),
              [(TreeEvent.NODE_REMOVED, "/tree/x"), (TreeEvent.NODE_REMOVED, "/tree/x/y")])
        check("gone", (cache.get_data("/tree/x"), cache.get_children("/tree")), (None, {"z"}))
        cache.close()


if __name__ == "__main__":
    main(__doc__, {"tickTime": 500})
