"""BLAS has one thread where ours are at work, and as many as before afterwards."""

import threading

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from nnabla_detofa.path_filter import PathFilter, TokenLayout, scoring
from nnabla_detofa.supernet.parallel import over
from nnabla_detofa.threads import one_blas_thread

BLAS = ThreadpoolController().select(user_api="blas").lib_controllers


def counts():
    """Threads of each BLAS that can have several."""
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


def test_scopes_nest(several):
    with one_blas_thread():
        assert set(counts()) == {1}
        with one_blas_thread():
            assert set(counts()) == {1}
        assert set(counts()) == {1}
    assert counts() == several


def test_the_last_to_leave_gives_back(several):
    inside, leave = threading.Event(), threading.Event()

    @one_blas_thread()
    def other():
        inside.set()
        leave.wait()

    thread = threading.Thread(target=other)
    with one_blas_thread():
        thread.start()
        inside.wait()
    assert set(counts()) == {1}
    leave.set()
    thread.join()
    assert counts() == several


def test_an_error_gives_back(several):
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert counts() == several


def test_kernels_and_scores_without_a_run(monkeypatch):
    seen = []
    over(4, lambda _: seen.append(counts()), work=1 << 20)
    layout = TokenLayout(vocabulary=3, layer=[0, 1], block=[0, 1])
    path_filter = PathFilter(layout, 2, rng=np.random.default_rng(0), dim=8, heads=2, layers=1, hidden=8)
    block = scoring.Scorer._block
    monkeypatch.setattr(scoring.Scorer, "_block", lambda *args: seen.append(counts()) or block(*args))
    path_filter.score(np.zeros((70, 2), int), np.zeros(70, int))
    assert len(seen) > 3
    assert all(set(one) == {1} for one in seen)
