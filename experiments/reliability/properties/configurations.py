"""Configurations: overrides on the command line, through composition to the options of a data set, and settings."""

import atexit
import copy
import io
import json
import logging
import shutil
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

from hydra.core.global_hydra import GlobalHydra
from hypothesis import strategies as st

from nnabla_detofa.launch import cli
from nnabla_detofa.searcher import DetOFASearcher

from .answers import RESULT, Property, answer, check_message, in_time
from .mutations import ODD_NUMBERS, ODD_TEXTS, edited

SECONDS = 20
KEYS = [
    *("root", "train", "test", "classes", "held_out", "image_size", "output_stride", "max_objects", "augment"),
    *("workers", "prefetch", "seed", "cache_megabytes", "examine"),
    *("augment.flip", "augment.scales", "augment.border", "nothing"),
]
ELSEWHERE = ["name", "hparams.seed", "args.search", "pruning", "pruning.path_ratio", "dataloader", "search"]
TEXTS = [text for text in ODD_TEXTS if "\ud800" not in text and "\0" not in text]  # an argument cannot hold these
SHAPES = ["[[2007,trainval]]", "[a,b]", "{a: 1}", "{flip: 2}", "[[2007]]", "64", "0.5", "???", "${name}"]
VALUES = st.one_of(
    st.sampled_from([*TEXTS, *SHAPES]),
    st.sampled_from(ODD_NUMBERS).map(str),
    st.integers(-3, 700).map(str),
    st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8),
)


@st.composite
def overrides(draw: Any) -> list[str]:
    """A few overrides of a shipped configuration, most of them of its data set."""
    given = []
    for _ in range(draw(st.integers(1, 3))):
        own = draw(st.sampled_from(KEYS))
        key = draw(st.sampled_from([f"dataloader.voc.{own}"] * 5 + ELSEWHERE))
        sign = draw(st.sampled_from(["", "", "", "+", "++", "~"]))
        given.append(f"{sign}{key}={draw(VALUES)}")
    return given


def compose(given: list[str], folder: Path) -> str:
    """The command itself: an exit code and one line at most; no data set is there to be read."""
    root = f"dataloader.voc.root={folder / 'nothing'}"
    out, err = io.StringIO(), io.StringIO()
    with in_time(SECONDS), redirect_stdout(out), redirect_stderr(err):
        try:
            code = cli.main(["check", "-c", "detofa_voc", root, *given])
        finally:
            GlobalHydra.instance().clear()
    lines = [line for line in err.getvalue().splitlines() if line]
    assert code in (0, 1, 2)
    assert len(lines) <= 1, lines
    for line in lines:
        check_message(line)
    return "one line" if lines else RESULT


TINY = {
    "network.ofa_resnet50_centernet": {"neck": [8, 8], "head": 8, "stem_pool": False, "space.base_depths": [1, 1, 1, 1]}
    | {"space.width_scale": 0.0625, "space.channel_divisor": 4, "space.depths": [0, 1], "space.widths": [0.65, 1.0]},
    "dataloader.voc": {"image_size": 32, "held_out": 16, "workers": 0, "generate.n_train": 60, "generate.n_test": 12}
    | {"generate.image_size": 32, "generate.scale": [0.35, 0.6]},
    "hparams": {"batch_size_train": 16, "mini_batch_train": 16, "batch_size_valid": 8, "mini_batch_valid": 8},
    "path_filter": {
        "paths_per_bucket": 4,
        "bn_images": 8,
        "evaluation_bn_images": 8,
        "validation_images": 8,
        "folds": 2,
    },
    "args": {"context": "cpu"},
}


@cache
def searcher() -> DetOFASearcher:
    """The tiny demo as the command builds it, before it does anything."""
    seen: list[DetOFASearcher] = []
    start = Path(mkdtemp(prefix="fuzz-settings-"))
    atexit.register(shutil.rmtree, start, ignore_errors=True)
    tiny = [f"++{group}.{key}={json.dumps(value)}" for group, keys in TINY.items() for key, value in keys.items()]
    arguments = ["-c", "detofa_demo", f"hydra.run.dir={start}/run", f"dataloader.voc.root={start}/data", *tiny]
    with mock.patch.object(DetOFASearcher, "run", lambda self: seen.append(self)):
        handlers = logging.getLogger().handlers[:]
        code = cli.main(arguments)
        for handler in set(logging.getLogger().handlers) - set(handlers):
            handler.close()
        logging.getLogger().handlers[:] = handlers
    assert code == cli.DONE
    return seen[0]


GROUPS = ("pruning", "path_filter", "search", "sampler", "schedule", "loss_weights", "warmup", "finetune", "metric")


@st.composite
def settings(draw: Any) -> dict[str, Any]:
    """Settings of a run, one or two groups of them after some edits."""
    groups = draw(st.lists(st.sampled_from([*GROUPS, "seed"]), min_size=1, max_size=2, unique=True))
    return {group: draw(edited(searcher().hparams[group])) for group in groups}


def check_settings(given: dict[str, Any], folder: Path) -> str:  # noqa: ARG001
    """Settings are accepted or refused before anything is trained."""
    changed = copy.copy(searcher())
    changed.hparams = {**searcher().hparams, **given}
    return answer(lambda: changed._run().rehearse(changed.algorithm))


PROPERTIES = {"overrides": Property(overrides(), compose), "settings": Property(settings(), check_settings)}
