"""Finished runs as their folders hold them, to be compared (Section 4.2; the comparison is an addition)."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, RunFolderError, is_number
from ..storage import MANIFEST
from ..storage.files import read_json

SUMMARY, RESAMPLED = "summary.json", "resampled.npy"
TASK = ("dataset", "test.dataset", "test.images", "metric", "cost.name")  # what all runs must have in common
ALONE = ("before fine-tuning", "the only path")  # the last row of runs of one path, as `search_stages` calls it
DERIVED = {"digest", "images", "budgets", "cost"}  # of a stage's inputs: follow from data and settings
SEED = "seed"
# Stages that price layers, stages before the training that they serve, and after all training; the others are training.
PRICING = ("latency",)
SAMPLING = ("paths_warmup",)
PRUNING = ("path_filter_warmup", "operations", "thresholds")
SEARCHING = ("paths_final", "paths_final_again", "path_filter_final", "filter_quality", "search", "evaluate", "report")


class UnfinishedRunError(RunFolderError):
    """A run whose last stage is not done; the message says what is missing."""

    def __init__(self, folder: Path, missing: str):
        super().__init__(f"{folder} is no finished run: {missing}")
        self.folder = folder


class FinishedRun:
    """The files of a run whose last stage is done; UnfinishedRunError for another, RunFolderError for damage.

    rows: what was found under each budget and, last, the largest path.
    pruned_share: of the space's paths, what operation pruning took out; nan where not said, as `rejected_share` is.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.stages: dict[str, Any] = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
        if not isinstance(self.stages, dict) or not all(isinstance(one, dict) for one in self.stages.values()):
            raise RunFolderError(f"{folder / MANIFEST} is no record of stages; give the folder of a finished run")
        if not (folder / SUMMARY).is_file() or not self._is_done("report"):
            raise UnfinishedRunError(folder, self._missing())
        try:
            self.summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
            self.rows = [*self.summary["pareto"], self.summary["largest"]]
            self.aps = np.array([np.nan if row["ap"] is None else row["ap"] for row in self.rows], float)
            self.costs = np.array([row.get("cost", row["flops"]) for row in self.rows], float)
            self.budgets = [float(row["budget"]) for row in self.rows[:-1]]
            self.intervals = np.array([row.get("ap_interval") or [np.nan] * 2 for row in self.rows], float).reshape(
                -1, 2
            )
            self.searched = self.rows[0].get("score") is not None
            self.seconds = {str(stage): float(took) for stage, took in self.summary["seconds"].items()}
            self.settings = self._settings()
            self.pruned_share = 1 - self._number("pruned_space_size") / (self._number("space_size") or np.nan)
            self.rejected_share = self._number("rejected_share")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise RunFolderError(
                f"{folder / SUMMARY} is damaged, or no summary of a run ({type(error).__name__}: {error}); its"
                " command, run again, writes it anew"
            ) from error

    def _is_done(self, stage: str) -> bool:
        return not self.stages or bool(self.stages.get(stage, {"done": False}).get("done", True))

    def _missing(self) -> str:
        """Its missing parts, in words."""
        if not self.stages:
            return f"it has neither {SUMMARY} nor {MANIFEST}; give the folder of a finished run"
        done = [name for name in self.stages if self._is_done(name)]
        begun = [name for name in self.stages if name not in done]
        last = f"the last stage done is {done[-1]}" if done else "no stage is done"
        lacks = f"{begun[0]} is not done" if begun else f"{SUMMARY if 'report' in done else 'report'} is missing"
        return f"{last}, {lacks}; run its command again, which goes on from there"

    def said(self, key: str) -> Any:
        """The summary's value at the dotted key; None where it says nothing."""
        value: Any = self.summary
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def _number(self, key: str) -> float:
        """The summary's number at the dotted key, nan where it says nothing; TypeError for what is no number."""
        value = self.said(key)
        if value is not None and not is_number(value):
            raise TypeError(f"{key} is {value!r}")
        return np.nan if value is None else float(value)

    def _settings(self) -> dict[str, Any]:
        """Its settings by dotted names, which begin with the stage but for those of the first, that methods share
        whatever they call it; strategy, sampler, seed and the stages of training by these names."""
        found = {key: self.said(key) for key in ("strategy", "sampler", SEED)} | {"training": ", ".join(self.training)}
        first = next((stage for stage in self.training if stage in self.stages), None)
        for stage, record in self.stages.items():
            if stage != "report":
                found.update(_leaves(record["inputs"], "" if stage == first else f"{stage}."))
        return found

    @property
    def training(self) -> list[str]:
        """The stages that train: all but the named ones."""
        return [stage for stage in self.seconds if stage not in PRICING + SAMPLING + PRUNING + SEARCHING]

    @property
    def test_images(self) -> str | None:
        """The digest of the images that AP is of, and of what is to be found in them; None where not kept."""
        return self.stages.get("evaluate", {}).get("inputs", {}).get("images")

    @cached_property
    def resampled(self) -> np.ndarray | None:
        """AP of each row on the same resampled test images, (rows, resamples); None where that was not kept."""
        file = self.folder / RESAMPLED
        if not file.is_file() or self.test_images is None:
            return None
        try:
            found = np.load(file, allow_pickle=False)
            if found.ndim != 2 or len(found) != len(self.rows) or found.dtype.kind != "f":
                raise ValueError(f"an array {found.shape} of {found.dtype} for {len(self.rows)} detectors")
        except (OSError, ValueError, EOFError) as error:
            raise RunFolderError(f"{file} is damaged ({error}); delete it to compare without it") from error
        return found.astype(np.float64)

    def row_under(self, budget: float) -> int | None:
        """The number of the row that a budget gives: of the same budget, else of the highest one whose detector is
        affordable; None where nothing is."""
        if not self.searched:
            return None
        if budget in self.budgets:
            return self.budgets.index(budget)
        affordable = [i for i, cost in enumerate(self.costs[:-1]) if cost <= budget]
        return max(affordable, key=lambda i: self.budgets[i], default=None)

    def seconds_of(self, stages: Sequence[str]) -> float:
        """Seconds of these stages together."""
        return sum(self.seconds.get(stage, 0.0) for stage in stages)

    @property
    def training_seconds(self) -> float:
        """Seconds of all stages that train."""
        return self.seconds_of(self.training)


