"""Winograd's convolutions against the plain ones: values, both adjoints, any size of map, any corner of the filters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.kernels import Window, convolution, minimal_filtering
from nnabla_detofa.kernels.convolution import unfold

few = settings(max_examples=30, deadline=None, derandomize=True)
seeds = st.integers(0, 2**16)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))  # batch, height, width
channels = st.integers(1, 7)


def drawn(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def plain(matrix, x):
    """The convolution by its definition, in double precision: (o, B, H, W)."""
    columns = unfold(x.astype(np.float64), Window(3, 1, 1))
    return (matrix @ columns).reshape(len(matrix), *x.shape[1:])


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1.0, np.abs(theirs).max()))


@few
@given(seeds, sizes, channels, channels)
def test_values_are_those_of_the_definition(seed, size, n_in, n_out):
    rng = np.random.default_rng(seed)
    x, matrix = drawn(rng, n_in, *size), drawn(rng, n_out + 1, 9 * n_in + 18)[:n_out, : 9 * n_in]
    out = np.empty((n_out, *size), np.float32)
    minimal_filtering.correlate(matrix, x, out)
    close(out, plain(matrix, x))


@few
@given(seeds, sizes, channels, channels)
def test_adjoints(seed, size, n_in, n_out):
    """⟨W ∗ x, y⟩ = ⟨x, spread(y)⟩ = ⟨W, add_product(y, x)⟩."""
    rng = np.random.default_rng(seed)
    x, y, matrix = drawn(rng, n_in, *size), drawn(rng, n_out, *size), drawn(rng, n_out, 9 * n_in)
    dx, dmatrix = np.empty_like(x), np.zeros_like(matrix)
    minimal_filtering.spread(matrix, y, dx)
    minimal_filtering.add_product(dmatrix, y, x)
    product = (plain(matrix, x) * y).sum()
    scale = np.sqrt(x.size * y.size * 9.0)
    assert abs((dx * x).sum(dtype=np.float64) - product) < 1e-5 * scale
    assert abs((dmatrix * matrix).sum(dtype=np.float64) - product) < 1e-5 * scale


def test_a_gradient_is_added_and_stays_in_its_corner():
    rng = np.random.default_rng(0)
    x, y = drawn(rng, 3, 2, 5, 6), drawn(rng, 4, 2, 5, 6)
    fresh, whole = np.zeros((4, 27), np.float32), np.ones((6, 45), np.float32)
    minimal_filtering.add_product(fresh, y, x)
    minimal_filtering.add_product(whole[:4, :27], y, x)
    close(whole[:4, :27], 1 + fresh)
    whole[:4, :27] = 1
    assert (whole == 1).all()


@pytest.mark.parametrize("chunk", [1, 1 << 12])
def test_chunks_of_images_change_nothing(monkeypatch, chunk):
    rng = np.random.default_rng(1)
    x, y, matrix = drawn(rng, 5, 7, 6, 5), drawn(rng, 4, 7, 6, 5), drawn(rng, 4, 45)
    results = []
    for size in (1 << 22, chunk):
        monkeypatch.setattr(minimal_filtering, "_CHUNK_BYTES", size)
        monkeypatch.setattr(minimal_filtering, "_BLOCK_FLOATS", size)
        out, dx, dmatrix = np.empty_like(y), np.empty_like(x), np.zeros_like(matrix)
        minimal_filtering.correlate(matrix, x, out)
        minimal_filtering.spread(matrix, y, dx)
        minimal_filtering.add_product(dmatrix, y, x)
        results.append((out, dx, dmatrix))
    for whole, parts in zip(*results, strict=True):
        close(whole, parts)


@pytest.mark.parametrize(
    ("n_in", "n_out", "side", "chosen"), [(48, 40, 8, True), (39, 64, 8, False), (64, 80, 4, False)]
)
def test_the_kernels_choose_it_where_it_pays(monkeypatch, n_in, n_out, side, chosen):
    calls = []
    monkeypatch.setattr(minimal_filtering, "_apply", lambda *_: calls.append(1))
    rng = np.random.default_rng(2)
    x, out = drawn(rng, n_in, 4, side, side), np.empty((n_out, 4, side, side), np.float32)
    convolution.correlate(drawn(rng, n_out, 9 * n_in), x, out, Window(3, 1, 1))
    assert bool(calls) == chosen
    convolution.correlate(drawn(rng, n_out, 9 * n_in), x, out[:, :, ::2, ::2].copy(), Window(3, 2, 1))
    assert len(calls) == chosen
