"""Phases of progressive shrinking: which choices are open, in which epochs, and in which order they may stand."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.run_options import PhaseOptions
from nnabla_detofa.shrinking import TAKEN, read_phases
from nnabla_detofa.space import SearchSpace

WHOLE = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1), depths=(0, 1))
LARGEST = {"depths": [1], "widths": [1.0], "expands": [0.35]}
PHASES = {
    "fullnet": {"epochs": 3, **LARGEST},
    "depth": {"epochs": 2, **LARGEST, "depths": [0, 1]},
    "expand": {"epochs": None, "widths": [1.0]},
    "width": {"epochs": 4},
}


def read(phases):
    given = {name: PhaseOptions.of(name, one) for name, one in phases.items()}
    return read_phases(SimpleNamespace(space=WHOLE, epochs=7, options=SimpleNamespace(phases=given)))


def test_phases_follow_each_other_and_end_with_the_whole_space():
    phases = read(PHASES)
    assert [phase.name for phase in phases] == list(PHASES)
    assert [(phase.first, phase.last) for phase in phases] == [(0, 3), (3, 5), (5, 12), (12, 16)]
    assert phases[0].space.enumerate().tolist() == [WHOLE.largest().tolist()]
    assert phases[1].space.size() == 2**5  # four stages, and the stem's residual block
    assert phases[-1].space == WHOLE
    for before, after in pairwise(phases):
        assert after.space.includes(before.space) and not before.space.includes(after.space)


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        ({"width": {}, "depth": PHASES["depth"]}, "depth leaves out choices that the phase before it, width,"),
        ({"depth": {"depths": [0]}}, "depth leaves out the largest path"),
        ({"depth": {"depths": [1]}}, "depth is the last phase"),
        ({"depth": {"depths": [3]}}, "depths"),
        ({"depth": {"depth": [1]}}, "depths"),
        *(({name: {}}, f"phases.{name} is called") for name in (*sorted(TAKEN), "top1_width")),
    ],
)
def test_what_is_wrong_with_phases_is_said(phases, said):
    with pytest.raises(ConfigError, match=said):
        read(phases)
