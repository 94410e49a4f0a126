"""`detector.json` of an exported detector, as the start of a run (an addition; not in the paper)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.augment import DEVIATION, MEAN
from ..errors import RunFolderError, WeightsError
from ..storage.files import SUMS, damage, read_json
from .maps import DESCRIPTION

WEIGHTS = "detector.h5"
KINDS: dict[str, type | tuple[type, ...]] = {
    **{"classes": list, "image_size": (int, list), "stride": int, "network": dict, "mean": list, "deviation": list}
}


class Described(NamedTuple):
    """An exported detector: its folder, and what `detector.json` there says."""

    folder: Path
    said: dict[str, Any]

    @classmethod
    def of(cls, place: str | Path) -> "Described":
        """That of a folder, or of a file in it; WeightsError for what is no detector, or damaged."""
        place = Path(place).expanduser()
        folder = place if place.is_dir() else place.parent
        if not place.exists() or not (folder / DESCRIPTION).is_file():
            what = "has no" if place.exists() else "is not there, nor its"
            raise WeightsError(f"{place} {what} {DESCRIPTION}: give a folder detectors/RANK-COST of a run")
        if not (folder / WEIGHTS).is_file():
            raise WeightsError(f"{folder} has no {WEIGHTS}: nnabla_detofa export RUN --format h5 writes it")
        if (folder / SUMS).is_file() and (damaged := damage(folder, (DESCRIPTION, WEIGHTS))) is not None:
            raise WeightsError(f"{folder} is damaged ({damaged}): nnabla_detofa export RUN writes it again")
        return cls(folder, _sound(folder / DESCRIPTION))

    @property
    def weights(self) -> Path:
        """The file of its weights and BN statistics."""
        return self.folder / WEIGHTS


def _sound(file: Path) -> dict[str, Any]:
    """The description; WeightsError where it is none, or of pictures that are prepared in another way."""
    try:
        said = read_json(file)
    except RunFolderError as error:
        raise WeightsError(f"{file} cannot be read: {error.__cause__}") from error
    if not isinstance(said, dict) or any(not isinstance(said.get(key), kind) for key, kind in KINDS.items()):
        raise WeightsError(f"{file} describes no detector: it must say {', '.join(KINDS)}")
    if len(said["network"]) != 1 or not all(isinstance(one, dict) for one in said["network"].values()):
        raise WeightsError(f"{file} describes no detector: its network must be one name with options")
    if not np.array_equal([said["mean"], said["deviation"]], [MEAN, DEVIATION]):
        raise WeightsError(f"{file} normalises pictures otherwise than this version, whose mean is {MEAN.tolist()}")
    return said
