"""Keys that the code reads are known, whether a file lists them or not; nothing else is."""

import pytest
from omegaconf import OmegaConf

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.launch.composition import compose
from nnabla_detofa.launch.keys import below, unknown_key

NETWORK = "network.ofa_resnet50_centernet"
UNLISTED = {
    "detofa_voc": [
        *("dataloader.voc.augment.flip=0.0", "dataloader.voc.augment.scales=[1.0]", "dataloader.voc.prefetch=2"),
        *("dataloader.voc.cache_megabytes=1", "dataloader.voc.examine=false", "dataloader.voc.generate.n_train=9"),
        *("search.mutation_ratio=0.3", "path_filter.network.dim=32", "path_filter.fit.patience=3"),
        *(f"{NETWORK}.head_deviation=0.01", f"{NETWORK}.kernels=numpy", f"{NETWORK}.space.width_scale=0.5"),
        *("optimizer.train.beta1=0.8", "optimizer.train.weight_decay=1e-4", "hparams.schedule.ramp_from=0.1"),
        "cost.table=x.csv",
    ],
    "imagenet_pretrain": [
        *("dataloader.image_folder.augment.ratio=[1,1]", "dataloader.image_folder.val=test"),
        *("network.ofa_resnet50_classifier.kernels=numpy", "hparams.phases.depth.batch_size=32"),
        *("optimizer.train.grad_clip=1.0", "path_filter.network.heads=2"),
    ],
}
UNKNOWN = {
    "dataloader.voc.augment.flop=0": "dataloader.voc.augment.flip",
    "dataloader.voc.prefetsh=2": "dataloader.voc.prefetch",
    "search.mutation_rati=0.3": "search.mutation_ratio",
    "path_filter.fit.patients=3": "path_filter.fit.patience",
    f"{NETWORK}.head_deviatio=0.01": f"{NETWORK}.head_deviation",
    f"{NETWORK}.space.width_scal=0.5": f"{NETWORK}.space.width_scale",
    "optimizer.train.beta_1=0.8": "optimizer.train.beta1",
    "hparams.schedule.ramp_form=0.1": "hparams.schedule.ramp_from",
    "samplr.name=uniform": "sampler",
    "args.contxt=cpu": "args.context",
}


def at(config, key):
    return OmegaConf.select(config, key)


def own(config):
    """A composed configuration without Hydra's part, as plain data."""
    return OmegaConf.to_container(
        OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]), resolve=True
    )


@pytest.mark.parametrize(("name", "override"), [(name, one) for name, some in UNLISTED.items() for one in some])
def test_a_key_that_no_file_lists_is_as_one_that_is_listed(name, override):
    key, _, _ = override.partition("=")
    assert at(compose(name, []), key) is None
    assert at(compose(name, [override]), key) == at(compose(name, [f"++{override}"]), key) is not None


@pytest.mark.parametrize(("override", "meant"), UNKNOWN.items())
def test_any_other_is_refused(override, meant):
    part = override.partition("=")[0] if "." in meant else "samplr"
    with pytest.raises(ConfigError, match=rf"unknown key '{part}'; known: .*\(did you mean '{meant}'\?\)"):
        compose("detofa_voc", [override])


@pytest.mark.parametrize("name", ["detofa_demo", "detofa_voc", "ofa_ps_coco", "imagenet_pretrain", "demo_pretrain"])
def test_all_that_is_listed_is_known(name):
    """The table does not lag behind the files: nothing is known from the configuration alone."""
    config = own(compose(name, []))

    def unread(mapping, place=()):
        known = below(config, place)
        for key, value in mapping.items():
            free = not known or place in {("network",), ("dataloader",), ("optimizer",), ("hparams", "phases")}
            if not free and key not in known:
                yield ".".join((*place, key))
            repeated = place == ("hparams",) and key in config
            if isinstance(value, dict) and not repeated:
                yield from unread(value, (*place, key))

    assert list(unread(config)) == []


def test_the_first_unknown_part_is_named():
    assert str(unknown_key({"search": {"budgets": None}}, "search.x.y")).startswith("unknown key 'search.x'; known: ")
    assert unknown_key({"a": {"b": 1}}, "a.b") is None
