"""The launcher builds what the configuration names, as the host's own does, and says in one line what it cannot."""

import copy
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from nnabla_nas import contrib, dataset, runner
from nnabla_nas.optimizer import Optimizer

from nnabla_detofa.errors import HostError
from nnabla_detofa.host.repair import MissingModule
from nnabla_detofa.launch import run as launch_module
from nnabla_detofa.launch.run import launch

from .conftest import CONFIG, GONE


@pytest.fixture(autouse=True)
def ran(monkeypatch, tmp_path):
    """A toy network, runner and data set where the host looks; what the runner was built with."""
    ran = SimpleNamespace()
    monkeypatch.setattr(launch_module, "get_output_path", lambda: str(tmp_path))  # asks for a live Hydra job

    class SearchNet:
        def __init__(self, width, depth=1):
            self.size, self.drawn = (width, depth), np.random.random()  # noqa: NPY002

    class DataLoader:
        def __init__(self, searching, training, batch_size, root, communicator=None):
            self.got = (searching, training, batch_size, root, communicator.n_procs)

        def __len__(self):
            return 16

    class ToyRunner:
        def __init__(self, model, optimizer, regularizer, dataloader, hparams, args):
            vars(ran).update(model=model, optimizer=optimizer, dataloader=dataloader, hparams=hparams, args=args)
            ran.regularizer = regularizer

        def run(self):
            ran.done = True

    for package, name, members in (
        (contrib, "toy", {"SearchNet": SearchNet}),
        (dataset, "toydata", {"DataLoader": DataLoader}),
    ):
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setattr(package, name, module, raising=False)
    monkeypatch.setattr(contrib, "gone", MissingModule("gone"), raising=False)
    monkeypatch.setattr(runner, "ToyRunner", ToyRunner, raising=False)
    return ran


def test_everything_is_built_and_run(ran):
    before = copy.deepcopy(CONFIG)
    launch(CONFIG)
    assert before == CONFIG  # the caller's configuration is not written into
    assert ran.done
    assert ran.model.size == (5, 1)
    assert [ran.dataloader[part].got for part in ("train", "valid", "test")] == [
        (True, True, 4, "somewhere", 1),
        (True, False, 2, "somewhere", 1),
        (False, False, 2, "somewhere", 1),
    ]
    assert {name: type(each) for name, each in ran.optimizer.items()} == {"train": Optimizer, "plain": Optimizer}
    assert ran.optimizer["train"].get_learning_rate() == pytest.approx(0.1)
    assert ran.regularizer == {}
    assert ran.hparams == CONFIG["hparams"]
    assert (ran.args["comm"].n_procs, ran.args["comm"].rank) == (1, 0)
    ran.args["event"].default_stream_synchronize()


def test_a_runner_of_ours_says_what_it_does_not_read(ran, monkeypatch):
    said = []
    monkeypatch.setattr(runner.ToyRunner, "say", lambda _, line: said.append(line), raising=False)
    launch(CONFIG)
    assert ran.done
    assert said == [f"{key} has no effect: ToyRunner does not read it" for key in ("hparams.epoch", "optimizer.plain")]


def test_one_seed_one_network(ran, changed):
    launch(CONFIG)
    first = ran.model.drawn
    launch(CONFIG)
    assert ran.model.drawn == first
    launch(changed("hparams.seed", 4))
    assert ran.model.drawn != first


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("network", {"toi": {}}, "did you mean 'toy'?"),
        ("network.toy", {"width": 1, "dept": 2}, "network.toy.dept"),
        ("network.toy", {}, "network.toy.width"),
        ("args.search", False, "no TrainNet"),
        ("args.search", 1, "args.search"),
        ("args.algorithm", "ToyRuner", "did you mean 'ToyRunner'?"),
        ("args.context", "gpu", "args.context"),
        ("dataloader", {"toydat": {}}, "did you mean 'toydata'?"),
        ("dataloader.toydata", {"rot": 1}, "dataloader.toydata.rot"),
        ("optimizer.train.name", "Adm", "did you mean 'Adam'?"),
        ("optimizer", GONE, "optimizer"),
        ("hparams.batch_size_train", 6, "hparams.batch_size_train"),
        ("regularizer", {"Foo": {}}, "regularizer"),
        ("regularizer", {"MemoryEstimator": {"x": 1}}, "regularizer.MemoryEstimator.x"),
    ],
)
def test_wrong_configurations(ran, changed, refusal, key, value, said):
    error = refusal(launch, changed(key, value))
    assert error.key == said or said in str(error)
    assert not vars(ran)


def test_a_plan_of_a_runner_that_makes_none(refusal):
    assert "ToyRunner" in str(refusal(launch, CONFIG, plan=True))


def test_a_network_that_the_host_lacks(changed):
    with pytest.raises(HostError, match=r"gone\.SearchNet"):
        launch(changed("network", {"gone": {}}))


def test_its_former_place():
    from nnabla_detofa.host.launch import launch as former

    assert former is launch
