"""What the paper compares: its methods, the methods of each table and figure, and the scales to run them at."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Method(NamedTuple):
    """A name for readers, what it changes of a scale's configuration, and its training in that of OFA's runs."""

    label: str
    overrides: tuple[str, ...] = ()
    cost: float = 1.3  # measured paths and filters


ALL_PATHS = "pruning.path_ratio=0"
METHODS = {
    "detofa": Method("DetOFA"),
    "ofa": Method("OFA", ("method=ofa",), 1.0),
    "ofa_ps": Method("OFA, progressive shrinking", ("method=ofa_ps",), 3.0),
    "compofa": Method("CompOFA*", ("method=compofa",), 1.0),
    "ofa_longer": Method("OFA, longer", ("method=ofa",), 1.5),  # more epochs: `Scale.longer`
    "fullnet": Method("largest path alone", ("method=fullnet",), 1.0),
    # DetOFA's shares of operations (10 %, then 30 % of the rest) and of paths, thrown out by chance
    "random": Method(
        "as much thrown out at random",
        ("pruning=flops", "pruning.operation_ratio=0.37", "pruning.path_strategy=uniform"),
    ),
    # what ranks in the filter's place is said short, for pictures
    "flops_filter": Method("DetOFA by FLOPs alone", ("path_filter=flops",)),
    "ridge_filter": Method("DetOFA by ridge regression", ("path_filter=ridge",)),
    "effects_of_genes": Method("DetOFA, effects of genes", ("path_filter.effects_of=genes",)),
    "operations_random": Method("operations: FLOPs", ("pruning=flops", ALL_PATHS)),
    "operations_per_bucket": Method(
        "operations: FLOPs & score (per bucket)", ("pruning=flops_score_per_bucket", ALL_PATHS)
    ),
    "operations_all": Method("operations: FLOPs & score (all)", (ALL_PATHS,)),
    "paths_random": Method("paths: uniform", ("pruning=none", "pruning.path_strategy=uniform")),
    "paths_score": Method("paths: score", ("pruning=none",)),
    "operations_20": Method("r_op 0.2", ("pruning.operation_ratio_per_bucket=0.2",)),
    "operations_40": Method("r_op 0.4", ("pruning.operation_ratio_per_bucket=0.4",)),
    "paths_10": Method("r_path 0.1", ("pruning.path_ratio=0.1",)),
    "paths_40": Method("r_path 0.4", ("pruning.path_ratio=0.4",)),
}
# The first of each is what the others are compared with. Labels that differ from a method's own stand beside it.
EXHIBITS: dict[str, dict[str, str]] = {
    "table2": {"detofa": ""},
    "table3": {"ofa_ps": "", "ofa": "", "compofa": "", "detofa": ""},
    "fig5": {
        **{"ofa": "", "detofa": "", "ofa_ps": "", "compofa": "", "fullnet": "", "ofa_longer": ""},
        **{"effects_of_genes": "", "random": "", "flops_filter": "", "ridge_filter": ""},  # ours, and controls
    },
    "fig6": {"ofa": "", "detofa": ""},
    "fig7": {"detofa": ""},
    "fig8": {
        **{"ofa": "", "operations_random": "", "operations_per_bucket": "", "operations_all": ""},
        **{"paths_random": "", "paths_score": ""},
    },
    "fig9": {
        **{"detofa": "r_op 0.3, r_path 0.25", "paths_score": "r_op 0", "operations_20": "", "operations_40": ""},
        **{"operations_all": "r_path 0", "paths_10": "", "paths_40": ""},
    },
}


def methods_of(names: list[str]) -> list[str]:
    """The methods that these tables and figures need, each once."""
    return list(dict.fromkeys(method for name in names for method in EXHIBITS[name]))


class Scale(NamedTuple):
    """A configuration, what is changed of it for all methods, and the hours that a run of OFA takes: planned until
    some are measured, and on which machine. `longer`: the epochs of OFA that DetOFA's cost buys, after warm-up, and
    the whole schedule stretched over them."""

    config: str
    hours: float
    machine: str
    longer: tuple[str, ...]
    overrides: tuple[str, ...] = ()

    def of_method(self, method: str) -> tuple[str, ...]:
        """The overrides of this configuration by a method."""
        return METHODS[method].overrides + (self.longer if method == "ofa_longer" else ())


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"++{prefix}{key}={json.dumps(value)}"


# Real photographs on two cores: a VOC folder with as few as 300, at 128 px; its place is an override,
# `dataloader.voc.root=FOLDER`. Weights are averaged, and draws balanced, as in the miniature.
PHOTOGRAPHS = {
    "dataloader.voc": {
        "train": [[2007, "trainval"]],
        **{"held_out": 48, "image_size": 128, "workers": 1, "cache_megabytes": 400},
        **{"images_expected": None, "classes_expected": None},
    },
    "hparams": {
        **{"batch_size_train": 8, "mini_batch_train": 8, "mini_batch_valid": 16, "warmup": 8, "finetune": 20},
        "weight_average": 4,
    },
    "path_filter": {"paths_per_bucket": 12, "bn_images": 48, "validation_images": 48, "second_measurement": False},
}
TINY = {
    "network.ofa_resnet50_centernet": {
        "space": {"width_scale": 0.0625, "depths": [0, 1], "widths": [0.65, 1.0]},
        **{"neck": [8, 8], "head": 8, "head_deviation": None},
    },
    "dataloader.voc": {
        "letters": {"classes": ["A", "O", "X"], "n_train": 60, "n_test": 12, "image_size": 32, "scale": [0.35, 0.6]},
        **{"image_size": 32, "held_out": 16, "workers": 0},
    },
    "hparams": {"batch_size_train": 16, "mini_batch_valid": 8, "warmup": 1, "finetune": 1},
    "path_filter": {
        **{"paths_per_bucket": 8, "bn_images": 8, "validation_images": 8, "evaluation_bn_images": 8, "folds": 2},
        "network": {"dim": 8, "heads": 2, "layers": 1, "hidden": 8},
        "fit": {"epochs": 2},
    },
    "pruning": {"paths_per_operation": 5, "paths_per_threshold": 50},
    "search": {"generations": 3, "population": 10},
    "args": {"context": "cpu"},
}
# Hours are the paper's GPU days of OFA without progressive shrinking (Table 3). Epochs of `longer` are OFA's times
# DetOFA's cost over OFA's, rounded up: in the paper .800 / .383 and 5.260 / 4.804 GPU days. Elsewhere by the seconds of
# DetOFA's runs until pruning is done over those of its training, beside which the machine's load counts alike: .11
# with 12 epochs of letters, .17 to .23 with 8, .26 to .33 on photographs.
SCALES = {
    "mini": Scale("detofa_letters", 0.22, "two CPU cores, planned", ("hparams.finetune=11",), ("hparams.finetune=9",)),
    # four epochs more give OFA 16 points of AP: here seeds differ by 15 points, and pairs of methods by 2.3
    "mini8": Scale("detofa_letters", 0.15, "two CPU cores, planned", ("hparams.finetune=7",)),
    "voc": Scale(
        "detofa_voc",
        24 * 0.383,
        "one V100, the paper's Table 3",
        ("hparams.finetune=142", "hparams.schedule.at=[94.5,126]"),
    ),
    "coco": Scale(
        "detofa_coco",
        24 * 4.804,
        "one A100, the paper's Table 3",
        ("hparams.finetune=67", "hparams.schedule.at=[49.5,66]"),
    ),
    "photographs": Scale(
        "detofa_demo",
        0.1,
        "two CPU cores, planned",
        ("hparams.finetune=28",),
        ("dataloader=voc", "sampler=balanced", *_flat(PHOTOGRAPHS)),
    ),
    "tiny": Scale(
        "detofa_letters",
        0.01,
        "for tests: its figures mean nothing",
        ("hparams.finetune=2",),
        tuple(_flat(TINY)),
    ),
}
