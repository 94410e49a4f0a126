"""Sizes and parameters of the path filter's transformer (section 3.1.1, Figure 2); `transformer` computes with them."""

from typing import Annotated, Any

import numpy as np

from ..errors import ConfigError
from ..options import Flag, Options, Whole
from ..space import TokenLayout
from .encoding import by_value

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
    cancels the latter. A position that is embedded by value has two vectors, w and w₂.
    Main effects are a number for each row of the input table, by value or not.
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
    if n_by_value := len(by_value(layout)[0]):
        shapes["value"] = (2 * n_by_value, dim)
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
        if name in ("token", "budget", "value"):
            return 0.3 * rng.standard_normal(shape)
        bound = np.sqrt(6.0 / sum(shape))
        return rng.uniform(-bound, bound, shape)

    return {name: draw(name, shape).astype(np.float32) for name, shape in parameter_shapes(design, layout).items()}
