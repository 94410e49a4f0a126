"""The CPU kernels against NNabla's own functions: values, every gradient, running statistics."""

from functools import partial

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa import kernels
from nnabla_detofa.kernels import Window
from nnabla_detofa.kernels.convolution import fold, unfold

WINDOWS = [Window(k, s, k // 2) for k in (1, 3) for s in (1, 2)]
UP = Window(4, 2, 1)

few = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 2**16)
sizes = st.tuples(st.integers(1, 3), st.integers(2, 7), st.integers(2, 7))  # batch, height, width
channels = st.integers(1, 6)
spare = st.integers(0, 3)  # channels of a shared weight that a path leaves unused


def close(ours, theirs, tolerance=1e-5):
    """Within the tolerance of the largest value."""
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(1.0, np.abs(theirs).max()))


def variables(rng, *shapes):
    return [nn.Variable.from_numpy_array(rng.standard_normal(s).astype(np.float32), need_grad=True) for s in shapes]


def swap(x):
    """(C, B, H, W) from (B, C, H, W), and back."""
    return F.transpose(x, (1, 0, 2, 3))


def gradients(build, inputs, *, passes=1, seed=0):
    """Output and input gradients of `build(*inputs)` after some backward passes of a random output gradient."""
    for x in inputs:
        x.grad.zero()
    y = build(*inputs)
    dy = np.random.default_rng(seed).standard_normal(y.shape).astype(np.float32)
    for _ in range(passes):
        y.forward(clear_no_need_grad=True)
        y.backward(dy, clear_buffer=True)
    y.forward()
    return [y.d.copy(), *(x.g.copy() for x in inputs)]


def assert_same(ours, theirs, inputs, **options):
    for a, b in zip(gradients(ours, inputs, **options), gradients(theirs, inputs, **options), strict=True):
        close(a, b)


def our_convolution(n_out, window, x, *weights):
    return swap(kernels.Convolution(n_out, window)(swap(x), *weights))


def their_convolution(n_out, window, x, weight, bias=None):
    corner = weight[:n_out, : x.shape[1]]
    pad, stride = (window.pad,) * 2, (window.stride,) * 2
    return F.convolution(x, corner, bias if bias is None else bias[:n_out], pad=pad, stride=stride)


CONVOLUTIONS = our_convolution, their_convolution


def our_deconvolution(x, weight):
    return swap(kernels.Deconvolution(UP)(swap(x), weight))


def their_deconvolution(x, weight):
    return F.deconvolution(x, weight[: x.shape[1], : weight.shape[1]], None, pad=(1, 1), stride=(2, 2))


@few
@given(seeds, st.sampled_from(WINDOWS), sizes, channels, channels, spare, st.booleans())
def test_convolution_of_a_corner_equals_nnablas(seed, window, size, n_in, n_out, unused, bias):
    batch, *sides = size
    shapes = [(batch, n_in, *sides), (n_out + unused, n_in + unused, window.kernel, window.kernel)]
    shapes += [(n_out + unused,)] if bias else []
    inputs = variables(np.random.default_rng(seed), *shapes)
    ours, theirs = partial(our_convolution, n_out, window), partial(their_convolution, n_out, window)
    assert_same(ours, theirs, inputs)
    _, _, dweight, *dbias = gradients(ours, inputs)
    assert not dweight[n_out:].any()
    assert not dweight[:, n_in:].any()
    assert not any(db[n_out:].any() for db in dbias)


@few
@given(seeds, sizes, channels, channels, spare)
def test_deconvolution_of_a_corner_equals_nnablas(seed, size, n_in, n_out, unused):
    batch, *sides = size
    inputs = variables(np.random.default_rng(seed), (batch, n_in, *sides), (n_in + unused, n_out, 4, 4))
    assert_same(our_deconvolution, their_deconvolution, inputs)
    assert not gradients(our_deconvolution, inputs)[2][n_in:].any()


