"""Files that a run may start from: whose they are is found before anything is trained."""

import re
import shutil

import numpy as np
import pytest
from small_runs import changed

from nnabla_detofa.errors import WeightsError
from nnabla_detofa.filter_stages import new_path_filters
from nnabla_detofa.path_filter import PathFilter

PRETRAINED = "network.ofa_resnet50_centernet.pretrained"


def test_a_filter_file_saved_by_a_run_knows_its_space_and_buckets(finished, ready):
    file, family = finished[0].folder / "path_filter_final.h5", ready.space.family.to_dict()
    assert PathFilter.load(file, space={**family, "cost": "flops"})
    with pytest.raises(WeightsError, match="cost flops.* latency"):
        PathFilter.load(file, space={**family, "cost": "latency"})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["path_filter.n_buckets=4"], "{file} .* another design: n_buckets 5.* 4"),
        (
            ["++network.ofa_resnet50_centernet.space.expands=[0.2,0.5,0.6]"],
            "{file} .* another space: expands .*0.6",
        ),
        (["path_filter.pretrained=weights.h5"], "{start}/weights.h5 "),
        ([f"{PRETRAINED}=cut.h5"], "{start}/cut.h5 cannot be read"),
        ([f"{PRETRAINED}=filter.h5"], "{start}/filter.h5 holds the weights of another network"),
    ],
    ids=["buckets", "space", "weights", "cut off", "a filter"],
)
def test_files_of_another_space_or_network_are_found_before_training(command, finished, overrides, said):
    folder = finished[0].folder
    shutil.copy(folder / "weights.h5", command.start)
    shutil.copy(folder / "path_filter_final.h5", command.start / "filter.h5")
    (command.start / "cut.h5").write_bytes((folder / "weights.h5").read_bytes()[:-3000])
    refusal = command(f"path_filter.pretrained={folder / 'path_filter_final.h5'}", *overrides).refusal
    assert re.search(said.format(file=folder / "path_filter_final.h5", start=command.start), refusal)
    assert not (command.folder / "checkpoint_warmup").exists()


def test_a_fit_from_a_filter_goes_on_from_its_weights(ready, finished):
    file = finished[0].folder / "path_filter_final.h5"
    ready.options = changed(ready.options, "path_filter.pretrained", str(file))
    stored, started = PathFilter.load(file).weights, new_path_filters(ready).filters[0].weights
    assert all(np.array_equal(started[name], value) for name, value in stored.items())
