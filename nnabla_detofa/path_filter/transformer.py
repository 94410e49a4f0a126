"""The path filter's transformer in NumPy (section 3.1.1, Figure 2): scores of paths, and slopes of a loss of them.

Threads share blocks of paths. Neither the blocks nor the order in which their slopes are added depends on the number of
threads, so results do not either.
"""

import threading
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from ..threads import THREADS, one_blas_thread, pool
from .encoding import Embedded
from .fused import Weights, fuse, under, unfuse
from .layers import Room, column_sums, encode, encode_back
from .network import Design

_BLOCK = 32  # paths at a time; 32 paths of 22 tokens and 128 dimensions are a third of a megabyte


def score(weights: Weights, design: Design, fixed: Embedded, rows: np.ndarray, dtype: type) -> np.ndarray:
    """Scores (n,) of the paths given as rows (n, T) of the input table; the sigmoid alone is of the `dtype`.

    Parameters:
        fixed: what the input table has beside the weights.
    """
    fused, parts = fuse(weights, design, fixed), _parts(len(rows))
    logits = np.empty(len(rows), fused["table"].dtype)

    def share(numbers: Iterable[int]) -> None:
        for number in numbers:
            own = rows[parts[number]]
            logits[parts[number]] = _own_block(own, design, fused).forward(fused, own)

    _in_threads(share, len(parts))
    return _sigmoid(logits.astype(dtype))


class Slopes:
    """A loss of the scores of a batch and its slopes in all weights; batches share the memory of the first."""

    def __init__(self, design: Design, fixed: Embedded) -> None:
        self._design, self._fixed = design, fixed
        self._blocks: list[_Block] = []

    def __call__(
        self, weights: Weights, rows: np.ndarray, loss: Callable[[np.ndarray], tuple[float, np.ndarray]]
    ) -> tuple[float, Weights]:
        """The loss, and its slopes by the name of the weight.

        Parameters:
            rows: (n, T), as in `score`; of one shape at every call.
            loss: from scores (n,) in double precision to a loss and its slopes in them, (n,).
        """
        fused, parts = fuse(weights, self._design, self._fixed), _parts(len(rows))
        if not self._blocks:
            self._blocks = [_Block(rows[part].shape, self._design, fused, backwards=True) for part in parts]
        logits = np.empty(len(rows), fused["table"].dtype)
        found: list[Weights] = [{} for _ in parts]

        def forward(numbers: Iterable[int]) -> None:
            for number in numbers:
                logits[parts[number]] = self._blocks[number].forward(fused, rows[parts[number]])

        def backward(numbers: Iterable[int]) -> None:
            for number in numbers:
                own, spare = rows[parts[number]], _own_block(rows[parts[number]], self._design, fused)
                found[number] = self._blocks[number].backward(fused, own, slopes[parts[number]], spare.rooms[0])

        _in_threads(forward, len(parts))
        scores = _sigmoid(logits.astype(np.float64))
        value, slopes = loss(scores)
        slopes = (slopes * scores * (1 - scores)).astype(logits.dtype)  # of the logits
        _in_threads(backward, len(parts))
        total = {name: reduce(np.add, (one[name] for one in found)) for name in found[0]}
        return value, unfuse(total, weights, fused, self._design, self._fixed)