def windows_of(x, window):
    """Every window of a map by its definition: (C·k·k, B·H'·W')."""
    kernel, stride, pad = window
    padded = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    seen = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    return seen.transpose(0, 4, 5, 1, 2, 3).reshape(len(x) * kernel**2, -1)


def part_of(n):
    """A slice of range(n), not empty."""
    return st.tuples(st.integers(0, n - 1), st.integers(1, n)).map(lambda ends: slice(ends[0], sum(ends)))


ANY_WINDOW = st.sampled_from([*WINDOWS, UP, Window(5, 1, 2), Window(3, 3, 1), Window(2, 2, 0), Window(3, 1, 0)])
longer = st.tuples(st.integers(1, 3), st.integers(3, 9), st.integers(3, 9))


@few
@given(seeds, ANY_WINDOW, longer, part_of(4), part_of(3))
def test_unfold_is_its_definition_for_any_part_of_a_map(seed, window, size, some, images):
    x = np.random.default_rng(seed).standard_normal((4, *size), np.float32)
    images = slice(min(images.start, size[0] - 1), images.stop)
    np.testing.assert_array_equal(unfold(x, window, some, images), windows_of(x[some, images], window))


@few
@given(seeds, ANY_WINDOW, longer, part_of(4), part_of(3), st.booleans())
def test_fold_is_the_adjoint_of_unfold_and_keeps_to_its_part(seed, window, size, some, images, add):
    rng = np.random.default_rng(seed)
    x, before = rng.standard_normal((2, 4, *size))
    images = slice(min(images.start, size[0] - 1), images.stop)
    columns = unfold(x, window, some, images)
    weights, folded = rng.standard_normal(columns.shape), before.copy()
    product = (columns * weights).sum()
    fold(weights, folded, window, some, images, add=add)
    change = folded[some, images] - (before[some, images] if add else 0)
    assert np.isclose(product, (x[some, images] * change).sum())
    folded[some, images] = before[some, images]
    np.testing.assert_array_equal(folded, before)


def test_what_is_not_a_number_passes_a_ceiling():
    """It has to reach the loss, where training stops."""
    x, beta, gamma = variables(np.random.default_rng(0), (1, 2, 3, 3), (1, 2, 1, 1), (1, 2, 1, 1))
    x.d[0, 0, 1, 1] = np.nan
    for batch_stat in (True, False):
        y = Norm(np.random.default_rng(0), 2, batch_stat=batch_stat, ceiling=6.0).our_norm(x, beta, gamma)
        y.forward()
        assert np.isnan(y.d[0, 0, 1, 1])
        assert np.isfinite(y.d[0, 1]).all()


class Norm:
    """One normalisation with both implementations, each with running statistics of its own."""

    def __init__(self, rng, n_features, *, batch_stat, ceiling, decay_rate=0.7, eps=1e-3):
        shape = (1, n_features, 1, 1)
        self.start = rng.standard_normal(shape).astype(np.float32), rng.uniform(0.5, 2, shape).astype(np.float32)
        self.ours, self.theirs = ([nn.Variable.from_numpy_array(s.copy()) for s in self.start] for _ in range(2))
        self.batch_stat, self.ceiling, self.decay_rate, self.eps = batch_stat, ceiling, decay_rate, eps

    def our_norm(self, x, beta, gamma, *shortcut, record=None):
        kernel = kernels.BatchNormalization(
            *self.ours,
            batch_stat=self.batch_stat,
            decay_rate=self.decay_rate,
            eps=self.eps,
            ceiling=self.ceiling,
            record=record,
        )
        return swap(kernel(swap(x), beta, gamma, *map(swap, shortcut)))

    def their_norm(self, x, beta, gamma, *shortcut):
        n = x.shape[1]
        mean, variance = (nn.Variable.from_numpy_array(s.d[:, :n].copy()) for s in self.theirs)
        options = {"decay_rate": self.decay_rate, "eps": self.eps, "batch_stat": self.batch_stat}
        y = F.batch_normalization(x, beta[:, :n], gamma[:, :n], mean, variance, **options)
        self.moved = mean.apply(persistent=True), variance.apply(persistent=True)
        y = sum(shortcut, y)
        if self.ceiling is None:
            return y
        return F.relu(y) if np.isinf(self.ceiling) else F.minimum_scalar(F.relu(y), self.ceiling)


