"""Where the time of the loader's threads goes: the parts add up to all of it."""

from pathlib import Path

import pytest

from experiments import loader_threads
from experiments.benchmarks.workloads.images import dataset

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux counts it")


def test_running_queueing_and_blocked_are_the_workers_time(tmp_path, monkeypatch):
    monkeypatch.setattr(loader_threads, "BATCHES", 2)
    found = loader_threads.compare(dataset(tmp_path, 8), 0)
    assert sorted(found) == [1, 2]
    for workers, turns in found.items():
        assert turns.shape == (1, 5)
        rate, without_queueing, running, queueing, blocked = turns[0]
        assert running >= 0 and queueing >= 0  # Linux counts a running thread late: two batches may show nothing
        assert running + queueing + blocked == pytest.approx(1e3 * workers / rate)
        assert (running + blocked) / workers == pytest.approx(1e3 / without_queueing)
