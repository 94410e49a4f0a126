"""The failure drill: killed runs end as those that were left alone, and it would tell if they did not."""

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from experiments.reliability.run_digest import digest_of

REPOSITORY = Path(__file__).parents[2]
TINIEST = (
    "hparams.batch_size_train=16 hparams.mini_batch_train=8 hparams.finetune=1 path_filter.n_buckets=2"
    " path_filter.second_measurement=false path_filter.fit.epochs=2 search.generations=5"
)


def test_a_kill_of_each_kind():
    """At any moment, inside a stage, while something is written; `make drill` has many more of them."""
    command = [sys.executable, "-m", "experiments.reliability.drill", "--kills", "3", *TINIEST.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    *kills, last, _ = done.stdout.splitlines()[1:]
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(kills) == 3 and all(line.endswith(": identical") for line in kills)
    assert re.fullmatch(r"kills 3 \(\d inside a write; .*\), resumes 3, identical 3", last)


@pytest.fixture
def run(tmp_path):
    """A folder with a result of each kind."""
    checkpoints = [tmp_path / "checkpoint_warmup" / name for name in ("000000003", "000000012", ".000000013.writing")]
    for folder in (tmp_path, *checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
        with h5py.File(folder / "weights.h5", "w") as out:
            out["conv/W"] = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    (tmp_path / "pareto.csv").write_text("budget,ap\n1,0.5\n")
    (tmp_path / "summary.json").write_text('{"seconds": {"warmup": 3}, "pareto": [{"ap": 0.5, "seconds": 1}]}')
    (tmp_path / "log.txt").write_text("whatever")
    return tmp_path


def test_times_and_earlier_checkpoints_are_not_compared(run):
    before = digest_of(run)
    assert set(before) == {"weights.h5", "pareto.csv", "summary.json", "checkpoint_warmup/weights.h5"}
    (run / "summary.json").write_text('{"pareto": [{"seconds": 7, "ap": 0.5}], "seconds": {}}')
    (run / "checkpoint_warmup" / "000000003" / "weights.h5").write_bytes(b"")
    (run / "log.txt").write_text("else")
    assert digest_of(run) == before


@pytest.mark.parametrize("name", ["weights.h5", "pareto.csv", "summary.json", "checkpoint_warmup/weights.h5"])
def test_the_least_difference_is_seen(run, name):
    before, file = digest_of(run), run / name.replace("warmup", "warmup/000000012")
    if file.suffix == ".h5":
        with h5py.File(file, "a") as content:
            content["conv/W"][0, 0] = -0.0  # equal, but not the same
    else:
        file.write_text(file.read_text().replace("0.5", "0.50000000000000011"))
    assert dict(before.items() ^ digest_of(run).items()).keys() == {name}
