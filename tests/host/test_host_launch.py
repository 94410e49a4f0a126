"""The launcher builds what the configuration names, as the host's own does, and says in one line what it cannot."""

import copy
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from nnabla_nas import contrib, dataset, runner
from nnabla_nas.optimizer import Optimizer

from nnabla_detofa.errors import ConfigError, HostError
from nnabla_detofa.host import launch as launch_module
from nnabla_detofa.host.launch import launch
from nnabla_detofa.host.repair import MissingModule

CONFIG = {
    "args": {"context": "cpu", "search": True, "algorithm": "ToyRunner", "output_path": "."},
    "hparams": {
        "seed": 3,
        "epoch": 2,
        "batch_size_train": 8,
        "mini_batch_train": 4,
        "batch_size_valid": 8,
        "mini_batch_valid": 2,
    },
    "network": {"toy": {"width": 5}},
    "dataloader": {"toydata": {"root": "somewhere"}},
    "optimizer": {
        "train": {"name": "Adam", "alpha": 0.1, "lr_scheduler": "CosineScheduler"},
        "plain": {"lr_scheduler": None},
    },
}


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


def changed(**at: object) -> dict:
    """CONFIG with values replaced; `args__search` stands for args.search, None removes."""
    config = copy.deepcopy(CONFIG)
    for path, value in at.items():
        *groups, key = path.split("__")
        place = config
        for group in groups:
            place = place[group]
        if value is None:
            del place[key]
        else:
            place[key] = value
    return config


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


def test_one_seed_one_network(ran):
    launch(CONFIG)
    first = ran.model.drawn
    launch(CONFIG)
    assert ran.model.drawn == first
    launch(changed(hparams__seed=4))
    assert ran.model.drawn != first


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (changed(network={"toi": {}}), r"unknown network 'toi'; known: darts, .*, toy, zoph \(did you mean 'toy'\?\)"),
        (
            changed(network__toy={"width": 1, "dept": 2}),
            r"unknown key in network.toy: 'dept'; known: depth, width \(did",
        ),
        (changed(network__toy={}), "network.toy lacks width"),
        (changed(args__search=False), "network.toy has no TrainNet; args.search is False, try the other"),
        (changed(args__search=None), "the configuration lacks args.search"),
        (changed(args__algorithm="ToyRuner"), r"unknown args.algorithm 'ToyRuner'; known: Darts.*mean 'ToyRunner'"),
        (changed(args__context="gpu"), "unknown args.context 'gpu'; known: auto, cpu, cudnn"),
        (changed(dataloader={"toydat": {}}), r"unknown dataloader 'toydat'; known: .*, toydata, voc \(did you mean"),
        (changed(dataloader__toydata={"rot": 1}), "unknown key in dataloader.toydata: 'rot'; known: root"),
        (changed(optimizer__train__name="Adm"), "unknown optimizer.train.name 'Adm'; known: AMSBound"),
        (
            changed(hparams__batch_size_train=6),
            "hparams.batch_size_train is 6; it must be a multiple of hparams.mini_b",
        ),
        (changed(hparams__seed="abc"), r"hparams.seed is 'abc'; it must be a whole number in \[0, 2\^32\)"),
        (changed(hparams__seed=-1), "hparams.seed is -1; it must be a whole number"),
        (changed(hparams=None), "the configuration lacks hparams"),
        (changed(optimizer=None), "the configuration lacks optimizer"),
        (changed(args__output_path=None), "the configuration lacks args.output_path"),
        ({**CONFIG, "name": ".."}, "name is '..'; it must be a folder's name"),
        (changed(args__output_path=3), "args.output_path is 3; it must name a folder"),
        (changed(args__search=1), "args.search is 1; it must be true or false"),
        (changed(hparams__identity=3), "the configuration lacks hparams.identity.network"),
        (changed(regularizer=3), "regularizer is 3; it must hold keys and their values"),
        (
            changed(regularizer={"Foo": {}}),
            "unknown regularizer 'Foo'; known: LatencyEstimator, Lat.*, MemoryEstimator",
        ),
        (changed(regularizer={"MemoryEstimator": 3}), "regularizer.MemoryEstimator is 3; it must hold keys and their"),
        (
            changed(regularizer={"MemoryEstimator": {"x": 1}}),
            "unknown key in regularizer.MemoryEstimator: 'x'; known: ",
        ),
        (
            changed(hparam={}),
            r"unknown key in the configuration: 'hparam'; known: args, .* \(did you mean 'hparams'\?\)",
        ),
    ],
)
def test_wrong_configurations(ran, config, said):
    with pytest.raises(ConfigError, match=said):
        launch(config)
    assert not vars(ran)


def test_a_network_that_the_host_lacks():
    with pytest.raises(HostError, match="gone.SearchNet is not available: the installed nnabla-nas lacks that module"):
        launch(changed(network={"gone": {}}))
