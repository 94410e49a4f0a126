"""The detectors that a run found, ready to leave it (Section 4.2)."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..data.augment import DEVIATION, MEAN
from ..errors import RunFolderError, SpaceError
from ..options import IMAGE_SIZE
from ..ranking import Ranked, ranked
from ..search_stages import EVALUATED, Detector, evaluated
from ..space import layers
from ..storage import MANIFEST
from ..storage.files import checksum, read_json
from ..storage.manifest import Record, read_manifest
from ..supernet import Supernet, load_weights, network_of
from ..training import STATISTICS, WEIGHTS, Run
from ..training.path_statistics import Statistics, read

LAST = "evaluate"  # the stage that has the figures
NEEDED = (MANIFEST, WEIGHTS, EVALUATED)


class Front:
    """The detectors of a run with all that their files are made of.

    Args:
        network: the supernet with its trained weights.
        statistics: of each detector's normalisations, and what else is known of the run.
        detectors: as the evaluation left them.
        digest: of that stage, and so of all that led to it.
    """

    def __init__(self, network: Supernet, statistics: Statistics, detectors: Sequence[Detector], digest: str) -> None:
        self._network, self._statistics, self._digest = network, statistics, digest
        self.rows = ranked(detectors)

    @classmethod
    def of(cls, run: Run, detectors: Sequence[Detector]) -> "Front":
        """Of a run whose evaluation is done."""
        return cls(run.model, read(run.folder / STATISTICS), detectors, run.folder.digest(LAST))

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the images."""
        return IMAGE_SIZE(self._statistics.about["image_size"])

    def network_of(self, one: Ranked) -> Supernet:
        """The detector alone, with the statistics that it was evaluated with, of NNabla's functions."""
        return self._statistics.detector(self._network, one.detector.genes, kernels="nnabla")

    def described(self, one: Ranked) -> dict[str, Any]:
        """The content of `detector.json`."""
        about, detector = self._statistics.about, one.detector
        own = {} if detector.cost is None else {about["cost"]["name"]: detector.cost}
        ((name, options),) = about["network"].items()
        genotype = self._network.space.genotype(detector.genes)
        return {
            "rank": one.rank,
            "name": detector.name or one.folder,
            "task": self._network.task.name,
            "classes": about["classes"],
            "category_ids": about["category_ids"],
            "image_size": about["image_size"],
            "stride": about["stride"],
            "mean": MEAN.tolist(),
            "deviation": DEVIATION.tolist(),
            "genotype": genotype,
            "path": list(detector.path),
            "budgets": list(one.budgets),
            "costs": {"flops": detector.flops, **self._sizes(detector.genes), **own},
            "metric": about["metric"],
            "ap": detector.ap,
            "ap_interval": detector.ap_interval,
            "ap_per_class": detector.ap_per_class,
            "on_front": detector.on_front,
            "dataset": about["dataset"],
            "seed": about["seed"],
            "digest": self._digest,
            "network": {name: {**options, "genotype": genotype}},
            "version": version("nnabla-detofa"),
        }

    def _sizes(self, path: np.ndarray) -> dict[str, int]:
        """Parameters, and the bytes of the maps of one image at the worst moment."""
        steps = [layer.at(self.sides) for _, layer in self._network.steps(path)]
        return {"parameters": sum(map(layers.parameters, steps)), "memory": layers.peak_memory(steps)}


def front_of_folder(folder: Path) -> Front:
    """The detectors of a finished run's folder; RunFolderError, with what is missing, where the run is not finished."""
    missing = lacks(folder)
    if missing:
        raise RunFolderError(f"{folder} is not a finished run, it lacks {', '.join(missing)}: finish it first")
    records = read_manifest(folder)
    _require_unchanged(folder, records)
    statistics = read(folder / STATISTICS)
    network = network_of(statistics.about["network"])
    load_weights(network, folder / WEIGHTS)
    return Front(network, statistics, evaluated(read_json(folder / EVALUATED)), records[LAST].digest)


def _require_unchanged(folder: Path, records: Mapping[str, Record]) -> None:
    """RunFolderError for weights or detectors that are not as their stage left them."""
    known = {file: one for record in records.values() for file, one in record.sums.items()}
    for name in (WEIGHTS, EVALUATED):
        if name in known and checksum(folder / name) != known[name]:
            raise RunFolderError(
                f"{folder / name} has changed since the run left it: run its command again, which does that stage anew"
            )


def lacks(folder: Path, needed: Sequence[str] = (*NEEDED, STATISTICS)) -> list[str]:
    """The files of a finished run that a folder has not; RunFolderError for what is no run's folder."""
    if not (folder / MANIFEST).is_file():
        raise RunFolderError(f"{folder} is no run's folder: it has no {MANIFEST}; give log/NAME of a run")
    missing = [name for name in needed if not (folder / name).is_file()]
    if not missing and not _done(read_json(folder / MANIFEST)):
        missing = [f"the end of its stage {LAST}"]
    return missing


def _done(records: Any) -> bool:
    return isinstance(records, Mapping) and bool(records.get(LAST, {}).get("done"))


def chosen(rows: Sequence[Ranked], *, budget: float | None = None, rank: int | None = None) -> list[Ranked]:
    """The detector of that rank, or the best of at most that cost; all where neither is given.

    SpaceError for a budget below the cheapest detector, or a rank that there is not.
    """
    if rank is not None:
        found = [one for one in rows if one.rank == rank]
        if not found:
            raise SpaceError(key="--rank", given=rank, allowed=f"from 1 to {len(rows)}")
        return found
    if budget is None:
        return list(rows)
    within = [one for one in rows if one.detector.own_cost <= budget]
    if not within:
        cheapest = rows[0].detector.own_cost
        raise SpaceError(f"no detector costs at most {budget:,.12g}; the cheapest costs {cheapest:,}: raise --budget")
    return [max(within, key=lambda one: (one.detector.ap or 0.0, -one.rank))]
