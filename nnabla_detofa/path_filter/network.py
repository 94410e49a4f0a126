"""The path filter's transformer as an NNabla graph (section 3.1.1, Figure 2); `scoring` is the same in NumPy.

Parameters are plain `nn.Variable`s in a dictionary, never in NNabla's global scope: two filters can live in one process
and a filter never ends up in the weights file of the supernet.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np

from ..errors import ConfigError
from ..options import Flag, Options, Whole
from ..space import TokenLayout

Size = Annotated[int, Whole(most=16384)]
Layers = Annotated[int, Whole(most=100)]
Switch = Annotated[bool, Flag()]


class Design(Options):
    """Sizes of the network, the two switches of Table 2 that change it, and ours: `main_effects`."""

    n_buckets: Annotated[int, Whole(most=1000)]
    budget_condition: Switch
    block_encoding: Switch
    dim: Size
    heads: Size
    layers: Layers
    hidden: Size
    main_effects: Switch

    def model_post_init(self, _context: Any) -> None:
        """ConfigError where the heads cannot share the dimensions."""
        if self.dim % self.heads:
            allowed = f"a multiple of the {self.heads} heads"
            raise ConfigError(key="path_filter.network.dim", given=self.dim, allowed=allowed)


def parameter_shapes(design: Design, layout: TokenLayout) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters by name, in the order in which their initial values are drawn.

    Layer norms have no gain and bias of their own and keys no bias: a linear map follows the former, the softmax
    cancels the latter. Main effects are a number for each row of the input table.
    """
    dim, hidden = design.dim, design.hidden
    block = {"query": (dim, dim), "key": (dim, dim), "value": (dim, dim), "attention": (dim, dim)}
    block |= {"hidden": (dim, hidden), "forward": (hidden, dim)}
    maps = {f"layer{layer}/{name}": shape for layer in range(design.layers) for name, shape in block.items()}
    maps |= {"head/hidden": (dim, hidden), "head/score": (hidden, 1)}
    budgets = design.n_buckets if design.budget_condition else 0
    shapes: dict[str, tuple[int, ...]] = {"token": (layout.vocabulary, dim)}
    if budgets:
        shapes["budget"] = (budgets, dim)
    for name, shape in maps.items():
        shapes[f"{name}/W"] = shape
        if not name.endswith("/key"):
            shapes[f"{name}/b"] = shape[1:]
    if design.main_effects:
        shapes["main"] = (len(layout.layer) * layout.vocabulary + budgets, 1)
    return shapes


def initial_weights(design: Design, layout: TokenLayout, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Embeddings from N(0, 0.3²), matrices uniform after Glorot, biases zero; float32.

    The last matrix of each residual branch starts at zero: a fresh filter scores tokens one by one, which is most of
    the truth where paths are few, and learns how they act on each other from there. Main effects start at zero, and the
    transformer beside them as well: what it adds to them is what it has learned.
    """
    zero = ("/b", "/attention/W", "/forward/W", "main", *(["head/score/W"] if design.main_effects else []))

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name.endswith(zero):
            return np.zeros(shape)
        if name in ("token", "budget"):
            return 0.3 * rng.standard_normal(shape)
        bound = np.sqrt(6.0 / sum(shape))
        return rng.uniform(-bound, bound, shape)

    return {name: draw(name, shape).astype(np.float32) for name, shape in parameter_shapes(design, layout).items()}


def score_graph(
    weights: dict[str, nn.Variable], design: Design, positions: np.ndarray, rows: nn.Variable
) -> nn.Variable:
    """Scores in (0, 1), shape (n, 1), of paths given as `rows` (n, T) of the input table; positions (L, dim)."""
    n, length = rows.shape
    flat = F.reshape(rows, (n * length,))
    table = _input_table(weights, positions)
    x = F.embed(flat, table)  # (n · T, dim): all but the attention works on single tokens

    def project_table(*linear: nn.Variable) -> nn.Variable:
        return F.embed(flat, F.affine(table, *linear))  # each row of the table once, and not each path's

    for layer in range(design.layers):
        own = {name.split("/", 1)[1]: value for name, value in weights.items() if name.startswith(f"layer{layer}/")}
        project = partial(F.affine, x) if layer else project_table
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
