"""Statistics of evaluated paths: those of all processes, whole in a file of their own."""

import numpy as np
import pytest
from small_runs import arrays

from nnabla_detofa.errors import WeightsError
from nnabla_detofa.supernet import statistics_of
from nnabla_detofa.training.path_statistics import STATISTICS, Taken, read


@pytest.mark.parametrize("several", [False, True])
def test_what_was_taken_is_read_again(run, second_process, several):
    if several:
        second_process(0.0)
    paths, taken, wanted = run.space.sample(2, np.random.default_rng(0)), Taken(run), {}
    for number, path in enumerate(paths):
        for norm in run.model.batch_norms():
            norm.bn._mean.d = 0.5 + number
        taken.take(path)
        wanted[path.tobytes()] = statistics_of(run.model, path)
    taken.write(paths)
    found = read(run.folder / STATISTICS)
    assert list(found.arrays) == list(wanted)
    for path, own in wanted.items():
        assert found.arrays[path].keys() == own.keys()
        for name, value in own.items():
            np.testing.assert_array_equal(found.arrays[path][name], value)
    for path in paths:
        alone = found.detector(run.model, path, kernels="nnabla")
        assert alone.options.kernels == "nnabla"
        for name, value in wanted[path.tobytes()].items():
            np.testing.assert_array_equal(alone.get_parameters()[name].d, value)
    assert (found.about["classes"], found.about["category_ids"]) == (["0", "1", "7"], [1, 2, 3])
    assert (found.about["stride"], found.about["metric"]) == (4, "voc07")


def test_what_another_process_took_is_there_too(run, second_process):
    second_process(0.25)
    path = run.space.smallest()
    Taken(run).write(path[None])
    (own,) = read(run.folder / STATISTICS).arrays.values()
    assert all((value == 0.25).all() for value in own.values())


@pytest.mark.parametrize("several", [False, True])
def test_an_interrupted_evaluation_goes_on_behind_the_last_path_that_it_kept(run, second_process, several):
    if several:
        second_process(0.0)
    paths, figures = run.space.sample(3, np.random.default_rng(0)), np.random.default_rng(1).random((3, 4))
    whole, interrupted = Taken(run), Taken(run)
    for number, path in enumerate(paths):
        for norm in run.model.batch_norms():
            norm.bn._mean.d = 0.5 + number
        whole.take(path)
        if number < 2:
            interrupted.take(path)
            interrupted.keep(path[None], figures[number : number + 1])
    assert Taken(run).go_on(paths[1:]) == []  # other paths are another evaluation
    again = Taken(run)
    np.testing.assert_array_equal(again.go_on(paths), figures[:2])
    again.take(paths[2])
    again.keep(paths[2:], figures[2:])
    again.write(paths)
    there = arrays(run.folder / STATISTICS)
    whole.write(paths)
    wanted = arrays(run.folder / STATISTICS)
    assert there.keys() == wanted.keys()
    assert all(there[name].tobytes() == value.tobytes() for name, value in wanted.items())
    assert Taken(run).go_on(paths) == []  # it is done


@pytest.mark.parametrize("content", [b"", b"none"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / STATISTICS).write_bytes(content)
    with pytest.raises(WeightsError, match=STATISTICS):
        read(tmp_path / STATISTICS)
