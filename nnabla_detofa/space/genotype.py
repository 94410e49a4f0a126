"""Paths and spaces as others write them: the host's genotype {"d", "e", "w"}, and JSON."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigError, SpaceError, WeightsError
from .structure import STEM_GENES, Structure

if TYPE_CHECKING:
    from .search_space import SearchSpace


def _stem_on(structure: Structure) -> int:
    """The depth that stands for a stem with its residual block: the host keeps it for the largest depth alone."""
    return structure.depths[-1] or 1


def to_genotype(space: "SearchSpace", path: np.ndarray) -> dict[str, list]:
    """Depths and expands by value, widths by index; unused expands, which the host needs filled, at their smallest."""
    structure = space.structure
    path = np.asarray(path)
    if path.ndim != 1 or not space.contains(path[None])[0]:
        raise SpaceError(f"{path.tolist()} is not one path of this space")
    stages = [path[columns] for columns in structure.stage_columns]
    return {
        "d": [_stem_on(structure) * int(path[0]), *(structure.depths[genes[0]] for genes in stages)],
        "e": [structure.expands[max(e, 0)] for genes in stages for e in genes[2:]],
        "w": [int(path[1]), int(path[2]), *(int(genes[1]) for genes in stages)],
    }


def from_genotype(space: "SearchSpace", given: Mapping[str, Sequence]) -> np.ndarray:
    """The row of a genotype; expands of blocks that the depth leaves out are not looked at.

    As in the host, the stem keeps its residual block at the largest depth alone.
    """
    structure = space.structure
    lengths = {"d": 5, "e": sum(structure.layers), "w": 6}
    for key, length in lengths.items():
        if not isinstance(given, Mapping) or not isinstance(given.get(key), Sequence) or len(given[key]) != length:
            raise ConfigError(
                f"genotype {given!r} is not of the form {{d: 5 depths, e: {lengths['e']} expands, w: 6 indices}}"
            )
    stem_on = _stem_on(structure)
    _index("d", given["d"][0], sorted({0, *structure.depths, stem_on}))
    depth = [_index("d", value, structure.depths) for value in given["d"][1:]]
    width = [_index("w", value, range(len(structure.widths))) for value in given["w"]]
    path = np.full(structure.n_genes, -1, np.int8)
    path[:STEM_GENES] = given["d"][0] == stem_on, width[0], width[1]
    expands = iter(given["e"])
    for stage, columns in enumerate(structure.stage_columns):
        blocks = structure.base_depths[stage] + structure.depths[depth[stage]]
        values = [next(expands) for _ in range(structure.layers[stage])][:blocks]
        path[columns[: 2 + blocks]] = (
            depth[stage],
            width[2 + stage],
            *(_index("e", v, structure.expands) for v in values),
        )
    path = structure.canonical_rows(path[None])[0]
    if not space.contains(path[None])[0]:
        raise SpaceError(f"genotype {dict(given)!r} is not a path of this space; pruning or coupling excludes it")
    return path


def _index(key: str, value: object, choices: Sequence) -> int:
    for index, choice in enumerate(choices):
        if value == choice:
            return index
    raise ConfigError(f"genotype has {value!r} in {key}; allowed: {', '.join(map(str, choices))}")


def space_from_dict(cls: type, given: Mapping, within: "SearchSpace | None") -> "SearchSpace":
    """See `SearchSpace.from_dict`."""
    try:
        structure = Structure.from_dict(given["structure"])
        allowed = _without("an operation", structure.operations(), given["dropped"])
        stem = _without("a stem", structure.stems(), given.get("dropped_stems", []))
        space = cls(structure, allowed, stem=stem)
        size = given["size"]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is not the description of a search space: {error}") from None
    if space.size() != size:
        raise ConfigError(f"the description says {size} paths but its operations make {space.size()}")
    if within is not None and within.structure != structure:
        ours, theirs = ({"merge_equal_choices": False, **one.to_dict()} for one in (within.structure, structure))
        differing = "; ".join(f"{key} is {theirs[key]}, not {ours[key]}" for key in ours if ours[key] != theirs[key])
        raise WeightsError(f"the described space is another one: {differing}")
    return space


def _without(kind: str, exists: np.ndarray, dropped: Sequence) -> np.ndarray:
    """The mask `exists` without the places in `dropped`; ConfigError for a place where nothing exists."""
    places = np.array(dropped, np.intp).reshape(-1, exists.ndim)
    if not ((places >= 0) & (places < exists.shape)).all() or not exists[tuple(places.T)].all():
        raise ConfigError(f"it drops {kind} that the structure does not have")
    left = exists.copy()
    left[tuple(places.T)] = False
    return left
