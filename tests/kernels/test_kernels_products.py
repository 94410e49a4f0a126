"""Products in pieces are products, whatever their shapes, and are written or added where they belong."""

import numpy as np
import pytest

from nnabla_detofa.kernels import products

# narrow ones with pieces and a rest, without a rest, too wide for pieces, and of one column
SHAPES = [(4, 36, 70_001), (20, 4, 62_500 * 2), (24, 216, 1_000), (300, 200, 90), (3, 5, 1), (1, 1, 1)]


def factors(m, k, n):
    rng = np.random.default_rng(m * n + k)
    return rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_product_is_that_of_the_whole(shape):
    a, b = factors(*shape)
    expected = a.astype(float) @ b
    np.testing.assert_allclose(products.product(a, b), expected, rtol=0, atol=1e-4)
    beside = np.ones((shape[0], shape[2] + 2), np.float32)
    products.product(a, b, beside[:, 1:-1], add=True)
    np.testing.assert_allclose(beside[:, 1:-1], 1 + expected, rtol=0, atol=1e-4)
    products.product(a, b, beside[:, 1:-1])
    np.testing.assert_allclose(beside[:, 1:-1], expected, rtol=0, atol=1e-4)
    assert (beside[:, [0, -1]] == 1).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_product_over_columns_sums_all_of_them_once(shape):
    """Of whole numbers, whose sums do not round."""
    rng, (m, k, n) = np.random.default_rng(0), shape
    a, b = (rng.integers(-3, 4, (rows, n)).astype(np.float32) for rows in (m, k))
    out = np.full((m, k + 1), 7, np.float32)
    products.product_over_columns(a, b, out[:, :k], add=False)
    np.testing.assert_array_equal(out[:, :k], a @ b.T)
    products.product_over_columns(a, b, out[:, :k], add=True)
    np.testing.assert_array_equal(out[:, :k], 2 * (a @ b.T))
    assert (out[:, k] == 7).all()


def test_narrow_products_are_cut_into_pieces(monkeypatch):
    """Each is no larger than what BLAS takes as it lies, as long as there is a least number of columns."""
    monkeypatch.setattr(products, "_SMALL", 4 * 36 * 100)
    sizes = []
    pieces = products._pieces
    monkeypatch.setattr(products, "_pieces", lambda *given: sizes.append(pieces(*given).shape) or pieces(*given))
    products.product(*factors(4, 36, 1050))
    assert sizes == [(10, 36, 100), (10, 4, 100)]
