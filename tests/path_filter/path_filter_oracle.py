"""The path filter as NNabla graphs, plainly written: what scores, slopes and steps in NumPy have to equal."""

from collections.abc import Callable
from functools import partial

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import nnabla.solvers as S  # noqa: N812
import numpy as np

from nnabla_detofa.path_filter import PathFilter
from nnabla_detofa.path_filter.network import Design
from nnabla_detofa.path_filter.objectives import Objective, Ranking


class Oracle:
    """A copy of a path filter whose scores (n, 1) of the paths `rows` (n, T) and whose `loss` of them are graphs."""

    def __init__(self, path_filter: PathFilter, rows: np.ndarray, aim: Objective, targets: np.ndarray) -> None:
        self.weights = {
            name: nn.Variable.from_numpy_array(x, need_grad=True) for name, x in path_filter.weights.items()
        }
        place = nn.Variable.from_numpy_array(rows)
        with nn.auto_forward(False):
            self.scores = _score_graph(self.weights, path_filter.design, path_filter.fixed.positions, place)
            self.loss = loss_graph(aim, self.scores, targets)

    def forward(self) -> np.ndarray:
        """The scores (n,)."""
        self.loss.forward()
        return self.scores.d[:, 0].copy()

    def slopes(self) -> dict[str, np.ndarray]:
        """The slopes of the loss in the weights, by name."""
        for variable in self.weights.values():
            variable.grad.zero()
        self.loss.forward()
        self.loss.backward()
        return {name: variable.g.copy() for name, variable in self.weights.items()}


def adam_steps(
    weights: dict[str, np.ndarray], slopes: list[dict[str, np.ndarray]], learning_rate: float, weight_decay: float
) -> dict[str, np.ndarray]:
    """The weights after a step of NNabla's Adam for each of the slopes."""
    variables = {name: nn.Variable.from_numpy_array(value.copy(), need_grad=True) for name, value in weights.items()}
    adam = S.Adam(learning_rate)
    adam.set_parameters(variables)
    for one in slopes:
        for name, variable in variables.items():
            variable.g = one[name]
        adam.weight_decay(weight_decay)
        adam.update()
    return {name: variable.d.copy() for name, variable in variables.items()}


def loss_graph(aim: Objective, scores: nn.Variable, targets: np.ndarray) -> nn.Variable:
    """The objective of scores (n, 1)."""
    if not isinstance(aim, Ranking):
        return F.mean(F.binary_cross_entropy(scores, nn.Variable.from_numpy_array(targets[:, None])))
    shortfall = F.relu(aim.margin - (scores - F.transpose(scores, (1, 0))))
    return F.sum(nn.Variable.from_numpy_array(targets) * shortfall * shortfall)


def _score_graph(
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
