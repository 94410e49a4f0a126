"""The order of paths after each epoch beside that at the end: what is kept of a run, measured and compared."""

import shutil

import numpy as np
import pytest

from experiments.warmup_ranks import COLUMNS, FIGURES, compared, keep, main, page
from nnabla_detofa.storage import NumberTable

BUCKETS, PATHS = 2, 6


def rows_of(run, epoch, losses):
    cost = np.arange(BUCKETS * PATHS)
    return [(run, epoch, path, losses[path], cost[path], path // PATHS) for path in range(len(losses))]


def test_figures_of_orders_that_are_known():
    last = np.random.default_rng(0).permutation(BUCKETS * PATHS).astype(float)
    ends = last + 100 * (np.arange(len(last)) // PATHS)
    among = -last + 100 * (np.arange(len(last)) // PATHS)  # turned round inside buckets, kept between them
    rows = [*rows_of(0, 3, last), *rows_of(0, 1, -last), *rows_of(0, 2, 2 * last + 5), *rows_of(1, 3, -last)]
    found = compared(np.random.default_rng(1).permutation(rows))
    assert sorted(found) == [1, 2, 3]
    assert len(found[3]) == 2 and len(found[1]) == 1
    assert found[1][0][:3] == [-1, -1, 0]
    assert found[2][0][:3] == found[3][0][:3] == found[3][1][:3] == [1, 1, 1]
    assert found[3][0][3] == -found[3][1][3]
    inside, over_all, *_ = compared(np.array(rows_of(0, 2, among) + rows_of(0, 3, ends)))[2][0]
    assert inside == -1 and -1 < over_all < 1
    assert len(page(np.array(rows))) == 2 + 3


@pytest.fixture
def trained(finished, tmp_path):
    """A run's folder as it is while it trains: without its last weights."""
    command, _ = finished
    folder = tmp_path / "run"
    shutil.copytree(command.folder, folder)
    return folder


def test_weights_of_the_epochs_outlive_their_checkpoints(trained):
    keep([trained])
    kept = sorted(one.name for one in (trained / "epochs").iterdir())
    assert kept == sorted(
        f"{int(one.parent.name):09d}-{one.parents[1].name}.h5" for one in trained.glob("checkpoint_*/*/weights.h5")
    )
    shutil.rmtree(trained / "checkpoint_warmup")
    keep([trained])
    assert sorted(one.name for one in (trained / "epochs").iterdir()) == kept


def test_a_run_is_measured_once(trained, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.warmup_ranks.IMAGES", {"bn": 8, "validation": 8})
    keep([trained])
    arguments = ["measure", str(trained), "--out", str(tmp_path / "ranks"), "--paths", "3", "--root", str(pictures)]
    main(arguments)
    first = (tmp_path / "ranks" / "losses.csv").read_text()
    rows = NumberTable(tmp_path / "ranks" / "losses.csv", COLUMNS).read()
    assert np.unique(rows[:, 1]).tolist() == [1, 2, 3]  # one of warm-up, two of fine-tuning
    assert len(rows) == 3 * len(np.unique(rows[:, 2]))
    said = capsys.readouterr().out
    assert FIGURES[0] in said and said.splitlines()[-1].split("|")[3].strip() == "1.00"  # the last epoch is itself
    monkeypatch.setattr("experiments.warmup_ranks.load_weights", None)
    main(arguments)
    assert (tmp_path / "ranks" / "losses.csv").read_text() == first
