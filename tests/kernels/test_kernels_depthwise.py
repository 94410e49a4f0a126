"""The CPU kernels of MobileNetV3 against NNabla's own functions: values and every gradient."""

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.kernels import Depthwise, HardSwish, Scaling, Window, shrunk


def swap(x):
    return F.transpose(x, (1, 0, 2, 3))


def ours(window, x, weight, *matrices):
    return swap(Depthwise(window)(swap(x), weight, *matrices))


def theirs(window, x, weight, *matrices):
    n, side = x.shape[1], weight.shape[2]
    weight = weight[:n]
    for matrix in matrices:
        smaller = round(matrix.shape[0] ** 0.5)
        edge = (side - smaller) // 2
        middle = weight[:, :, edge : edge + smaller, edge : edge + smaller]
        weight = F.reshape(F.affine(F.reshape(middle, (n, -1)), matrix), (n, 1, smaller, smaller))
        side = smaller
    return F.convolution(x, weight, pad=(window.pad,) * 2, stride=(window.stride,) * 2, group=n)


def results(build, window, inputs, slope, *, passes=1):
    for x in inputs:
        x.grad.zero()
    y = build(window, *inputs)
    for _ in range(passes):
        y.forward(clear_no_need_grad=True)
        y.backward(slope(y.shape), clear_buffer=True)
    y.forward()
    return [y.d.copy(), *(x.g.copy() for x in inputs if x.need_grad)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    size=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    kernels=st.sampled_from([(1,), (3,), (5,), (7,), (5, 3), (7, 5), (7, 5, 3), (7, 3, 1)]),
    stride=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 5), st.integers(0, 2)),
    learns=st.booleans(),
)
def test_it_equals_nnablas(seed, size, kernels, stride, channels, learns):
    rng, (batch, *sides), (n, unused) = np.random.default_rng(seed), size, channels
    shapes = [(batch, n, *sides), (n + unused, 1, kernels[0], kernels[0]), *((k**2, k**2) for k in kernels[1:])]
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    inputs = [nn.Variable.from_numpy_array(one, need_grad=learns or i == 0) for i, one in enumerate(arrays)]
    window, slope = (
        Window(kernels[-1], stride, kernels[-1] // 2),
        lambda shape: np.cos(np.arange(np.prod(shape))).reshape(shape),
    )
    for a, b in zip(*(results(one, window, inputs, slope, passes=2) for one in (ours, theirs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * max(1, np.abs(b).max()))
    if learns:
        assert not inputs[1].g[n:].any()


def test_large_maps_are_shared_by_threads():
    rng = np.random.default_rng(0)
    inputs = [nn.Variable.from_numpy_array(rng.standard_normal(s).astype(np.float32), need_grad=True)
              for s in ((2, 12, 130, 131), (12, 1, 5, 5))]  # fmt: skip
    for a, b in zip(*(results(one, Window(5, 2, 2), inputs, np.ones) for one in (ours, theirs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("sides", [(7, 5), (7, 5, 3), (5, 1)])
def test_identities_leave_the_middle(sides):
    weight = np.random.default_rng(0).standard_normal((4, 1, sides[0], sides[0]))
    edge = (sides[0] - sides[-1]) // 2
    middle = weight[:, :, edge : edge + sides[-1], edge : edge + sides[-1]]
    np.testing.assert_array_equal(shrunk(weight, [np.eye(side**2) for side in sides[1:]]), middle)


def same_gates(ours, theirs, inputs):
    found = []
    for build in (ours, theirs):
        for x in inputs:
            x.grad.zero()
        y = build(*inputs)
        for _ in range(2):
            y.forward()
            y.backward(np.cos(np.arange(y.size)).reshape(y.shape))
        found.append([y.d.copy(), *(x.g.copy() for x in inputs if x.need_grad)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (40, 3, 100, 100)])
@pytest.mark.parametrize("learns", [(True, True), (True, False), (False, True)])
def test_gates_equal_nnablas(shape, learns):
    rng = np.random.default_rng(0)
    x, scale = (nn.Variable.from_numpy_array(3 * rng.standard_normal(s).astype(np.float32), need_grad=learn)
                for s, learn in zip((shape, (*shape[:2], 1, 1)), learns, strict=True))  # fmt: skip
    same_gates(lambda x, scale: Scaling()(x, scale), lambda x, scale: x * scale, [x, scale])
    if learns[0]:
        same_gates(lambda x: HardSwish()(x), lambda x: x * F.minimum_scalar(F.relu(x + 3), 6) / 6, [x])


def test_what_is_not_a_number_stays_so():
    x = nn.Variable.from_numpy_array(np.array([[np.nan, -4.0, 1.0]], np.float32))
    y = HardSwish()(x)
    y.forward()
    assert np.isnan(y.d[0, 0]) and np.isfinite(y.d[0, 1:]).all()
