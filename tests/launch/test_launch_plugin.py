"""Registering is idempotent, complete, and takes nobody's name away."""

import pytest
from nnabla_nas import contrib, dataset, runner

import nnabla_detofa
from nnabla_detofa.errors import HostError
from nnabla_detofa.host.repair import MissingModule
from nnabla_detofa.launch import plugin


def registered() -> list[object]:
    return [
        vars(contrib)["ofa_resnet50_centernet"].SearchNet,
        vars(contrib)["ofa_resnet50_centernet"].TrainNet,
        vars(runner)["DetOFASearcher"],
        vars(dataset)["voc"].DataLoader,
        vars(dataset)["coco"].DataLoader,
    ]


def test_registering_twice_is_registering_once():
    nnabla_detofa.register()
    first = registered()
    nnabla_detofa.register()
    assert all(one is other for one, other in zip(first, registered(), strict=True))


def test_the_runner_is_one_of_the_hosts():
    nnabla_detofa.register()
    assert issubclass(runner.DetOFASearcher, runner.runner.Runner)


def test_a_name_of_someone_else_stays_theirs(monkeypatch):
    nnabla_detofa.register()
    monkeypatch.setattr(dataset, "coco", "theirs")
    monkeypatch.delattr(runner, "DetOFASearcher")
    with pytest.raises(
        HostError, match="nnabla_nas.dataset already has a 'coco' that is not ours: 'theirs'; another plugin"
    ):
        nnabla_detofa.register()
    assert dataset.coco == "theirs"
    assert not hasattr(runner, "DetOFASearcher")  # nothing is registered by halves


def test_a_stand_in_is_replaced(monkeypatch):
    ours = object()
    monkeypatch.setattr(contrib, "some_network", MissingModule("some_network"), raising=False)
    monkeypatch.setattr(plugin, "COMPONENTS", ((contrib, "some_network", ours),))
    plugin.register()
    assert contrib.some_network is ours
