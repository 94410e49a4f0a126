"""Peaks found with NNabla's functions are those that `decode` finds in arrays, in the same order."""

import nnabla as nn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnabla.ext_utils import get_extension_context
from nnabla.function import PythonFunction

from nnabla_detofa.detection import decode
from nnabla_detofa.tasks import peaks
from nnabla_detofa.tasks.peaks import PeakGraph

SHAPE = (3, 24, 32)


def random_maps(rng, batch=2, levels=None):
    logits = 8 * rng.random((batch, *SHAPE), np.float32) - 6
    if levels:
        logits = np.round(logits * levels / 8) * 8 / levels
    return logits.astype(np.float32), *(6 * rng.random((2, batch, 2, *SHAPE[1:]), np.float32))


def assert_same(maps, top):
    """Two batches through one graph."""
    variables = [nn.Variable(one.shape) for one in maps]
    graph = PeakGraph(*variables, top=top)
    for some in (maps, [one[::-1] for one in maps]):
        for variable, one in zip(variables, some, strict=True):
            variable.d = one
        for ours, theirs in zip(graph(), decode(*some, top=top, logits=True), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 4, 40, 400]), st.sampled_from([1, 10, 100, 10_000]))
@settings(deadline=None, max_examples=40)
def test_they_are_the_same_also_among_equals(seed, levels, top):
    assert_same(random_maps(np.random.default_rng(seed), levels=levels), top)


@pytest.mark.parametrize("value", [0.0, -40.0, 40.0])
def test_they_are_the_same_on_a_map_of_one_value(value):
    logits, *values = random_maps(np.random.default_rng(0))
    assert_same((np.full_like(logits, value), *values), 100)


def test_maps_leave_the_device_only_where_equals_stand_at_the_end(monkeypatch):
    asked = []
    monkeypatch.setattr(peaks, "decode", lambda *maps, **options: asked.append(options) or decode(*maps, **options))
    maps = random_maps(np.random.default_rng(0))
    assert_same(maps, 50)
    assert asked == []
    logits = maps[0]
    logits.reshape(2, -1)[1, np.argsort(-logits[1].ravel())[:2]] = 100.0  # equals at the beginning are no trouble
    assert_same(maps, 50)
    assert asked == []
    assert_same((np.round(logits), *maps[1:]), 50)
    assert asked == 2 * [{"top": 50, "logits": True}]


class Network(PythonFunction):
    """Three maps, and how often it was asked for them."""

    def __init__(self, maps):
        super().__init__(nn.get_current_context())
        self.maps, self.asked = maps, 0

    @property
    def name(self):
        return "Network"

    def min_outputs(self):
        return len(self.maps)

    def setup_impl(self, inputs, outputs):  # noqa: ARG002 - NNabla's signature
        for output, one in zip(outputs, self.maps, strict=True):
            output.reset_shape(one.shape, True)

    def forward_impl(self, inputs, outputs):  # noqa: ARG002
        self.asked += 1
        for output, one in zip(outputs, self.maps, strict=True):
            output.data.data = one


def test_the_network_runs_once_a_batch():
    maps = random_maps(np.random.default_rng(0))
    network = Network(maps)
    graph = PeakGraph(*network(nn.Variable((1,)), n_outputs=3), top=50)
    for batches in (1, 2):
        for ours, theirs in zip(graph(), decode(*maps, top=50, logits=True), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert network.asked == batches


def test_half_precision_is_decoded_in_single():
    maps = [one.astype(np.float16) for one in random_maps(np.random.default_rng(0), levels=4000)]
    with nn.context_scope(get_extension_context("cpu", type_config="half")):
        assert_same(maps, 20)
