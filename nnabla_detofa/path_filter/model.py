"""The path filter g(a; θ_p) (section 3.1): scores that order the paths of one bucket, higher is better."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ..errors import ConfigError, WeightsError
from ..options import Value, checked
from ..space import TokenLayout
from . import store
from .encoding import checked_layout, embedded, table_rows
from .network import Design, Layers, Size, Switch, initial_weights, parameter_shapes
from .transformer import score

AUTO: Literal["auto"] = "auto"
FLAG_OR_AUTO = Value("true, false or auto", lambda value: isinstance(value, bool) or value == AUTO)


class PathFilter:
    """A transformer over the tokens of a path and its budget, with the weights it has now.

    Parameters:
        layout: vocabulary, and layer and block index of each token.
        n_buckets: number of budgets.
        rng: draws the initial weights.
        main_effects: add a number for each token at each position to the transformer's logit (not in the paper); `fit`
            starts them from ridge regression, so that few measured paths are enough for what is additive. "auto": what
            the filter that this one starts from has, and true where it starts from none.

    Raises:
        ConfigError: a layout or size that no filter can have.
    """

    @checked("path_filter.network", "rng")
    def __init__(
        self,
        layout: TokenLayout,
        n_buckets: int = 5,
        *,
        rng: np.random.Generator,
        budget_condition: Annotated[Switch, "the budget as a token, a switch of Table 2"] = True,
        block_encoding: Annotated[Switch, "the block's positional encoding, a switch of Table 2"] = True,
        main_effects: Annotated[bool | Literal["auto"], FLAG_OR_AUTO] = AUTO,
        dim: Size = 128,
        heads: Size = 4,
        layers: Layers = 3,
        hidden: Size = 128,
    ) -> None:
        self.layout = checked_layout(layout)
        self._auto = main_effects == AUTO
        design: dict[str, Any] = {"n_buckets": n_buckets, "budget_condition": budget_condition}
        design |= {"block_encoding": block_encoding, "dim": dim, "heads": heads, "layers": layers, "hidden": hidden}
        self.design = Design.of("path_filter.network", {**design, "main_effects": self._auto or main_effects})
        self.fixed = embedded(self.layout, self.design.dim, block_encoding=block_encoding)
        self.parameters = initial_weights(
            self.design, self.layout, rng
        )  # the weights themselves, to be changed in place

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Copies of the parameters by name, float32."""
        return {name: value.copy() for name, value in self.parameters.items()}

    @weights.setter
    def weights(self, values: dict[str, np.ndarray]) -> None:
        for name, value in self.parameters.items():
            value[:] = values[name]

    def rows(self, tokens: np.ndarray, buckets: np.ndarray) -> np.ndarray:
        """The checked paths as rows of the input table, (n, T); see `encoding.table_rows`.

        Raises:
            ConfigError: a shape, token or bucket that this filter does not have.
        """
        tokens, buckets = np.asarray(tokens), np.asarray(buckets)
        length = len(self.layout.layer)
        if tokens.ndim != 2 or tokens.shape[1] != length or buckets.shape != tokens.shape[:1]:
            given = f"tokens have shape {tokens.shape} and buckets {buckets.shape}"
            raise ConfigError(f"{given}; this path filter takes (n, {length}) and (n,)")
        _require_index("tokens", tokens, self.layout.vocabulary)
        _require_index("buckets", buckets, self.design.n_buckets)
        return table_rows(self.layout, tokens, buckets if self.design.budget_condition else None)

    def score(self, tokens: np.ndarray, buckets: np.ndarray, *, dtype: type = np.float32) -> np.ndarray:
        """Scores (n,) in (0, 1), higher is better; only scores of one bucket compare.

        Parameters:
            tokens: (n, L) int in 0 … vocabulary - 1.
            buckets: (n,) int in 0 … n_buckets - 1.
            dtype: of the scores. A search wants double precision, which tells the best paths apart where single
                precision gives 1 to all of them.
        """
        return score(self.parameters, self.design, self.fixed, self.rows(tokens, buckets), dtype)

    def save(self, file: str | Path, *, space: Mapping[str, object] | None = None) -> None:
        """Writes layout, design and weights to one HDF5 file, in one step: a reader sees the old file or the new.

        Parameters:
            space: what else the scores are of, by name, as JSON holds it; tokens alone do not tell 0.65 from 0.5.
        """
        layout = {
            name: part for name, part in self.layout._asdict().items() if part != ()
        }  # as before there were values
        described = {"layout": layout, "design": dict(self.design)}
        store.write(Path(file), described | ({} if space is None else {"space": dict(space)}), self.weights)

    @classmethod
    def load(
        cls, file: str | Path, *, layout: TokenLayout | None = None, space: Mapping[str, object] | None = None
    ) -> "PathFilter":
        """The path filter that `save` wrote.

        Parameters:
            layout: the layout it must have, any where None.
            space: the space it must have been saved with, any where None; a file that says nothing of it passes.

        Raises:
            WeightsError: no such file, not a path filter, damaged, or of another layout or space.
        """
        file = Path(file)
        header, weights = store.read(file)
        try:
            own, design = checked_layout(TokenLayout(**header["layout"])), Design.of("design", header["design"])
            stored_space = dict(header.get("space", space or {}))
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{file}: the header describes no path filter ({error})") from error
        store.require_shapes(file, weights, parameter_shapes(design, own))  # before a network of such sizes is made
        if space is not None:
            store.require_agreement(file, "space", stored_space, space)
        if layout is not None:
            store.require_agreement(file, "layout", own._asdict(), checked_layout(layout)._asdict())
        path_filter = cls(own, **dict(design), rng=np.random.default_rng(0))
        path_filter.weights = weights
        return path_filter

    def start_from(self, file: str | Path, *, space: Mapping[str, object] | None = None) -> None:
        """Take over the weights of a saved filter, for `fit` to go on from (pre-training, Section 3.1.2).

        Where `main_effects` is "auto", whether there are any is taken over as well.

        Raises:
            ConfigError: what is given names no file.
            WeightsError: as `load`, for another layout or space than this filter's; and for another design, the number
                of buckets among it, which every option of the constructor is part of.
        """
        if not isinstance(file, (str, Path)):
            raise ConfigError(key="path_filter.pretrained", given=file, allowed="the name of a file, or null")
        stored = PathFilter.load(file, layout=self.layout, space=space)
        wanted = dict(self.design)
        if self._auto:
            wanted["main_effects"] = stored.design.main_effects
        store.require_agreement(Path(file), "design", dict(stored.design), wanted)
        self.design, self.parameters = stored.design, stored.parameters


def _require_index(name: str, values: np.ndarray, end: int) -> None:
    if values.dtype.kind not in "iu":
        raise ConfigError(f"{name} are {values.dtype}; they must be whole numbers")
    if values.size and not (values.min() >= 0 and values.max() < end):
        raise ConfigError(f"{name} lie in {values.min()} … {values.max()}; this path filter takes 0 … {end - 1}")
