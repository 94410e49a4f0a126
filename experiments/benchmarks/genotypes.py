"""The paths that every side steps through."""

from functools import cache

import numpy as np

from nnabla_detofa.space import SearchSpace


@cache
def genotypes(n: int, width_scale: float = 1.0) -> list[dict]:
    """n uniform paths as {"d", "e", "w"}, the same at each call."""
    space = SearchSpace.ofa_resnet50(width_scale=width_scale)
    return [space.genotype(path) for path in space.sample(n, np.random.default_rng(0))]
