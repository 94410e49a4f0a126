"""A space as JSON holds it: its family, its size, and the operations and stems that it does not allow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, WeightsError
from .family import Family
from .masks import operation_places
from .mobilenetv3 import MobileNetV3
from .resnet50 import ResNet50
from .xception import Xception

FAMILIES: dict[str, type[Family]] = {one.name: one for one in (ResNet50, MobileNetV3, Xception)}


def describe(family: Family, allowed: Sequence[np.ndarray], size: int) -> dict[str, object]:
    """The description of the space with that mask, see `SearchSpace.allowed`."""
    operations, stems = (
        [list(place) for place, (segment, *at) in places.items() if not allowed[segment][tuple(at)]]
        for places in operation_places(family)
    )
    return {"structure": family.to_dict(), "size": size, "dropped": operations, "dropped_stems": stems}


def described(given: Mapping[str, Any]) -> tuple[Family, list[np.ndarray], int]:
    """The family, mask and size that a description tells; ConfigError where it is broken."""
    try:
        options = dict(given["structure"])
        family = FAMILIES[options.pop("family", ResNet50.name)].from_dict(options)
        allowed = [mask.copy() for mask in family.masks()]
        for places, dropped in zip(
            operation_places(family), (given["dropped"], given.get("dropped_stems", [])), strict=True
        ):
            for segment, *at in (places[tuple(place)] for place in dropped):
                allowed[segment][tuple(at)] = False
        return family, allowed, given["size"]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is not the description of a search space: {error}") from None


def require_family(family: Family, own: Family) -> None:
    """WeightsError that names the differences where a described family is not the `own`."""
    if family != own:
        ours, theirs = ({"merge_equal_choices": False, **one.to_dict()} for one in (own, family))
        keys = {**ours, **theirs}
        differing = [
            f"{key} is {theirs.get(key)}, not {ours.get(key)}" for key in keys if ours.get(key) != theirs.get(key)
        ]
        raise WeightsError(f"the described space is another one: {'; '.join(differing)}")
