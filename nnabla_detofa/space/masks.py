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
    """Which operations and which stems (residual block, width 1, width 2) use these choices alone; bool.

    A choice that is merged is used where one of those it stands for is. None stands for all choices. The stem's
    residual block is left out only by paths that may also be less deep than the deepest, as in the host, where the
    stem's depth is one more depth gene. ConfigError for what is no choice.
    """
    d = _mask("depths", structure.depths, depths)
    w = _mask("widths", structure.widths, widths)
    e = _mask("expands", structure.expands, expands)
    stands = structure.canonical
    of_stage, of_block = _stood_for(stands.stage_out, w), _stood_for(stands.middle, e)  # (stages, W), (stages, W, E)
    operations = d[:, None, None] & of_stage[:, None, None, :, None] & of_block[:, None, None]
    if not structure.elastic_stem:
        return operations, structure.stems()
    residual = np.array([d[:-1].any() or len(d) == 1, d[-1] or len(d) == 1])
    first, second = _stood_for(stands.stem_mid, w), _stood_for(stands.stem_out, w)
    return operations, residual[:, None, None] & first[:, None] & second


def _stood_for(stands: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Which choices stand for one of the `chosen` (choices,); bool, of the shape of `stands` (…, choices)."""
    return ((stands[..., None] == np.arange(len(chosen))) & chosen[:, None]).any(axis=-2)


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
