"""An encoder layer of the path filter, forwards and backwards (section 3.1.1), in arrays that are allocated once.

A layer is a residual branch and a layer norm, twice: attention between the tokens of a path, then two linear maps of
single tokens. Tokens lie below each other, (n · T, dim) for n paths of T tokens. Few paths at a time stay in the cache,
so that what remains is matrix products. The slope of an array is what the loss gains for a small change of it.
"""

import numpy as np

_LARGEST = 80  # of the attention's logits as they are: the exponential of single precision ends at 88


class Room:
    """The arrays that a layer fills for n paths of T tokens, and their shapes as the attention sees them.

    Parameters:
        n: number of paths.
        x, out: (n · T, dim), the layer's input and output; one array where nothing goes backwards.
        hidden: width between the two linear maps.
    """

    def __init__(self, n: int, heads: int, hidden: int, x: np.ndarray, out: np.ndarray) -> None:
        tokens, dim = x.shape
        self.x, self.out = x, out
        self.mixed, self.middle = np.empty_like(x), np.empty_like(x)  # behind the attention, and behind its norm
        self.inner, self.zeros = np.empty((tokens, hidden), x.dtype), np.zeros(hidden, x.dtype)
        self.qkv = np.empty((tokens, 3 * dim), x.dtype)

        def by_head(of: np.ndarray, parts: int) -> np.ndarray:
            return of.reshape(n, tokens // n, parts, heads, -1).transpose(2, 0, 3, 1, 4)  # (parts, n, heads, T, width)

        self.query, self.key, self.value = by_head(self.qkv, 3)
        (self.by_head,) = by_head(self.mixed, 1)
        self.weight = np.empty((n, heads, tokens // n, tokens // n), x.dtype)  # from queries (rows) to keys
        self.scales = np.empty((2, tokens), x.dtype)  # of the two norms


def encode(own: dict[str, np.ndarray], room: Room) -> None:
    """`room.out` from `room.x` and the queries, keys and values in `room.qkv`, by the layer's `own` weights."""
    _attend(room)
    np.matmul(room.mixed, own["attention/W"], out=room.middle)
    _add_and_norm(room.middle, room.x, own["attention/b"], room.scales[0])
    np.matmul(room.middle, own["hidden/W"], out=room.inner)
    room.inner += own["hidden/b"]
    np.maximum(room.inner, room.zeros, out=room.inner)  # beside a scalar it would take three times as long
    np.matmul(room.inner, own["forward/W"], out=room.out)
    _add_and_norm(room.out, room.middle, own["forward/b"], room.scales[1])


def encode_back(own: dict[str, np.ndarray], room: Room, slopes: Room) -> dict[str, np.ndarray]:
    """The slopes of the layer's weights, by name.

    `slopes` has those of a room's arrays: its `out` that of `room.out`, and afterwards its `out` that of `room.x` as
    the residual branch has it, and its `qkv` that of `room.qkv`.
    """
    slope = slopes.out
    _norm_back(slope, room.out, room.scales[1], slopes.middle)
    found = {"forward/W": room.inner.T @ slope, "forward/b": column_sums(slope)}
    np.matmul(slope, own["forward/W"].T, out=slopes.inner)
    slopes.inner *= room.inner > 0
    found |= {"hidden/W": room.middle.T @ slopes.inner, "hidden/b": column_sums(slopes.inner)}
    slope += np.matmul(slopes.inner, own["hidden/W"].T, out=slopes.middle)
    _norm_back(slope, room.middle, room.scales[0], slopes.middle)
    found |= {"attention/W": room.mixed.T @ slope, "attention/b": column_sums(slope)}
    np.matmul(slope, own["attention/W"].T, out=slopes.mixed)
    _attend_back(room, slopes)
    return found


def column_sums(x: np.ndarray) -> np.ndarray:
    """Sums (columns,) of the rows of x, as a product, which is three times as fast."""
    return np.ones(len(x), x.dtype) @ x


def _attend(room: Room) -> None:
    """Multi-head attention from the queries, keys and values of `room` into its `mixed`."""
    weight = np.matmul(room.query, room.key.swapaxes(2, 3), out=room.weight)
    if weight.max() > _LARGEST or weight.min() < -_LARGEST:  # without this question it takes ten times as long
        weight -= weight.max(axis=3, keepdims=True)
    np.exp(weight, out=weight)
    weight /= (weight @ np.ones(weight.shape[3], weight.dtype))[..., None]  # their sum
    np.matmul(weight, room.value, out=room.by_head)


def _attend_back(room: Room, slopes: Room) -> None:
    """The slopes of queries, keys and values from that of `mixed`."""
    np.matmul(room.weight.swapaxes(2, 3), slopes.by_head, out=slopes.value)
    weight = np.matmul(slopes.by_head, room.value.swapaxes(2, 3), out=slopes.weight)
    weight -= np.einsum("nhqk,nhqk->nhq", weight, room.weight)[..., None]
    weight *= room.weight  # that of the logits
    np.matmul(weight, room.key, out=slopes.query)
    np.matmul(weight.swapaxes(2, 3), room.query, out=slopes.key)


def _add_and_norm(y: np.ndarray, x: np.ndarray, bias: np.ndarray, scale: np.ndarray) -> None:
    """y becomes the layer norm of the rows of x + y + bias, whose means are zero (`fused`), by this `scale`."""
    y += x
    y += bias
    np.divide(1, np.sqrt(np.einsum("ij,ij->i", y, y) / y.shape[1] + 1e-5), out=scale)
    y *= scale[:, None]


def _norm_back(slope: np.ndarray, y: np.ndarray, scale: np.ndarray, spare: np.ndarray) -> None:
    """`slope` of a layer norm's result y becomes that of the sum before it."""
    slope -= np.multiply(y, (np.einsum("ij,ij->i", slope, y) / y.shape[1])[:, None], out=spare)
    slope *= scale[:, None]