class _Block:
    """The rooms of all layers for n paths of T tokens; where nothing goes backwards they are one room."""

    def __init__(self, shape: tuple[int, ...], design: Design, fused: Weights, *, backwards: bool) -> None:
        n, length = shape
        between = [
            np.empty((n * length, design.dim), fused["table"].dtype)
            for _ in range(design.layers + 1 if backwards else 1)
        ]
        ends = pairwise(between) if backwards else [(between[0], between[0])]
        self.rooms = [Room(n, design.heads, design.hidden, x, out) for x, out in ends]
        if not backwards:
            self.rooms *= design.layers

    def forward(self, fused: Weights, rows: np.ndarray) -> np.ndarray:
        """The logits (n,) of the paths given as rows (n, T)."""
        first, last = self.rooms[0], self.rooms[-1]
        np.take(fused["table"], rows, axis=0, out=first.x.reshape(*rows.shape, -1), mode="clip")
        np.take(fused["projected"], rows, axis=0, out=first.qkv.reshape(*rows.shape, -1), mode="clip")
        for layer, room in enumerate(self.rooms):
            own = under(fused, layer)
            if layer:
                np.matmul(room.x, own["qkv/W"], out=room.qkv)
                room.qkv[:, : room.x.shape[1]] += own["query/b"]
            encode(own, room)
        self._mean = np.full(rows.shape[1], 1 / rows.shape[1], last.out.dtype) @ last.out.reshape(*rows.shape, -1)
        self._inner = np.maximum(self._mean @ fused["head/hidden/W"] + fused["head/hidden/b"], 0)
        logits = (self._inner @ fused["head/score/W"] + fused["head/score/b"])[:, 0]
        return logits + fused["main"][rows, 0].sum(axis=1) if "main" in fused else logits

    def backward(self, fused: Weights, rows: np.ndarray, slopes: np.ndarray, spare: Room) -> Weights:
        """The slopes of the fused weights from those of the logits that `forward` gave last, (n,)."""
        found = {"head/score/W": self._inner.T @ slopes[:, None], "head/score/b": slopes.sum(keepdims=True)}
        inner = np.outer(slopes, fused["head/score/W"]) * (self._inner > 0)
        found |= {"head/hidden/W": self._mean.T @ inner, "head/hidden/b": inner.sum(axis=0)}
        mean = inner @ fused["head/hidden/W"].T
        spare.out.reshape(*rows.shape, -1)[:] = mean[:, None] / rows.shape[1]
        for layer, room in reversed(list(enumerate(self.rooms))):
            own = under(fused, layer)
            back = encode_back(own, room, spare)
            if layer:
                back |= {"qkv/W": room.x.T @ spare.qkv, "query/b": column_sums(spare.qkv[:, : room.x.shape[1]])}
                spare.out += np.matmul(spare.qkv, own["qkv/W"].T, out=spare.middle)
            found |= {f"layer{layer}/{name}": slope for name, slope in back.items()}
        n_rows = len(fused["table"])
        taken = csr_array(
            (np.ones(rows.size, slopes.dtype), rows.ravel(), np.arange(rows.size + 1)), (rows.size, n_rows)
        )
        found |= {"table": taken.T @ spare.out, "projected": taken.T @ spare.qkv}
        if "main" in fused:
            found["main"] = taken.T @ np.repeat(slopes, rows.shape[1])[:, None]
        return found


class _Own(threading.local):
    """What each thread has for itself: the block that it used last, by what the block is for."""

    block: tuple[tuple, _Block] | None = None


_OWN = _Own()


def _own_block(rows: np.ndarray, design: Design, fused: Weights) -> _Block:
    """The thread's block for rows (n, T) where nothing goes backwards.

    It is kept from call to call: to make it anew takes a sixth of the time of all that is done in it.
    """
    use = (rows.shape, design, fused["table"].dtype)
    if _OWN.block is None or _OWN.block[0] != use:
        _OWN.block = use, _Block(rows.shape, design, fused, backwards=False)
    return _OWN.block[1]


def _parts(n: int) -> list[slice]:
    """The blocks of n paths: as few as can be, of one size but for the last."""
    size = -(-n // max(1, -(-n // _BLOCK)))
    return [slice(start, min(start + size, n)) for start in range(0, n, max(1, size))]


def _in_threads(share: Callable[[Iterable[int]], None], blocks: int) -> None:
    """Each thread's `share` of the numbers of the blocks."""

    def own(first: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # of this thread; the loss shows it
            share(range(first, blocks, THREADS))

    with one_blas_thread():
        waiting = [pool().submit(own, first) for first in range(1, min(THREADS, blocks))]
        own(0)
        for future in waiting:
            future.result()


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(np.clip(-logits, -80, 80)))