CEILINGS = pytest.mark.parametrize("ceiling", [None, np.inf, 6.0], ids=["linear", "relu", "relu6"])
BATCH_STAT = pytest.mark.parametrize("batch_stat", [True, False], ids=["batch", "running"])


@CEILINGS
@BATCH_STAT
@settings(max_examples=12, deadline=None, derandomize=True)
@given(seeds, st.tuples(st.integers(1, 3), st.integers(2, 5), st.integers(2, 5)), channels, spare, st.booleans())
def test_batch_normalisation_equals_nnablas(batch_stat, ceiling, seed, size, n, unused, with_shortcut):
    rng = np.random.default_rng(seed)
    batch, *sides = size
    norm = Norm(rng, n + unused, batch_stat=batch_stat, ceiling=ceiling)
    shape, affine = (batch, n, *sides), (1, n + unused, 1, 1)
    x, beta, gamma, *shortcut = variables(rng, shape, affine, affine, *([shape] if with_shortcut else []))
    if ceiling == 6:
        gamma.d = 4 * gamma.d  # so that some values reach the ceiling
    inputs = [x, beta, gamma, *shortcut]
    assert_same(norm.our_norm, norm.their_norm, inputs)
    for moved, ours, start in zip(norm.moved, norm.ours, norm.start, strict=True):
        close(ours.d[:, :n], moved.d)
        np.testing.assert_array_equal(ours.d[:, n:], start[:, n:])
        if not batch_stat:
            np.testing.assert_array_equal(ours.d, start)
    _, _, dbeta, dgamma, *_ = gradients(norm.our_norm, inputs)
    assert not dbeta[:, n:].any()
    assert not dgamma[:, n:].any()


def test_batch_normalisation_of_a_large_map_far_from_zero():
    """NNabla's variance, a difference of float32 sums, is off by 1e-3 here; float64 is the oracle."""
    rng = np.random.default_rng(0)
    norm = Norm(rng, 5, batch_stat=True, ceiling=None, eps=1e-5)
    x, beta, gamma = variables(rng, (16, 4, 64, 64), (1, 5, 1, 1), (1, 5, 1, 1))
    x.d = x.d + 10
    records = []
    y = norm.our_norm(x, beta, gamma, record=lambda *statistics: records.append(statistics))
    y.forward()
    exact = x.d.astype(np.float64)
    (mean, variance), axes = records[0], (0, 2, 3)
    close(mean, exact.mean(axes))
    close(variance, exact.var(axes))
    hat = (exact - exact.mean(axes, keepdims=True)) / np.sqrt(exact.var(axes, keepdims=True) + 1e-5)
    close(y.d, gamma.d[:, :4] * hat + beta.d[:, :4])
    for ours, start in zip(norm.ours, norm.start, strict=True):  # what is recorded moves no running statistic
        np.testing.assert_array_equal(ours.d, start)


