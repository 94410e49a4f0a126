"""Every shipped configuration and every option of every group composes; the paper's setting is what the paper says."""

import sys

import pytest
import yaml

from nnabla_detofa.launch import cli
from nnabla_detofa.launch.config_check import Config
from nnabla_detofa.space import SearchSpace

GROUPS = Config.model_fields.keys() - {"name", "regularizer", "detector"}
DETECTION = {"pruning", "search"}  # groups of runs that prune and search
PARTS = ("ratios",)  # folders whose files are taken in by those of a group
OPTIONS = [
    f"{file.parent.name}={file.stem}" for file in sorted(cli.SHIPPED.glob("*/*.yaml")) if file.parent.name not in PARTS
]


@pytest.fixture
def composed(monkeypatch, capfd):
    """A function that composes as `--cfg job --resolve` prints it."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["nnabla_detofa"])

    def compose(*arguments: str) -> dict:
        assert cli.main(["-c", *arguments, "--cfg", "job", "--resolve"]) == cli.DONE
        return yaml.safe_load(capfd.readouterr().out)

    return compose


@pytest.mark.parametrize("name", cli.shipped_configs())
def test_shipped_configurations_compose(composed, name):
    config = composed(name)
    assert config["name"] == name.removesuffix(".yaml")
    assert GROUPS - (set() if config["args"]["algorithm"] == "DetOFASearcher" else DETECTION) <= set(config)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes(composed, option):
    assert option.partition("=")[0] in {*GROUPS, "method"}
    composed("detofa_demo", option)


@pytest.mark.parametrize("strategy", ["none", "flops", "flops_score_per_bucket", "flops_score_all"])
def test_the_runner_gets_the_strategy_under_hparams(composed, strategy):
    config = composed("detofa_voc", f"pruning={strategy}", "pruning.path_ratio=0.4")
    assert config["hparams"]["pruning"] == config["pruning"]
    assert (config["pruning"]["strategy"], config["pruning"]["path_ratio"]) == (strategy, 0.4)


def test_a_network_brings_its_own_space(composed):
    for network in ("ofa_mbv3_centernet", "ofa_mbv3_centernet_small"):
        config = composed("detofa_voc", f"network={network}")
        assert config["space"]["name"] == config["network"]["ofa_mbv3_centernet"]["space"]["name"] == "ofa_mbv3"
        assert config["hparams"]["identity"]["network"] == config["network"]
    asked = composed("detofa_voc", "network=ofa_mbv3_centernet", "method=compofa")  # which no such network has
    assert asked["network"]["ofa_mbv3_centernet"]["space"]["name"] == "comp_ofa"
    pretrained = composed("imagenet_pretrain", "network=ofa_mbv3_classifier", "hparams=ofa_mbv3_pretrain")
    space = SearchSpace.ofa_mbv3()
    opened = [{name: phase[name] for name in space.family.choices if name in phase}
              for phase in pretrained["hparams"]["phases"].values()]  # fmt: skip
    sizes = [space.only(**choices).size() for choices in opened]
    assert sizes == [1, 3**20, 3 ** (5 * 3) * (1 + 3) ** 5, *sizes[3:5], space.size()] and sizes == sorted(sizes)


METHODS = {
    "ofa": {},
    "ofa_ps": {
        "hparams.phases": {
            "depth": {"widths": [1.0], "expands": [0.35]},
            "expand": {"widths": [1.0]},
            "width": {},
        },
    },
    "compofa": {"space.name": "comp_ofa", "network.ofa_resnet50_centernet.space.name": "comp_ofa"},
    "fullnet": {"sampler.name": "fullnet"},
}
UNPRUNED = {"pruning.strategy": "none", "pruning.path_ratio": 0.0}


REPEATED = ("pruning", "path_filter", "search", "sampler", "cost", "identity")


def leaves(config: dict, prefix: str = "", repeated=REPEATED) -> dict:
    """{dotted key: value}, phases being a value, without the groups that `hparams` repeats."""
    found = {}
    for key, value in config.items():
        if isinstance(value, dict) and key != "phases":
            found |= leaves(value, f"{prefix}{key}.", repeated)
        else:
            found[f"{prefix}{key}"] = value
    return {
        key: value for key, value in found.items() if not key.startswith(tuple(f"hparams.{one}" for one in repeated))
    }


@pytest.mark.parametrize("data", ["voc", "coco"])
@pytest.mark.parametrize("method", METHODS)
def test_a_baseline_differs_from_detofa_by_its_method_alone(composed, method, data):
    ours, theirs = (leaves(composed(f"{name}_{data}")) for name in (method, "detofa"))
    differing = {key: value for key, value in ours.items() if theirs.get(key) != value}
    assert differing == {"name": f"{method}_{data}", **UNPRUNED, **METHODS[method]}
    assert ours.keys() == theirs.keys()
    demo = leaves(composed("detofa_demo", f"method={method}"))
    assert all(demo[key] == value for key, value in {**UNPRUNED, **METHODS[method]}.items())


@pytest.mark.parametrize(("name", "rate"), [("detofa_voc", 1.25e-4), ("detofa_coco", 5e-4), ("detofa_demo", 3e-3)])
def test_the_rate_is_centernets_at_each_batch(composed, name, rate):
    config = composed(name)
    batch, per_batch = config["hparams"]["batch_size_train"], config["hparams"]["schedule"]["per_batch"]
    assert config["optimizer"]["train"]["alpha"] * batch / per_batch == pytest.approx(rate)


@pytest.mark.parametrize(("name", "warmup", "finetune"), [("detofa_voc", 5, 65), ("detofa_coco", 10, 60)])
def test_the_papers_setting(composed, name, warmup, finetune):
    hparams = leaves(composed(name)["hparams"], repeated=())
    expected = {
        **{"warmup": warmup, "finetune": finetune},
        **{"path_filter.paths_per_bucket": 100, "path_filter.n_buckets": 5},
        **{"pruning.strategy": "flops_score_all", "pruning.path_ratio": 0.25},
        **{"pruning.operation_ratio_all": 0.1, "pruning.operation_ratio_per_bucket": 0.3},
        **{"search.generations": 500, "search.population": 100},
        **{"search.parent_ratio": 0.25, "search.mutation_probability": 0.1},
    }
    assert {key: hparams[key] for key in expected} == expected


@pytest.mark.parametrize("name", [name for name in cli.shipped_configs() if name != "finetune.yaml"])
def test_a_network_alone_is_swapped(composed, name):
    """No file and no method sets keys below one network's name."""
    other = "ofa_resnet50_classifier" if "pretrain" not in name else "ofa_resnet50_centernet"
    config = composed(name, f"network={other}")
    assert list(config["network"]) == list(config["hparams"]["identity"]["network"]) == [other]
    coupled = "comp_ofa" if name.startswith("compofa") else "ofa_resnet50"
    assert config["network"][other]["space"]["name"] == coupled


def test_xception_brings_its_own_space_and_phases(composed):
    for network in ("ofa_xception_centernet", "ofa_xception_centernet_small"):
        config = composed("detofa_voc", f"network={network}")
        assert config["space"]["name"] == config["network"]["ofa_xception_centernet"]["space"]["name"] == "ofa_xception"
    pretrained = composed("imagenet_pretrain", "network=ofa_xception_classifier", "hparams=ofa_xception_pretrain")
    shrunk = composed("detofa_voc", "network=ofa_xception_centernet", "method=ofa_ps_xception")
    space, sizes = SearchSpace.ofa_xception(), []
    for hparams in (pretrained["hparams"], shrunk["hparams"]):
        opened = [{key: one[key] for key in space.family.choices if key in one} for one in hparams["phases"].values()]
        sizes.append([space.only(**choices).size() for choices in opened])
    assert sizes[0] == [n**8 for n in (1, 3, 3 * 2, 3 * 3, 3 * (1 + 2 + 2), 3 * (1 + 3 + 3))]  # of 8 blocks
    assert sizes[1] == [n**8 for n in (3, 3 * 3, 3 * (1 + 3 + 3))]
