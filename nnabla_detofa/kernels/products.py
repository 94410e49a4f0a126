"""Matrix products with a narrow factor, in pieces small enough for BLAS to take them as they lie.

The maps of small networks are products of few rows and very many columns. OpenBLAS packs both factors of a product
before it multiplies, which costs more than the product then; up to `_SMALL` it has kernels that do not.
"""

import numpy as np

_SMALL = 10**6  # multiply-accumulates
_LEAST_COLUMNS = 64  # of a piece: with fewer it does not pay
_LEAST_SUMMED = 768  # columns that a piece is summed over


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, *, add: bool = False) -> np.ndarray:
    """a (m, k) @ b (k, n), written or added to `out` (m, n) where it is given."""
    if add and out is not None:
        out += product(a, b)
        return out
    if out is None:
        out = np.empty((len(a), b.shape[1]), np.float32)
    columns = min(_SMALL // a.size, b.shape[1])
    if columns < _LEAST_COLUMNS:
        return np.matmul(a, b, out=out)
    whole = b.shape[1] // columns * columns
    np.matmul(a, _pieces(b, whole, columns), out=_pieces(out, whole, columns))
    np.matmul(a, b[:, whole:], out=out[:, whole:])
    return out


def product_over_columns(a: np.ndarray, b: np.ndarray, out: np.ndarray, *, add: bool) -> None:
    """a (m, n) @ b (k, n)ᵀ, written or added to out (m, k)."""
    columns = min(_SMALL // (len(a) * len(b)), a.shape[1])
    if columns >= _LEAST_SUMMED:
        whole = a.shape[1] // columns * columns
        total = (_pieces(a, whole, columns) @ _pieces(b, whole, columns).swapaxes(1, 2)).sum(axis=0)
        total += a[:, whole:] @ b[:, whole:].T
    else:  # BLAS is faster with the longer factor in front
        total = a @ b.T if len(a) >= len(b) else (b @ a.T).T
    if add:
        out += total
    else:
        out[:] = total


def _pieces(x: np.ndarray, whole: int, columns: int) -> np.ndarray:
    """The first `whole` columns of x (m, n), where they lie, as (pieces, m, columns)."""
    return x[:, :whole].reshape(len(x), -1, columns).swapaxes(0, 1)
