"""Phases of progressive shrinking: which choices are open, in which epochs, and in which order they may stand."""

from itertools import pairwise

import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.training.phases import STAGES, read_phases

WHOLE = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1), depths=(0, 1))
LARGEST = {"depths": [1], "widths": [1.0], "expands": [0.35]}
PHASES = {
    "fullnet": {"epochs": 3, **LARGEST, "rate": 0.4},
    "depth": {"epochs": 2, **LARGEST, "depths": [0, 1], "rate": 0.3},
    "expand": {"epochs": 1, "widths": [1.0], "rate": 0.2},
    "width": {"epochs": 4, "rate": 0.1},
}


def read(phases, **options):
    return read_phases("hparams.phases", phases, WHOLE, options=("rate",), **options)


def test_what_a_phase_leaves_out_has_its_default():
    phases = read_phases("p", PHASES, WHOLE, options=("rate",), defaults={"ramp": 0})
    assert [phase.options["ramp"] for phase in phases] == [0] * 4
    with pytest.raises(ConfigError, match="p.a lacks rate"):
        read_phases("p", {"a": {"epochs": 1, "ramp": 3}}, WHOLE, options=("rate",), defaults={"ramp": 0})


def test_phases_follow_each_other_and_end_with_the_whole_space():
    phases = read(PHASES, first=10)
    assert [phase.name for phase in phases] == list(PHASES)
    assert [(phase.first, phase.last) for phase in phases] == [(10, 13), (13, 15), (15, 16), (16, 20)]
    assert [phase.options for phase in phases] == [{"rate": rate} for rate in (0.4, 0.3, 0.2, 0.1)]
    assert phases[0].space.enumerate().tolist() == [WHOLE.largest().tolist()]
    assert phases[1].space.size() == 2**5  # four stages, and the stem's residual block
    assert phases[-1].space == WHOLE
    for before, after in pairwise(phases):
        assert after.space.includes(before.space) and not before.space.includes(after.space)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ({}, "hparams.phases is empty; it must name at least one phase"),
        (
            {"width": PHASES["width"], "depth": PHASES["depth"]},
            "hparams.phases.depth leaves out choices that the phase before it, width, has trained;"
            " the phases are out of order: each must list all choices of the one before it",
        ),
        (
            {"depth": {**PHASES["depth"], "depths": [0]}},
            "hparams.phases.depth leaves out the largest path; every phase must list the largest depth, width and",
        ),
        (
            {"depth": {**PHASES["depth"], "depths": [3]}},
            "depths is \\[3\\]; it must be a list of the space's choices, \\[0, 1\\]",
        ),
        ({"depth": {**PHASES["depth"], "epochs": 0}}, "hparams.phases.depth.epochs is 0; it must be a whole number"),
        ({"depth": {"epochs": 1}}, "hparams.phases.depth lacks rate"),
        (
            {"depth": {**PHASES["depth"], "epoch": 1}},
            "unknown key in hparams.phases.depth: 'epoch'; known: .*'epochs'?",
        ),
        (
            {"../depth": PHASES["depth"]},
            "names a phase '../depth'; files are called after it: use letters, digits and _",
        ),
        ({"depth": 3}, "hparams.phases.depth is 3; it must hold keys and their values"),
    ],
)
def test_what_is_wrong_with_phases_is_said(phases, message):
    with pytest.raises(ConfigError, match=message):
        read(phases)


@pytest.mark.parametrize("name", ["größe", "", "a b", "1st", True, 3, None])
def test_files_are_called_after_phases(name):
    with pytest.raises(ConfigError) as caught:
        read({name: PHASES["width"]})
    assert str(caught.value) == (
        f"hparams.phases names a phase {name!r}; files are called after it: use letters, digits and _, all of ASCII"
    )


@pytest.mark.parametrize("name", [*STAGES, "weights", "teacher", "top1_width"])
def test_a_phase_is_called_as_nothing_else_of_a_run(name):
    with pytest.raises(ConfigError) as caught:
        read({name: PHASES["width"]})
    assert str(caught.value) == (
        f"hparams.phases names a phase {name!r}, as something else of a run is called; use another name"
    )


def test_every_stage_of_a_run_is_among_them(finished):
    assert finished[0].json("stages.json").keys() <= {*STAGES}
