# SPDX-License-Identifier: MIT
"""Programs that use numpy. Its arrays' data pass Python's allocators from numpy 2.5 on; before, their objects do."""

from __future__ import annotations

import pytest
from programs import run

RATES = [0, 100000]


@pytest.mark.module("numpy")
@pytest.mark.parametrize("rate", RATES)
def test_array_data(rate: int) -> None:
    """Megabytes of data at the line that made them, after resizing, through views, and gone when the last view is."""
    out = run(
        """if True:
        import sys
        import numpy as np
        from mprofile import _core

        rate = int(sys.argv[1])
        traced = tuple(int(part) for part in np.__version__.split(".")[:2]) >= (2, 5)

        def make():
            return np.zeros((1000, 1000))

        def bytes_of(name):
            rows = _core._get_traces().statistics("traceback", False)
            return sum(row[1] for row in rows if row[0][-1].name == name)

        make()
        _core.start(128, rate, seed=1)
        arrays = [make() for _ in range(5)]
        views = [array[::7, 3:] for array in arrays]
        expected = 5 * 8e6 if traced else 0
        assert abs(bytes_of("make") - expected) < 2000 or not traced, bytes_of("make")
        del arrays
        assert abs(bytes_of("make") - expected) < 2000 or not traced
        del views
        assert bytes_of("make") < 2000
        grown = np.ones(1000)
        for _ in range(10):
            grown = np.concatenate([grown, grown])
        assert grown.sum() == 1024000 and len(grown) == 1024000
        grown.resize(3000000, refcheck=False)
        current = _core.get_traced_memory()[0]
        assert not traced or 24e6 <= current < 27e6, current
        del grown
        assert _core.get_traced_memory()[0] < 3e6
        print(_core._valid(), _core._info()["drops"])
        """,
        str(rate),
    )
    assert out == "True 0\n"


@pytest.mark.module("numpy")
@pytest.mark.parametrize("rate", RATES)
def test_loops_over_arrays_and_threads(rate: int) -> None:
    """Many small arrays and scalars, and large operations that release the GIL, in four threads: results are right."""
    out = run(
        """if True:
        import sys, threading
        import numpy as np
        from mprofile import _core

        results = []

        def work(seed):
            rng = np.random.RandomState(seed)
            total = 0.0
            for i in range(200):
                small = np.arange(i + 1)
                total += float(small.sum()) + sum(x for x in small[:10])
            matrix = rng.rand(200, 200)
            product = matrix.dot(np.linalg.inv(matrix))
            objects = np.empty(10, dtype=object)
            for i in range(10):
                objects[i] = bytes(5000)
            text = np.array(["x" * n for n in range(100)])
            results.append((float(total), float(np.abs(product - np.eye(200)).max()) < 1e-6, len(text), objects))

        _core.start(128, int(sys.argv[1]), seed=1)
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({result[:3] for result in results}) == 1
        if sys.argv[1] == "0":
            names = [trace[2][0].name for trace in _core._get_traces() if trace[1] == sys.getsizeof(bytes(5000))]
            assert names == ["work"] * 40, names
        print(results[0][:3], _core._valid())
        """,
        str(rate),
    )
    total = sum(i * (i + 1) / 2 for i in range(200)) + sum(sum(range(min(i + 1, 10))) for i in range(200))
    assert out == "({}, True, 100) True\n".format(float(total))
