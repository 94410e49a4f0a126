"""The path filter's forward pass in NumPy (section 3.1.1): the scores of `network`, several times faster on a CPU.

The search and the pruning ask for hundreds of thousands of scores, so this module trades a little prose for speed:
float32 in place, in arrays that are allocated once and stay in the cache, so that what remains is matrix products.
"""

from itertools import pairwise

import numpy as np

from ..threads import THREADS, one_blas_thread, pool
from .network import Design

_BLOCK = 32  # paths at a time; 32 paths of 22 tokens and 128 dimensions are a third of a megabyte


class Scorer:
    """Scores of paths for fixed weights, arrays by name; positions (L, dim) are added to the tokens."""

    def __init__(self, weights: dict[str, np.ndarray], design: Design, positions: np.ndarray) -> None:
        self._dim, self._heads = design.dim, design.heads
        table = (positions[:, None] + weights["token"]).reshape(-1, self._dim)
        self._table = np.concatenate([table, weights["budget"]]) if "budget" in weights else table
        self._layers = [_fused(weights, f"layer{layer}/", design.heads) for layer in range(design.layers)]
        self._projected = self._table @ self._layers[0]["qkv/W"]
        self._projected[:, : self._dim] += self._layers[0]["query/b"]
        self._main = weights["main"][:, 0] if "main" in weights else None
        self._head = {name: weights[f"head/{name}"] for name in ("hidden/W", "hidden/b", "score/W", "score/b")}

    def __call__(self, rows: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """Scores (n,) of the paths given as rows (n, T) of the input table; the threads share blocks of them.

        Blocks do not depend on the number of threads, so the scores do not either. The sigmoid alone is of the `dtype`.
        """
        logits = np.empty(len(rows), np.float32)
        bounds = np.linspace(0, len(rows), -(-len(rows) // _BLOCK) + 1).astype(int).tolist()
        blocks = [slice(*pair) for pair in pairwise(bounds)]

        def share(first: int) -> None:
            room = None
            for part in blocks[first::THREADS]:
                block = rows[part]
                if room is None or len(block) != len(room.x3):
                    room = _Room(len(block), rows.shape[1], self._dim, self._heads, self._head["hidden/b"].size)
                logits[part] = self._block(block, room)

        with one_blas_thread():
            waiting = [pool().submit(share, first) for first in range(1, min(THREADS, len(blocks)))]
            share(0)
            for future in waiting:
                future.result()
        return 1 / (1 + np.exp(np.clip(-logits.astype(dtype), -80, 80)))

    def _block(self, rows: np.ndarray, room: "_Room") -> np.ndarray:
        """Logits of a block; x and y are (n · T, dim), the queries, keys and values (n · T, 3 · dim)."""
        x, y, qkv, inner = room.x, room.y, room.qkv, room.inner
        np.take(self._table, rows, axis=0, out=room.x3, mode="clip")
        np.take(self._projected, rows, axis=0, out=room.qkv3, mode="clip")
        for number, layer in enumerate(self._layers):
            if number:
                np.matmul(x, layer["qkv/W"], out=qkv)
                qkv[:, : self._dim] += layer["query/b"]
            _attend(room)
            np.matmul(room.mixed, layer["attention/W"], out=y)
            _add_and_norm(x, y, layer["attention/b"])
            np.matmul(x, layer["hidden/W"], out=inner)
            inner += layer["hidden/b"]
            np.maximum(inner, 0, out=inner)
            np.matmul(inner, layer["forward/W"], out=y)
            _add_and_norm(x, y, layer["forward/b"])
        hidden = np.maximum(room.x3.mean(axis=1) @ self._head["hidden/W"] + self._head["hidden/b"], 0)
        logit = (hidden @ self._head["score/W"] + self._head["score/b"])[:, 0]
        if self._main is not None:
            logit += self._main[rows].sum(axis=1)
        return logit


class _Room:
    """The arrays that a block of n paths works in, and their shapes as the attention sees them."""

    def __init__(self, n: int, length: int, dim: int, heads: int, hidden: int) -> None:
        width = dim // heads
        self.x, self.y, self.mixed, self.qkv, self.inner = (
            np.empty((n * length, columns), np.float32) for columns in (dim, dim, dim, 3 * dim, hidden)
        )
        self.x3, self.qkv3 = self.x.reshape(n, length, dim), self.qkv.reshape(n, length, 3 * dim)
        self.query, self.key, self.value = self.qkv.reshape(n, length, 3, heads, width).transpose(2, 0, 3, 1, 4)
        self.weight = np.empty((n, heads, length, length), np.float32)  # keys, queries: sums run along whole rows
        self.by_head = self.mixed.reshape(n, length, heads, width).transpose(0, 2, 1, 3)


def _fused(weights: dict[str, np.ndarray], prefix: str, heads: int) -> dict[str, np.ndarray]:
    """One layer's weights with its three projections side by side.

    The attention's 1 / √width sits in the query; the value's bias, which the softmax hands through unchanged, sits in
    the bias behind it.
    """
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    scale = np.float32((own["query/W"].shape[1] // heads) ** -0.5)
    return {
        "qkv/W": np.concatenate([own["query/W"] * scale, own["key/W"], own["value/W"]], axis=1),
        "query/b": own["query/b"] * scale,
        "attention/W": own["attention/W"],
        "attention/b": own["attention/b"] + own["value/b"] @ own["attention/W"],
        **{name: own[name] for name in ("hidden/W", "hidden/b", "forward/W", "forward/b")},
    }


def _attend(room: _Room) -> None:
    """Multi-head attention from the queries, keys and values of `room` into its `mixed`."""
    weight = np.matmul(room.key, room.query.swapaxes(2, 3), out=room.weight)
    np.clip(weight, -80, 80, out=weight)  # instead of each row's maximum, a tenth of the time: exp ends at 88
    np.exp(weight, out=weight)
    weight /= np.einsum("nhkq->nhq", weight)[:, :, None]
    np.matmul(weight.swapaxes(2, 3), room.value, out=room.by_head)


def _add_and_norm(x: np.ndarray, y: np.ndarray, bias: np.ndarray) -> None:
    """x becomes the layer norm of the rows of x + y + bias."""
    x += y
    x += bias
    x -= (np.einsum("ij->i", x) / x.shape[1])[:, None]
    variance = np.einsum("ij,ij->i", x, x) / x.shape[1]
    x *= (1 / np.sqrt(variance + 1e-5))[:, None]
