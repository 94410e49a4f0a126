"""A run that an experiment rebuilds from its folder is the run that was."""

import numpy as np
import pytest

from experiments.rebuilt_run import RebuiltRun
from nnabla_detofa.storage import PathTable
from nnabla_detofa.supernet import load_weights


@pytest.fixture
def run(finished):
    command, _ = finished
    return RebuiltRun(command.folder)


def test_costs_and_buckets_are_the_runs(run):
    measured = PathTable(run.folder / "paths_final.csv", run.network.space.family.gene_names).read()
    assert np.array_equal(run.cost(measured.paths), measured.flops)
    assert np.array_equal(run.budgets.bucket(measured.flops), measured.bucket)


def test_paths_are_measured_on_the_chosen_pictures(run, pictures):
    load_weights(run.network, run.folder / "weights.h5")
    train, test = (run.loader(8, training=training, root=pictures) for training in (True, False))
    assert (len(train.dataset), len(test.dataset)) == (60, 12)
    path = run.network.space.largest()
    losses = [
        run.measurer((train, range(8)), (test, numbers)).loss(path) for numbers in (range(6), range(6), range(6, 12))
    ]
    assert losses[0] == losses[1] != losses[2]