def _leaves(inputs: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of each setting; the `name` of a group is that group's own value."""
    for key, value in inputs.items():
        if key in DERIVED:
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix[:-1] if key == "name" and prefix else f"{prefix}{key}", value


def is_run(folder: Path) -> bool:
    """Whether a run began there."""
    return (folder / SUMMARY).is_file() or (folder / MANIFEST).is_file()


def folders_of(given: Path) -> list[Path]:
    """The folder of a run, or those of a multirun: in the folder `given`, or beside it as NAME-0, NAME-1 and so on.

    RunFolderError where there is none.
    """
    if is_run(given):
        return [given]
    beside = [one for one in given.parent.glob("*-*") if one.name.rpartition("-")[0] == given.name]
    numbered = sorted((one for one in beside if one.name.rpartition("-")[2].isdecimal()), key=_number)
    inside = sorted(given.iterdir(), key=_number) if given.is_dir() else []
    found = [one for one in (inside if given.is_dir() else numbered) if is_run(one)]
    if not found:
        raise RunFolderError(f"{given} holds no run ({SUMMARY}) and no folders of runs; give those of finished runs")
    return found


def runs_of(given: Path) -> tuple[list[FinishedRun], list[UnfinishedRunError]]:
    """The finished runs of a folder as `folders_of` takes it, and what those of a multirun lack that are left out.

    UnfinishedRunError where the run that is given itself is not finished, or none of a multirun is.
    """
    read = [_read(folder) for folder in folders_of(given)]
    runs = [one for one in read if isinstance(one, FinishedRun)]
    unfinished = [one for one in read if not isinstance(one, FinishedRun)]
    if not runs:
        raise unfinished[0]
    return runs, unfinished


def _read(folder: Path) -> FinishedRun | UnfinishedRunError:
    try:
        return FinishedRun(folder)
    except UnfinishedRunError as error:
        return error


def _number(folder: Path) -> tuple[int, str]:
    """NAME-10 comes behind NAME-9."""
    last = folder.name.rpartition("-")[2]
    return int(last) if last.isdecimal() else -1, folder.name


def require_same_task(runs: Sequence[FinishedRun]) -> None:
    """ConfigError for two runs whose AP is not of the same thing, or a run whose detector is under no budget."""
    first = runs[0]
    for run in runs:
        if (name := run.rows[-1].get("name")) in ALONE:
            said = (
                f"{run.folder} trained one path, which stands under no budget: its own report compares it with before"
            )
            raise ConfigError(said, key="largest.name", given=name)
    for run in runs[1:]:
        for key in TASK:
            _require_same(key, (first, first.said(key)), (run, run.said(key)))
    for key in ("classes", "test_images"):  # not said by runs of before
        known = [(run, run.test_images if key == "test_images" else run.said(key)) for run in runs]
        known = [one for one in known if one[1] is not None]
        for other in known[1:]:
            _require_same(key, known[0], other)


def _require_same(key: str, ours: tuple[FinishedRun, Any], theirs: tuple[FinishedRun, Any]) -> None:
    if ours[1] != theirs[1]:
        raise ConfigError(
            f"{ours[0].folder} and {theirs[0].folder} do not compare: {key} is {ours[1]!r} and {theirs[1]!r};"
            " give runs of the same data, metric and cost",
            key=key,
            given=theirs[1],
            allowed=repr(ours[1]),
        )


def differing(runs: Sequence[FinishedRun]) -> dict[str, list[Any]]:
    """{setting: its value in each run} of those that two runs set differently; None where a run has no such stage.

    A setting that says the same as one before it of the same last name is left out.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    found: dict[str, list[Any]] = {}
    for name in names:
        values = [run.settings.get(name) for run in runs]
        known = [run.settings[name] for run in runs if name in run.settings]
        before = [own for other, own in found.items() if _last(other) == _last(name)]
        if any(one != known[0] for one in known) and not any(_agree(values, own) for own in before):
            found[name] = values
    return found


def _agree(values: Sequence[Any], others: Sequence[Any]) -> bool:
    return all(None in pair or pair[0] == pair[1] for pair in zip(values, others, strict=True))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def short_names(names: Sequence[str]) -> list[str]:
    """The last part of each, where no other has the same."""
    lasts = [_last(name) for name in names]
    return [last if lasts.count(last) == 1 else name for last, name in zip(lasts, names, strict=True)]


def only_seeds_differ(runs: Sequence[FinishedRun]) -> bool:
    """Whether all is set alike but seeds."""
    return all(_last(name) == SEED for name in differing(runs)) and len({run.said("space_size") for run in runs}) == 1
