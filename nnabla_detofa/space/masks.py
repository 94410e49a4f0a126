"""Masks of operations and stems: what of one its paths can use, and the mask of a few choices (Table 1)."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import ConfigError, SpaceError
from .structure import Structure


def of_choices(
    structure: Structure,
    depths: Iterable[int] | None,
    widths: Iterable[float] | None,
    expands: Iterable[float] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which (depth, width, expand) and which stems (residual block, width 1, width 2) use these choices alone; bool.

    None stands for all choices. The stem's residual block is left out only by paths that may also be less deep than
    the deepest, as in the host, where the stem's depth is one more depth gene. ConfigError for what is no choice.
    """
    d = _mask("depths", structure.depths, depths)
    w = _mask("widths", structure.widths, widths)
    e = _mask("expands", structure.expands, expands)
    residual = np.array([d[:-1].any() or len(d) == 1, d[-1] or len(d) == 1])
    stem = residual[:, None, None] & w[:, None] & w
    return d[:, None, None] & w[:, None] & e, stem if structure.elastic_stem else structure.stems()


def _mask(name: str, choices: tuple, given: Any) -> np.ndarray:
    if given is None:
        return np.ones(len(choices), bool)
    values = list(given) if isinstance(given, (list, tuple)) else []
    if not values or not all(value in choices for value in values):
        raise ConfigError(f"{name} is {given!r}; it must be a list of the space's choices, {list(choices)}")
    return np.isin(choices, values)


def ways(structure: Structure, allowed: np.ndarray, stage: int) -> list[list[int]]:
    """For each depth and width of a stage, the number of allowed expands of each of its blocks."""
    counts = allowed[stage].sum(axis=-1)  # (blocks, depths, widths)
    return [
        [int(c) for c in counts[: structure.base_depths[stage] + depth, d, w]]
        for d, depth in enumerate(structure.depths)
        for w in range(len(structure.widths))
    ]


def only_usable(structure: Structure, allowed: np.ndarray) -> np.ndarray:
    """`allowed` without the operations of a depth and width that lack an expand in some block."""
    blocks = np.add.outer(structure.base_depths, structure.depths)  # (stages, depths)
    unused = np.arange(allowed.shape[1])[None, :, None] >= blocks[:, None, :]
    complete = (allowed.any(axis=-1) | unused[..., None]).all(axis=1)  # (stages, depths, widths)
    for stage in np.flatnonzero(~complete.any(axis=(1, 2))):
        raise SpaceError(f"stage {stage} is left without a complete path; some depth and width needs every block")
    return allowed & complete[:, None, :, :, None]