def test_batch_normalisation_of_flat_areas():
    """Sums of equal pixels, which photographs have, do not drift: one long float32 sum is off by 6e-6 here."""
    rng = np.random.default_rng(0)
    norm = Norm(rng, 4, batch_stat=True, ceiling=None)
    x, beta, gamma = variables(rng, (2, 4, 128, 128), (1, 4, 1, 1), (1, 4, 1, 1))
    x.d = np.float32(1.37) * np.sign(x.d) + rng.uniform(1, 2, (1, 4, 1, 1)).astype(np.float32)
    records = []
    norm.our_norm(x, beta, gamma, record=lambda *statistics: records.append(statistics)).forward()
    exact = x.d.astype(np.float64)
    for found, expected in zip(records[0], (exact.mean((0, 2, 3)), exact.var((0, 2, 3))), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_running_statistics_are_those_of_the_moment_of_the_call():
    """A graph that outlives a loading of weights must not keep statistics from before it."""
    rng = np.random.default_rng(0)
    norm = Norm(rng, 4, batch_stat=False, ceiling=None)
    inputs = variables(rng, (2, 4, 3, 3), (1, 4, 1, 1), (1, 4, 1, 1))
    y = norm.our_norm(*inputs)
    y.forward()
    for mine, other, new in zip(norm.ours, norm.theirs, (0.25, 3.0), strict=True):
        mine.d = other.d = np.full((1, 4, 1, 1), new, np.float32)
    expected = norm.their_norm(*inputs)
    y.forward()
    expected.forward()
    close(y.d, expected.d)


def twice(kind, rng):
    """Two layers of one kind with the same weights, at different corners: inputs, ours and theirs."""
    if kind == "convolution":
        builds = [lambda x, w, f=f: f(3, WINDOWS[2], f(4, WINDOWS[2], x, w), w) for f in CONVOLUTIONS]
        return variables(rng, (2, 3, 5, 6), (6, 5, 3, 3)), *builds
    if kind == "deconvolution":
        builds = [lambda x, w, f=f: f(f(x, w), w) for f in (our_deconvolution, their_deconvolution)]
        return variables(rng, (2, 3, 4, 4), (4, 3, 4, 4)), *builds
    norm = Norm(rng, 5, batch_stat=True, ceiling=np.inf)
    builds = [lambda x, beta, gamma, f=f: f(f(x, beta, gamma), beta, gamma) for f in (norm.our_norm, norm.their_norm)]
    return variables(rng, (3, 4, 5, 6), (1, 5, 1, 1), (1, 5, 1, 1)), *builds


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("kind", ["convolution", "deconvolution", "normalisation"])
def test_gradients_add_up_over_passes_and_over_layers_that_share_a_weight(kind, computed, passes):
    """NNabla asks to add for parameters; what a function gave is written first, and added to by the second layer."""
    inputs, *builds = twice(kind, np.random.default_rng(0))
    if computed:
        builds = [lambda x, *weights, f=f: f(x, *(w * 2.0 for w in weights)) for f in builds]
    assert_same(*builds, inputs, passes=passes)


def test_a_gradient_that_nobody_asks_for_is_not_computed():
    inputs = variables(np.random.default_rng(0), (2, 3, 5, 5), (4, 3, 3, 3), (4,))
    for frozen in range(3):
        for i, x in enumerate(inputs):
            x.need_grad = i != frozen
            x.grad.zero()
        y = our_convolution(4, WINDOWS[2], *inputs)
        y.forward()
        y.backward(1.0)
        assert [bool(x.g.any()) for x in inputs] == [i != frozen for i in range(3)]


@pytest.mark.parametrize("limit", [1, 8000], ids=["image by image", "an uneven last chunk"])
def test_chunks_change_nothing(monkeypatch, limit):
    rng = np.random.default_rng(0)
    convolution = variables(rng, (5, 3, 12, 12), (6, 5, 3, 3), (6,)), partial(our_convolution, 4, Window(3, 2, 1))
    deconvolution = variables(rng, (5, 3, 4, 4), (4, 3, 4, 4)), our_deconvolution
    for inputs, build in (convolution, deconvolution):
        whole = gradients(build, inputs)
        with monkeypatch.context() as patch:
            patch.setattr(kernels.convolution, "_CHUNK_BYTES", limit)
            parts = gradients(build, inputs)
        for a, b in zip(parts, whole, strict=True):
            close(a, b, 1e-6)
