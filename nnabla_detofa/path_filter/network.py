"""The path filter's transformer as an NNabla graph (section 3.1.1, Figure 2); `scoring` is the same in NumPy.

Parameters are plain `nn.Variable`s in a dictionary, never in NNabla's global scope: two filters can live in one process
and a filter never ends up in the weights file of the supernet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np

from ..errors import ConfigError, require_whole

MOST = {"n_buckets": 1000, "dim": 4096, "heads": 4096, "layers": 100, "hidden": 16384}


@dataclass(frozen=True)
class Design:
    """Sizes of the network, the two switches of Table 2 that change it, and ours: `main_effects`."""

    n_buckets: int
    budget_condition: bool
    block_encoding: bool
    dim: int
    heads: int
    layers: int
    hidden: int
    main_effects: bool

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            value = require_whole(f"path filter: {name}", getattr(self, name), most=most)
            object.__setattr__(self, name, value)
        for name in ("budget_condition", "block_encoding", "main_effects"):
            if not isinstance(getattr(self, name), bool):
                allowed = "true, false or auto" if name == "main_effects" else "true or false"
                raise ConfigError(f"path filter: {name} is {getattr(self, name)!r}; it must be {allowed}")
        if self.dim % self.heads:
            raise ConfigError(f"path filter: dim {self.dim} is not a multiple of the {self.heads} heads")


def initial_weights(design: Design, vocabulary: int, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Embeddings from N(0, 0.3²), matrices uniform after Glorot, biases zero; float32.

    The last matrix of each residual branch starts at zero: a fresh filter scores tokens one by one, which is most of
    the truth where paths are few, and learns how they act on each other from there. Layer norms have no gain and bias
    of their own and keys no bias: a linear map follows the former, the softmax cancels the latter. Main effects, a
    number for each token at each of the `length` positions, start at zero, and the transformer beside them as well:
    what it adds to them is what it has learned.
    """

    def matrix(rows: int, columns: int) -> np.ndarray:
        bound = np.sqrt(6.0 / (rows + columns))
        return rng.uniform(-bound, bound, (rows, columns)).astype(np.float32)

    def linear(name: str, rows: int, columns: int, *, zero: bool = False) -> dict[str, np.ndarray]:
        weight = np.zeros((rows, columns), np.float32) if zero else matrix(rows, columns)
        return {f"{name}/W": weight, f"{name}/b": np.zeros(columns, np.float32)}

    def embedding(rows: int) -> np.ndarray:
        return (0.3 * rng.standard_normal((rows, dim))).astype(np.float32)

    dim, hidden = design.dim, design.hidden
    weights = {"token": embedding(vocabulary)}
    if design.budget_condition:
        weights["budget"] = embedding(design.n_buckets)
    for layer in range(design.layers):
        weights |= linear(f"layer{layer}/query", dim, dim)
        weights[f"layer{layer}/key/W"] = matrix(dim, dim)
        weights |= linear(f"layer{layer}/value", dim, dim)
        weights |= linear(f"layer{layer}/attention", dim, dim, zero=True)
        weights |= linear(f"layer{layer}/hidden", dim, hidden)
        weights |= linear(f"layer{layer}/forward", hidden, dim, zero=True)
    weights |= linear("head/hidden", dim, hidden) | linear("head/score", hidden, 1, zero=design.main_effects)
    if design.main_effects:
        weights["main"] = np.zeros((length * vocabulary + design.budget_condition * design.n_buckets, 1), np.float32)
    return weights


def score_graph(
    weights: dict[str, nn.Variable], design: Design, positions: np.ndarray, rows: nn.Variable
) -> nn.Variable:
    """Scores in (0, 1), shape (n, 1), of paths given as `rows` (n, T) of the input table; positions (L, dim)."""
    n, length = rows.shape
    flat = F.reshape(rows, (n * length,))
    table = _input_table(weights, positions)
    x = F.embed(flat, table)  # (n · T, dim): all but the attention works on single tokens
    for layer in range(design.layers):
        own = {name.split("/", 1)[1]: value for name, value in weights.items() if name.startswith(f"layer{layer}/")}
        project = partial(_project_table, table, flat) if layer == 0 else partial(F.affine, x)
        x = _norm(x + _attention(own, project, n, length, design))
        inner = F.relu(F.affine(x, own["hidden/W"], own["hidden/b"]))
        x = _norm(x + F.affine(inner, own["forward/W"], own["forward/b"]))
    mean = F.mean(F.reshape(x, (n, length, design.dim)), axis=1)
    inner = F.relu(F.affine(mean, weights["head/hidden/W"], weights["head/hidden/b"]))
    logit = F.affine(inner, weights["head/score/W"], weights["head/score/b"])
    if design.main_effects:
        logit = logit + F.sum(F.reshape(F.embed(flat, weights["main"]), (n, length)), axis=1, keepdims=True)
    return F.sigmoid(logit)


def _input_table(weights: dict[str, nn.Variable], positions: np.ndarray) -> nn.Variable:
    """(L · vocabulary [+ n_buckets], dim), in the order of `encoding.table_rows`."""
    vocabulary, dim = weights["token"].shape
    where = nn.Variable.from_numpy_array(positions[:, None])  # (L, 1, dim)
    table = F.reshape(where + F.reshape(weights["token"], (1, vocabulary, dim)), (len(positions) * vocabulary, dim))
    return F.concatenate(table, weights["budget"], axis=0) if "budget" in weights else table


def _project_table(table: nn.Variable, flat: nn.Variable, *linear: nn.Variable) -> nn.Variable:
    """The linear map of the rows `flat` of the table: of each row of the table once."""
    return F.embed(flat, F.affine(table, *linear))


def _attention(
    own: dict[str, nn.Variable], project: Callable[..., nn.Variable], n: int, length: int, design: Design
) -> nn.Variable:
    """Multi-head self-attention over the tokens of each path, (n · T, dim); `project` takes a weight and a bias."""
    width = design.dim // design.heads

    def heads(x: nn.Variable) -> nn.Variable:
        x = F.transpose(F.reshape(x, (n, length, design.heads, width)), (0, 2, 1, 3))
        return F.reshape(x, (n * design.heads, length, width))

    scale = width**-0.5
    query = heads(project(own["query/W"] * scale, own["query/b"] * scale))
    key, value = heads(project(own["key/W"])), heads(project(own["value/W"], own["value/b"]))
    weight = F.softmax(F.batch_matmul(query, key, transpose_b=True), axis=2)
    mixed = F.reshape(F.batch_matmul(weight, value), (n, design.heads, length, width))
    mixed = F.reshape(F.transpose(mixed, (0, 2, 1, 3)), (n * length, design.dim))
    return F.affine(mixed, own["attention/W"], own["attention/b"])


def _norm(x: nn.Variable) -> nn.Variable:
    """Layer norm of (tokens, dim); two axes, because NNabla's CPU kernel is several times slower with three."""
    return F.layer_normalization(x, None, None, batch_axis=0, eps=1e-5)
