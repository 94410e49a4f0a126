"""Processes on a CPU: sums, means, what is marked as zero; what keeps them from talking, and what has to be equal."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import ModuleType, SimpleNamespace

import nnabla as nn
import numpy as np
import pytest
from nnabla.ext_utils import get_extension_context

from nnabla_detofa.errors import ConfigError, HostError
from nnabla_detofa.host import communicator as communicators
from nnabla_detofa.host.communicator import MpiCommunicator, open_communicator, require_same
from nnabla_detofa.processes import RANKS, SIZES
from nnabla_detofa.training.session import Processes

CPU = get_extension_context("cpu")


class Group:
    """Threads in the place of processes, with the calls of a communicator of mpi4py that ours makes."""

    def __init__(self, n):
        self.size, self.own, self._met = n, [None] * n, Barrier(n, timeout=20)

    def of(self, rank):
        def reduce(_, values, how):
            self.own[rank] = values.copy()
            self._met.wait()
            values[...] = how(self.own, axis=0)
            self._met.wait()

        def later(*given):
            reduce(*given)
            return SimpleNamespace(Test=lambda: True)

        barrier = lambda: SimpleNamespace(Test=iter([False, False, True]).__next__, met=self._met.wait())  # noqa: E731
        return SimpleNamespace(size=self.size, rank=rank, Allreduce=reduce, Iallreduce=later, Ibarrier=barrier)


@pytest.fixture
def each(monkeypatch):
    """Calls a function with the communicator of each of n processes at the same time; what each returned or raised."""
    module = ModuleType("mpi4py")
    module.MPI = SimpleNamespace(IN_PLACE=None, SUM=np.sum, LAND=np.all)
    monkeypatch.setitem(sys.modules, "mpi4py", module)

    def call(n, function):
        group = Group(n)
        with ThreadPoolExecutor(n) as pool:
            futures = [pool.submit(function, MpiCommunicator(CPU, group.of(rank))) for rank in range(n)]
            return [future.exception() or future.result() for future in futures]

    return call


def of(values):
    return nn.NdArray.from_numpy_array(np.asarray(values, np.float32))


@pytest.mark.parametrize("parcel", [1, 3, 1 << 20])
@pytest.mark.parametrize("division", [False, True])
def test_arrays_become_their_sums_or_means(each, monkeypatch, division, parcel):
    monkeypatch.setattr(communicators, "PARCEL", parcel)

    def reduce(one):
        arrays = [of([[1, 2], [3, one.rank]]), of(one.rank), of([0.5])]
        one.all_reduce(arrays, division=division, inplace=False)
        return [array.data.tolist() for array in arrays]

    by = 3 if division else 1
    expected = [[[3 / by, 6 / by], [9 / by, 3 / by]], 3 / by, [1.5 / by]]
    assert each(3, reduce) == [expected] * 3


def test_what_is_zero_on_all_stays_marked(each):
    def reduce(one):
        nowhere, here = nn.NdArray((2,)), nn.NdArray((2,))
        for array in (nowhere, here):
            array.zero()
        if one.rank == 1:
            here.data = 1
        one.all_reduce([nowhere, here], division=False, inplace=False)
        return nowhere.zeroing, here.zeroing, here.data.tolist()

    assert each(2, reduce) == [(True, False, [1, 1])] * 2


def test_half_precision_is_added_up_in_single(each):
    def reduce(one):
        array = nn.NdArray((1,))
        array.cast(np.float16)[...] = 40000  # twice that is more than half precision holds
        one.all_reduce([array], division=True, inplace=False)
        return array.data.tolist()

    # entered once for all threads: nnabla's context is one for all, and theirs would be put back in any order
    with nn.context_scope(get_extension_context("cpu", type_config="half")):
        assert each(2, reduce) == [[40000]] * 2


def test_all_meet(each):
    assert each(3, lambda one: one.barrier()) == [None] * 3


@pytest.fixture
def two_started(monkeypatch):
    """A launcher's variables for two processes, by the launcher's number."""

    def start(number=0):
        for name in (*SIZES, *RANKS):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(SIZES[number], "2")

    return start


def test_processes_that_mpi_connects(two_started, monkeypatch):
    two_started()
    group = SimpleNamespace(size=2, rank=1)
    monkeypatch.setattr(communicators, "world", lambda: group)
    opened = open_communicator(CPU)
    assert (type(opened), opened.n_procs, opened.rank, opened.comm) == (MpiCommunicator, 2, 1, opened)


@pytest.mark.parametrize(
    ("number", "size", "said"),
    [(0, 1, "of another MPI than mpi4py's"), (3, 1, "srun --mpi=pmix -n 2"), (0, None, r"nnabla-detofa\[mpi\]")],
)
def test_processes_that_cannot_talk(two_started, monkeypatch, number, size, said):
    def world():
        if size is None:
            raise ImportError("no mpi4py")
        return SimpleNamespace(size=size, rank=0)

    two_started(number)
    monkeypatch.setattr(communicators, "world", world)
    with pytest.raises(HostError, match=said):
        open_communicator(CPU)


def test_gpus_need_a_communicator_of_nnabla(two_started, monkeypatch):
    two_started()
    monkeypatch.setattr(communicators, "CommunicatorWrapper", lambda _: SimpleNamespace(n_procs=1, rank=0))
    with pytest.raises(HostError, match="no communicator on 'cudnn:float'"):
        open_communicator(nn.Context(["cudnn:float"]))


@pytest.mark.parametrize(
    ("values", "others"), [("aaa", None), ("aba", "process 1 has"), ("abc", "processes 1, 2 have"), ("a", None)]
)
def test_what_has_to_be_the_same_is_or_all_know_who_differs(each, values, others):
    def ask(one):
        require_same(one, "letters", values[one.rank], "write the same", ConfigError)

    found = each(len(values), ask)
    if others is None:
        assert found == [None] * len(values)
    else:
        assert {type(one) for one in found} == {ConfigError}
        assert {str(one) for one in found} == {f"{others} other letters than process 0: write the same"}


def test_a_path_that_another_process_rounded_to_is_told(each):
    def ask(one):
        Processes(one).require_same("genes at step 3", np.full((2, 2), values[one.rank], np.int8))

    values = [7, 7, 7]
    assert each(3, ask) == [None] * 3
    values = [7, 8, 7]
    said = "process 1 has other genes at step 3 than process 0"
    assert all(isinstance(one, HostError) and str(one).startswith(said) for one in each(3, ask))
