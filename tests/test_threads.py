"""BLAS has one thread where ours are at work, and as many as before afterwards."""

import threading

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from nnabla_detofa.kernels.parallel import over
from nnabla_detofa.path_filter import PathFilter, TokenLayout, transformer
from nnabla_detofa.threads import one_blas_thread

BLAS = ThreadpoolController().select(user_api="blas").lib_controllers


def counts():
    return [one.num_threads for one in BLAS]


@pytest.fixture(autouse=True)
def several():
    """The counts where no environment variable says otherwise: 3, or 1 of a BLAS that is built without threads."""
    before = counts()
    for one in BLAS:
        one.set_num_threads(3)
    counted = counts()
    assert max(counted) == 3
    yield counted
    assert counts() == counted
    for one, n in zip(BLAS, before, strict=True):
        one.set_num_threads(n)


def test_scopes_nest_and_end_with_an_error():  # `several` sees the counts afterwards
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        with one_blas_thread():
            assert set(counts()) == {1}
        assert set(counts()) == {1}
        raise ZeroDivisionError


def test_the_last_to_leave_gives_back():
    inside, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=one_blas_thread()(lambda: (inside.set(), leave.wait())))
    with one_blas_thread():
        thread.start()
        inside.wait()
    assert set(counts()) == {1}
    leave.set()
    thread.join()


def test_kernels_and_scores_without_a_run(monkeypatch):
    seen, forward = [], transformer._Block.forward
    over(4, lambda _: seen.append(counts()), work=1 << 20)
    path_filter = PathFilter(TokenLayout(3, [0, 1], [0, 1]), 2, rng=np.random.default_rng(0), dim=8, hidden=8)
    monkeypatch.setattr(transformer._Block, "forward", lambda *args: seen.append(counts()) or forward(*args))
    path_filter.score(np.zeros((70, 2), int), np.zeros(70, int))
    assert len(seen) > 3
    assert all(set(one) == {1} for one in seen)
