# SPDX-License-Identifier: MIT
"""Programs of greenlets: the Python stack is exchanged under the thread's C stack thousands of times a second."""

from __future__ import annotations

import pytest
from programs import run

RATES = [0, 1000]


@pytest.mark.module("gevent")
@pytest.mark.parametrize("rate", RATES)
def test_gevent_tasks(rate: int) -> None:
    """500 tasks in a pool, at different depths, that wait for each other. No block has frames of two kinds of task."""
    out = run(
        """if True:
        import sys
        import gevent, gevent.pool, gevent.queue
        from mprofile import _core

        rate = int(sys.argv[1])
        queue = gevent.queue.Queue(5)
        kept = []

        def produce(depth):
            if depth:
                return produce(depth - 1)
            for i in range(4):
                kept.append(bytes(5000))
                queue.put(i)
                kept.append(bytes(5000))
                gevent.sleep(0)

        def consume(depth):
            if depth:
                return consume(depth - 1)
            for i in range(4):
                queue.get()
                kept.append(bytes(6000))
                gevent.sleep(0)
                kept.append(bytes(6000))

        _core.start(128, rate, seed=1)
        pool = gevent.pool.Pool(500)
        for i in range(250):
            pool.spawn(produce, i % 20)
            pool.spawn(consume, i % 13)
        pool.join()
        stacks = {5033: [], 6033: []}
        for trace in _core._get_traces():
            if trace[1] in stacks:
                names = [frame.name for frame in trace[2]]
                stacks[trace[1]].append([name for name in names if name in ("produce", "consume")])
        expected = {5033: ("produce", 20), 6033: ("consume", 13)}
        for size, (name, depths) in expected.items():
            assert all(set(stack) == {name} for stack in stacks[size])
            assert {len(stack) for stack in stacks[size]} == set(range(1, depths + 1))
        assert len(kept) == 4000
        counts = [len(stacks[5033]), len(stacks[6033])]
        # At 1000 bytes a block of 5 kB is a sample but for 0.7 %.
        assert all(count == 2000 if rate == 0 else 1950 < count <= 2000 for count in counts), counts
        kept.clear()
        assert not any(trace[1] in stacks for trace in _core._get_traces())
        print(_core._valid(), _core._info()["drops"])
        """,
        str(rate),
    )
    assert out == "True 0\n"


@pytest.mark.module("greenlet")
@pytest.mark.parametrize("rate", RATES)
def test_greenlets_that_die_unfinished(rate: int) -> None:
    """Greenlets are thrown away in the middle of their stacks, or killed, in four threads."""
    out = run(
        """if True:
        import gc, sys, threading
        import greenlet
        from mprofile import _core

        def nested(depth):
            held = bytes(5000)
            if depth:
                return nested(depth - 1)
            hub = greenlet.getcurrent().parent
            while True:
                hub.switch([bytearray(100 + i) for i in range(20)])

        def body():
            for turn in range(100):
                some = [greenlet.greenlet(nested) for _ in range(5)]
                for i, each in enumerate(some):
                    each.switch(turn % 10 + i)
                for each in some[:2]:
                    each.switch()
                some[0].throw(greenlet.GreenletExit)
                del some, each
                if turn % 10 == 0:
                    gc.collect()

        _core.start(64, int(sys.argv[1]), seed=1)
        threads = [threading.Thread(target=body) for _ in range(3)]
        for thread in threads:
            thread.start()
        body()
        for thread in threads:
            thread.join()
        gc.collect()
        greenlet.greenlet(lambda: None).switch()
        print(sum(trace[1] == 5033 for trace in _core._get_traces()), _core._valid())
        """,
        str(rate),
    )
    assert out == "0 True\n"


@pytest.mark.module("gevent")
def test_gevent_server_with_patched_threads() -> None:
    """A server with the standard library patched: requests allocate under their own handler."""
    out = run(
        """if True:
        from gevent import monkey
        monkey.patch_all()
        import socket, threading, gevent
        from gevent.server import StreamServer
        from mprofile import _core

        cache = {}

        def handle_small(key):
            cache[key] = bytes(2000)

        def handle_large(key):
            gevent.sleep(0.001)
            cache[key] = bytes(9000)

        def handle(connection, address):
            key = int(connection.makefile().readline())
            (handle_large if key % 2 else handle_small)(key)
            connection.sendall(b"done")
            connection.close()

        def ask(key):
            with socket.create_connection(server.address) as connection:
                connection.sendall(b"%d\\n" % key)
                assert connection.recv(10) == b"done"

        server = StreamServer(("127.0.0.1", 0), handle)
        server.start()
        _core.start(128, 0)
        threads = [threading.Thread(target=ask, args=(key,)) for key in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = {}
        for trace in _core._get_traces():
            if trace[1] in (2033, 9033):
                names = tuple(frame.name for frame in trace[2][:2])
                found[trace[1], names] = found.get((trace[1], names), 0) + 1
        print(sorted(found.items()))
        """
    )
    assert out.strip() == ("[((2033, ('handle_small', 'handle')), 100), ((9033, ('handle_large', 'handle')), 100)]")
