"""Every shipped configuration and every option of every group composes; the paper's setting is what the paper says."""

import sys

import pytest
import yaml

from nnabla_detofa import cli

GROUPS = ("args", "cost", "dataloader", "hparams", "network", "optimizer", "path_filter", "pruning", "sampler", "search")
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
    assert set(GROUPS) <= set(config)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes(composed, option):
    assert option.partition("=")[0] in GROUPS
    composed("detofa_demo", option)


@pytest.mark.parametrize("strategy", ["none", "flops", "flops_score_per_bucket", "flops_score_all"])
def test_the_runner_gets_the_strategy_under_hparams(composed, strategy):
    config = composed("detofa_voc", f"pruning={strategy}", "pruning.path_ratio=0.4")
    assert config["hparams"]["pruning"] == config["pruning"]
    assert (config["pruning"]["strategy"], config["pruning"]["path_ratio"]) == (strategy, 0.4)


@pytest.mark.parametrize(("name", "warmup", "finetune"), [("detofa_voc", 5, 65), ("detofa_coco", 10, 60)])
def test_the_papers_setting(composed, name, warmup, finetune):
    config = composed(name)
    hparams = config["hparams"]
    assert (hparams["warmup"], hparams["finetune"]) == (warmup, finetune)
    assert (hparams["path_filter"]["paths_per_bucket"], hparams["path_filter"]["n_buckets"]) == (100, 5)
    pruning = hparams["pruning"]
    assert pruning["strategy"] == "flops_score_all"
    assert pruning["path_ratio"] == 0.25
    assert (pruning["operation_ratio_all"], pruning["operation_ratio_per_bucket"]) == (0.1, 0.3)
    search = hparams["search"]
    assert (search["generations"], search["population"]) == (500, 100)
    assert (search["parent_ratio"], search["mutation_probability"]) == (0.25, 0.1)
