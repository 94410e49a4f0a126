"""A run that starts from another run's weights and path filter."""

import shutil

import h5py
import numpy as np
import pytest

from nnabla_detofa.errors import WeightsError
from nnabla_detofa.path_filter import PathFilter

PRETRAINED = "network.ofa_resnet50_centernet.pretrained"


def files(folder):
    return [f"{PRETRAINED}={folder / 'weights.h5'}", f"path_filter.pretrained={folder / 'path_filter_final.h5'}"]


@pytest.fixture(scope="module")
def started(tmp_path_factory, pictures, finished):
    """A command started from the finished run, and its answer; not to be run again with other inputs."""
    command = type(finished[0])(tmp_path_factory.mktemp("started"), pictures)
    source = command.start / "source"
    source.mkdir()
    for name in ("weights.h5", "path_filter_final.h5"):
        shutil.copy(finished[0].folder / name, source)
    return command, command(*files(source)), source


def test_it_says_what_it_starts_from(started):
    _, answer, source = started
    assert answer.code == 0
    (line,) = [line for line in answer.out if "pretrained: " in line]
    assert f"{source}/weights.h5: loaded input_stem, blocks, neck, heads (" in line
    assert line.endswith("; new: nothing; left out: nothing")
    for name in ("path_filter_warmup", "path_filter_final"):
        assert any(line.endswith(f"{name}: starting from {source}/path_filter_final.h5") for line in answer.out)


def test_the_start_is_another_one_than_a_fresh_runs(started, finished):
    curves = [command.results()["paths_warmup.csv"] for command in (started[0], finished[0])]
    assert curves[0] != curves[1]


def test_a_copy_of_the_files_is_the_same_start_and_other_content_is_not(started):
    command, _, source = started
    shutil.copytree(source, command.start / "copy")
    before, answer = command.results(), command(*files(command.start / "copy"))
    assert answer.code == 0 and command.results() == before
    assert sum(line.endswith(": kept, its inputs are unchanged") for line in answer.out) >= 10
    with h5py.File(command.start / "copy" / "weights.h5", "a") as stored:
        stored["heads/size/output/conv/_b"][0] += 1
    answer = command(*files(command.start / "copy"))
    assert (answer.code, command.results()) == (2, before)
    assert "belongs to another configuration: network.ofa_resnet50_centernet.pretrained was '" in answer.err[0]


def test_a_filter_file_saved_by_a_run_knows_its_space_and_buckets(finished):
    file = finished[0].folder / "path_filter_final.h5"
    structure = finished[0].json("pruned_space.json")["structure"]
    assert PathFilter.load(file, space={**structure, "cost": "flops"})
    with pytest.raises(WeightsError, match="of another space: cost flops, where latency is wanted"):
        PathFilter.load(file, space={**structure, "cost": "latency"})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["path_filter.n_buckets=4"], "{file} holds a path filter of another design: n_buckets 5, where 4 is wanted"),
        (["path_filter.network.dim=16"], "{file} holds a path filter of another design: dim 8, where 16 is wanted"),
        (
            ["+network.ofa_resnet50_centernet.space.expands=[0.2,0.5,0.6]"],
            "{file} holds a path filter of another space: expands [0.2, 0.25, 0.35], where [0.2, 0.5, 0.6] is wanted",
        ),
        (["path_filter.pretrained=none.h5"], "there is no path filter at {start}/none.h5"),
        (["path_filter.pretrained=weights.h5"], "{start}/weights.h5 is damaged or no path filter ("),
        (["path_filter.pretrained=3"], "path_filter.pretrained is 3; it must name a file, or be null"),
        ([f"{PRETRAINED}=3"], "pretrained is 3; it must name a file, or be null"),
        ([f"{PRETRAINED}=cut.h5"], "weights file {start}/cut.h5 cannot be read: "),
        ([f"{PRETRAINED}=filter.h5"], "{start}/filter.h5 holds the weights of another network: it has "),
    ],
    ids=["buckets", "size", "space", "missing", "weights", "number", "a number", "cut off", "a filter"],
)
def test_files_of_another_space_or_network_are_found_before_training(command, finished, overrides, said):
    folder = finished[0].folder
    shutil.copy(folder / "weights.h5", command.start)
    shutil.copy(folder / "path_filter_final.h5", command.start / "filter.h5")
    (command.start / "cut.h5").write_bytes((folder / "weights.h5").read_bytes()[:-3000])
    code, _, err = command(f"path_filter.pretrained={folder / 'path_filter_final.h5'}", *overrides)
    assert (code, len(err)) == (2, 1)
    expected = said.format(file=folder / "path_filter_final.h5", start=command.start)
    assert err[0].removeprefix("nnabla_detofa: ").startswith(expected)
    assert not (command.folder / "checkpoint_warmup").exists()


def test_a_fit_from_a_filter_goes_on_from_its_weights(ready, finished, monkeypatch):
    file = finished[0].folder / "path_filter_final.h5"
    monkeypatch.setitem(ready.hparams["path_filter"], "pretrained", str(file))
    stored, started = PathFilter.load(file).weights, ready.new_path_filter().weights
    assert all(np.array_equal(started[name], value) for name, value in stored.items())
