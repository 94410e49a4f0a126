"""Configurations: overrides on the command line, through composition to the options of a data set, and settings."""

import atexit
import copy
import io
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
DRILL = Path(__file__).parents[1] / "drill.yaml"
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


@cache
def searcher() -> DetOFASearcher:
    """The drill's run as the command builds it, before it does anything."""
    seen: list[DetOFASearcher] = []
    start = Path(mkdtemp(prefix="fuzz-settings-"))
    atexit.register(shutil.rmtree, start, ignore_errors=True)
    arguments = ["-c", str(DRILL), f"hydra.run.dir={start}/run", f"dataloader.voc.root={start}/data"]
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
