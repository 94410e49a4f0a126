"""Statistics of evaluated paths: those of all processes, whole in a file of their own."""

import numpy as np
import pytest

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
    for path, arrays in wanted.items():
        assert found.arrays[path].keys() == arrays.keys()
        for name, value in arrays.items():
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
    (arrays,) = read(run.folder / STATISTICS).arrays.values()
    assert all((value == 0.25).all() for value in arrays.values())


@pytest.mark.parametrize("content", [b"", b"none"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / STATISTICS).write_bytes(content)
    with pytest.raises(WeightsError, match=STATISTICS):
        read(tmp_path / STATISTICS)
