"""Fixtures of the launcher's tests; the host is repaired before one of them imports it."""

import copy

import pytest

import nnabla_detofa.host  # noqa: F401
from nnabla_detofa.errors import ConfigError

CONFIG = {
    "args": {"context": "cpu", "search": True, "algorithm": "ToyRunner", "output_path": "."},
    "hparams": {
        **{"seed": 3, "epoch": 2},
        **{"batch_size_train": 8, "mini_batch_train": 4, "batch_size_valid": 8, "mini_batch_valid": 2},
    },
    "network": {"toy": {"width": 5}},
    "dataloader": {"toydata": {"root": "somewhere"}},
    "optimizer": {
        "train": {"name": "Adam", "alpha": 0.1, "lr_scheduler": "CosineScheduler"},
        "plain": {"lr_scheduler": None},
    },
}
GONE = object()


@pytest.fixture
def changed():
    """A configuration with the value at a dotted key replaced, or `GONE`."""

    def change(key="name", value="trial"):
        config = copy.deepcopy(CONFIG)
        *groups, last = key.split(".")
        at = config
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = value
        if value is GONE:
            del at[last]
        return config

    return change


@pytest.fixture
def refusal():
    """The ConfigError of a call."""

    def of(call, *args, **kwargs):
        with pytest.raises(ConfigError) as caught:
            call(*args, **kwargs)
        return caught.value

    return of
