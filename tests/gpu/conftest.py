"""Fixtures of small runs; the host is repaired before a test imports it."""

import pytest
from small_runs import *  # noqa: F403


@pytest.fixture
def run(ready, tmp_path):
    """A run in a folder of its own, with nothing done; what a test changes of it is as before afterwards."""
    parts = (ready.trainer, ready.step, ready.step._optimizer, ready.processes, ready.session, ready.folder)
    before = [(part, dict(vars(part))) for part in parts]
    weights = {name: p.d.copy() for name, p in ready.model.get_parameters().items()}
    ready.folder.path = tmp_path
    yield ready
    for part, attributes in before:
        vars(part).clear()
        vars(part).update(attributes)
    for name, parameter in ready.model.get_parameters().items():
        parameter.d = weights[name]
    ready.step.loader.seek(0)
