# SPDX-License-Identifier: MIT
"""Servers that fork: a child for each request, and workers that were forked before the first."""

from __future__ import annotations

import pytest
from programs import run

RATES = [0, 1000]


@pytest.mark.parametrize("rate", RATES)
def test_a_child_for_each_request(rate: int) -> None:
    """Beside threads that allocate. A child has the parent's blocks once, and its own; the parent has none of these."""
    out = run(
        """if True:
        import json, socket, socketserver, sys, threading, zlib
        from mprofile import _core

        rate = int(sys.argv[1])
        stop = threading.Event()
        data = bytes(range(256)) * 400

        def count(size):
            return sum(trace[1] == size for trace in _core._get_traces())

        def busy():
            while not stop.is_set():
                zlib.compress(data, 1)
                [bytearray(1000) for _ in range(20)]

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                own = [bytes(70000 - sys.getsizeof(b"")) for _ in range(int(self.rfile.readline()))]
                answer = [count(50000), count(70000), _core._valid()]
                inherited.clear()
                answer += [count(50000)]
                self.wfile.write(json.dumps(answer).encode())

        class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
            pass

        _core.start(64, rate, seed=1)
        inherited = [bytes(50000 - sys.getsizeof(b"")) for _ in range(7)]
        with Server(("127.0.0.1", 0), Handler) as server:
            threads = [threading.Thread(target=busy) for _ in range(2)]
            threads.append(threading.Thread(target=server.serve_forever, args=(0.01,)))
            for thread in threads:
                thread.start()
            answers = set()
            for number in range(1, 16):
                with socket.create_connection(server.server_address, 30) as connection:
                    connection.sendall(b"%d\\n" % number)
                    inherited_before, own, valid, inherited_after = json.loads(connection.makefile().read())
                answers.add((inherited_before, own - number, valid, inherited_after))
            stop.set()
            server.shutdown()
            for thread in threads:
                thread.join()
        print(answers, count(50000), count(70000), _core._valid())
        """,
        str(rate),
    )
    assert out == "{(7, 0, True, 0)} 7 0 True\n"


def test_workers_that_were_forked_first() -> None:
    """Each worker writes a profile of its own: complete files, one a process, with the worker's blocks in it."""
    out = run(
        """if True:
        import os, shutil, sys, tempfile
        import mprofile

        def load():
            return [bytearray(30000) for _ in range(20)]

        def serve(number):
            return [bytearray(40000) for _ in range(number)]

        directory = tempfile.mkdtemp()
        mprofile.start(64, 0)
        loaded = load()
        children = []
        for number in range(1, 5):
            pid = os.fork()
            if pid == 0:
                served = serve(number)
                mprofile.take_snapshot().write_pprof(os.path.join(directory, "%d.pb.gz" % number))
                os._exit(0)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
        found = []
        for number in range(1, 5):
            snapshot = mprofile.read_pprof(os.path.join(directory, "%d.pb.gz" % number))
            sums = [statistic.size for statistic in snapshot.statistics("traceback")]
            # Blocks of 30001 and 40001 bytes; the lists that hold them are smaller than one.
            found.append(([sum // 30001 for sum in sums[:1]], [sum // 40001 for sum in sums[1:] if sum > 40000]))
        print(found, sorted(os.listdir(directory)))
        shutil.rmtree(directory)
        """
    )
    assert out == "[([20], [1]), ([20], [2]), ([20], [3]), ([20], [4])] ['1.pb.gz', '2.pb.gz', '3.pb.gz', '4.pb.gz']\n"


def test_multiprocessing() -> None:
    """Pools by fork and by spawn; a forked worker records, a spawned one starts its own profiler."""
    out = run(
        """if True:
        import multiprocessing, os, sys, tempfile, textwrap
        program = '''
        import multiprocessing, sys
        from mprofile import _core

        def work(number):
            if not _core.is_tracing():
                _core.start(64, 0)
            kept = [bytes(5000) for _ in range(number)]
            return sum(trace[1] == sys.getsizeof(bytes(5000)) for trace in _core._get_traces()) - number

        if __name__ == "__main__":
            _core.start(64, 0)
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(method, sum(pool.map(work, range(20))))
        '''
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "program.py")
            with open(path, "w") as file:
                file.write(textwrap.dedent(program))
            os.spawnl(os.P_WAIT, sys.executable, sys.executable, path)
        """
    )
    assert out == "fork 0\nspawn 0\n"
