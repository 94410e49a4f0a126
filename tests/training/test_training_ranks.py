"""Several processes: what one of them meets, all of them know; their number changes no figure."""

import numpy as np
import pytest

from nnabla_detofa.detection import Detections
from nnabla_detofa.errors import NumericError
from nnabla_detofa.signals import Stopped
from nnabla_detofa.training.measured_stages import assessed, figures, fill, path_table, shared
from nnabla_detofa.training.step import NotFiniteError

BIAS = "heads/size/output/conv/_b"


def test_a_training_loss_that_another_process_lost_stops_this_one_too(run, second_process):
    second_process(np.nan)
    before = {name: p.d.copy() for name, p in run.model.get_parameters(grad_only=True).items()}
    with pytest.raises(NotFiniteError, match="the training loss is nan") as caught:
        run.step(run.space.largest())
    assert not caught.value.lost.any()
    for name, values in before.items():
        np.testing.assert_array_equal(run.model.get_parameters()[name].d, values, err_msg=name)
    run.trainer._path = run.space.largest()
    with pytest.raises(NumericError, match="on images of another process"):
        run.trainer._diverged("lost", caught.value.lost)


def test_a_validation_loss_that_another_process_lost_stops_this_one_too(run, second_process):
    second_process(np.nan)
    path = run.space.largest()[None]
    with pytest.raises(NumericError, match=r"validation loss of path .* is nan"):
        fill(run, path_table(run, "lost"), "lost", path, lambda _: 1.0)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_paths_are_shared_by_the_processes_and_a_table_goes_on(run, second_process, n):
    """The other process gives 0.5 for its own path, every second one."""
    second_process(0.5)
    run.session.pause = lambda: None  # the other does not wish to stop
    paths, mine = run.space.sample(3, np.random.default_rng(0)), []

    def value(path):
        mine.append(path.tolist())
        return 0.25

    table = path_table(run, "some")
    found = fill(run, table, "some", paths, value)
    assert mine == [paths[0].tolist(), paths[2].tolist()]
    np.testing.assert_array_equal(found.loss, [0.75, 0.5, 0.75])
    for column, again in zip(found[:4], table.read(), strict=False):
        np.testing.assert_array_equal(column, again)
    table.start(found.at(slice(n)))
    mine.clear()
    np.testing.assert_array_equal(fill(run, table, "some", paths, value).loss[:n], found.loss[:n])
    assert len(mine) == (3 - n + 1) // 2
    fill(run, table, "some", paths[::-1], value)  # a table of other paths is begun anew
    np.testing.assert_array_equal(table.read().paths, paths[::-1])


def test_a_path_may_have_several_values(run, second_process):
    second_process(0.5)
    run.session.pause = lambda: None
    paths = run.space.sample(3, np.random.default_rng(0))
    found = dict(enumerate(shared(run, "some", paths, lambda path: np.array([path.sum(), 1 / 3]), shape=(2,))))
    assert [(some.start, some.stop) for some, _ in found.values()] == [(0, 2), (2, 3)]
    (first, second), (last,) = (values for _, values in found.values())
    third = np.float32(1 / 3) + np.float32(0.5)
    np.testing.assert_array_equal([first, last], [[paths[i].sum() + 0.5, third] for i in (0, 2)])
    np.testing.assert_array_equal(second, [0.5, 0.5])


@pytest.mark.parametrize("processes", [1, 2])
def test_what_tells_how_certain_a_figure_is_leaves_it_as_it_was(run, second_process, monkeypatch, processes):
    """Every second object is found: 0.5 in single precision, whatever goes over the processes with it."""
    if processes == 2:
        second_process(0.0)
    truth = run.data["test"].dataset.ground_truth()
    found = Detections(*(column[::2] for column in (*truth[:3], np.linspace(1, 0.5, len(truth.label)))))
    monkeypatch.setattr(type(run.model.task), "answers", lambda *_: found)
    path = run.space.largest()[None]
    theirs, ours = figures(run, "some", path), assessed(run, "some", path)
    assert 0 < theirs[0] < 1 and theirs == ours.figure == np.float32(theirs)
    assert np.nanmean(ours.per_class[0]) == pytest.approx(theirs[0], abs=1e-6)
    assert ours.resampled.shape == (1, 1000) and np.unique(ours.resampled).size > 10
    np.testing.assert_array_equal(assessed(run, "some", path).resampled, ours.resampled)


def test_sums_are_the_same_for_one_process_and_two(run, second_process):
    values = np.random.default_rng(0).random(20)
    alone = run.processes.sum(values)
    assert alone.dtype == values.dtype
    np.testing.assert_allclose(alone, values, rtol=1e-6)
    np.testing.assert_array_equal(second_process(0.0).processes.sum(values), alone)


def test_no_sum_is_a_negative_zero(run, second_process):
    """Which is another number to the bit, and one process adds nothing to it."""
    for processes in (run.processes, second_process(0.0).processes):
        assert not np.signbit(processes.sum(np.array([-0.0]))[0])


def test_losses_of_a_step_are_those_of_all_processes(run, second_process):
    """The other process has 0.5 for each."""
    path = run.space.largest()
    before = {name: p.d.copy() for name, p in run.model.get_parameters().items()}
    alone = run.step(path)
    for name, p in run.model.get_parameters().items():
        p.d = before[name]
    run.step.loader.seek(0)
    both = second_process(0.5).step(path)
    assert {"loss"} < set(alone)
    assert both == {name: pytest.approx((value + 0.5) / 2, rel=1e-6) for name, value in alone.items()}


def test_a_session_ends_when_all_have_come_there(run, second_process, monkeypatch):
    met = []
    second_process(1.0)
    monkeypatch.setattr(run.processes._comm.comm, "barrier", lambda: met.append(True))
    with pytest.raises(Stopped):
        run.session.end()
    assert met == [True]


def test_a_wish_to_stop_reaches_all_processes(run, second_process):
    second_process(1.0)
    assert run.processes.any(False, False) == [True, True]
    with pytest.raises(KeyboardInterrupt):
        run.session.pause()
    second_process(0.0)
    assert run.processes.any(False, True) == [False, True]
    run.session.pause()
    run.processes.n = 1
    assert run.processes.any(True, False) == [True, False]


@pytest.mark.parametrize(("rank", "adds", "known"), [(0, 0, [True, False]), (1, 0, [False] * 2), (1, 1, [True] * 2)])
def test_the_first_process_decides_alone(run, second_process, rank, adds, known):
    second_process(adds)
    run.processes.rank = rank
    assert [run.processes.of_first(wish) for wish in (True, False)] == known


@pytest.mark.parametrize(("adds", "lost", "said"), [(1.0, 0.0, "another process"), (0.0, np.inf, BIAS)])
def test_a_parameter_that_a_process_lost_stops_all(run, second_process, adds, lost, said):
    second_process(adds)
    run.model.get_parameters()[BIAS].d = lost
    with pytest.raises(NumericError, match=f"{said} is not finite after step 0"):
        run.trainer._save()
