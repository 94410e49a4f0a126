"""The runs behind the tables: made where they are missing, and kept as small results that count as done anywhere.

A run is known by a digest of what decides its figures. Methods share a warm-up: a run whose first stages another run of
the same seed has done already, by the same settings, begins with a copy of them, and does the rest.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.launch.composition import compose, plain_part
from nnabla_detofa.report.finished_runs import FinishedRun
from nnabla_detofa.signals import handled_by
from nnabla_detofa.storage.files import SUMS, read_json, write_folder, write_json
from nnabla_detofa.storage.manifest import MANIFEST, read_manifest, write_manifest
from nnabla_detofa.training.checkpoint import WEIGHTS
from nnabla_detofa.training.identity import IRRELEVANT as DATA_IRRELEVANT

from .plan import METHODS, SCALES

COMPUTES = 1  # raise it when a run of the same settings computes something else, not when its sums round otherwise
ABOUT = "run.json"  # of a kept run: digest, settings, seconds
FIRST = "first_stages.json"  # of a run folder: digests of what others may begin with, and what it began with itself
SMALL = ("summary.json", "stages.json", "pruned_space.json", "filter_quality.json", "detectors.json")
MOST_BYTES = 1_000_000
DIGITS = 8  # of a digest, in names of run folders
GROUPS = ("network", "dataloader", "optimizer", "hparams")
IRRELEVANT = {*DATA_IRRELEVANT, "identity"}  # the latter repeats other groups
# options that are younger than some kept runs, and the value at which each changes nothing: there a digest leaves it
# out, so that runs from before stay done
ADDED: dict[str, Any] = {
    "hparams.path_filter.effects_of": "tokens",
    "hparams.path_filter.filters": 1,
    "hparams.path_filter.prior": None,
    "hparams.path_filter.ranker": "transformer",
}
# keys of `hparams` that decide nothing before the stages that follow warm-up, and before operations are pruned
AFTER_WARMUP = {"pruning", "search", "path_filter"}
AFTER_FILTER = {"pruning", "search"}
# of `hparams.path_filter`, what decides which paths are measured, and on which images
MEASURING = {"paths_per_bucket", "n_buckets", "bn_images", "validation_images", "second_measurement"}
WARMUP, PATHS = ("warmup",), ("warmup", "paths_warmup")
FILTER = (*PATHS, "path_filter_warmup")


class Job(NamedTuple):
    """A run to be there: by a method, with a seed, at a scale."""

    scale: str
    method: str
    seed: int
    overrides: tuple[str, ...] = ()  # for all methods

    @property
    def name(self) -> str:
        """Of the kept results."""
        return f"{self.method}-seed{self.seed}"

    @property
    def arguments(self) -> list[str]:
        """Of the command, but for the configuration and the run's name."""
        return [*self.of_all_seeds, f"hparams.seed={self.seed}"]

    @property
    def of_all_seeds(self) -> tuple[str, ...]:
        """The arguments without the seed."""
        scale = SCALES[self.scale]
        return (*scale.overrides, *scale.of_method(self.method), *self.overrides)


class Planned:
    """A job with its settings; `name` is of its run folder, which no other settings have."""

    def __init__(self, job: Job):
        self.job = job
        composed = _composed(SCALES[job.scale].config, job.of_all_seeds)
        composed.hparams.seed = job.seed
        self.settings = {group: _relevant(plain_part(composed, group, Path())) for group in GROUPS}

    @cached_property
    def digest(self) -> str:
        return _digest(self.settings)

    @property
    def name(self) -> str:
        return f"paper-{self.job.scale}-{self.job.name}-{self.digest[:DIGITS]}"

    @property
    def first_stages(self) -> dict[tuple[str, ...], str]:
        """Stages that other runs may have done, the most first, with a digest of what decides them."""
        hparams = self.settings["hparams"]
        measuring = {key: hparams["path_filter"][key] for key in sorted(MEASURING)}
        found: dict[tuple[str, ...], str] = {}
        if hparams["pruning"]["strategy"] != "none" or hparams["pruning"]["path_ratio"] > 0:
            found[FILTER] = _digest({**self.settings, "hparams": _without(hparams, AFTER_FILTER)})
            own = {**_without(hparams, AFTER_WARMUP), "measuring": measuring}
            found[PATHS] = _digest({**self.settings, "hparams": own})
        own = {**_without(hparams, AFTER_WARMUP), "n_buckets": measuring["n_buckets"]}
        found[WARMUP] = _digest({**self.settings, "hparams": own})
        return found


@cache
def _composed(config: str, arguments: tuple[str, ...]) -> DictConfig:
    """The configuration of all seeds: Hydra takes a second for one, and a page needs that of dozens of runs."""
    return compose(config, arguments)


def _relevant(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _relevant(value) for key, value in settings.items() if key not in IRRELEVANT}
    return settings


def _without(settings: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in keys}


def _without_added(settings: Any, prefix: str = "") -> Any:
    """The settings without options of ADDED that are as if they were not there."""
    if not isinstance(settings, dict):
        return settings
    names = {key: f"{prefix}{key}" for key in settings}
    kept = {key: name for key, name in names.items() if name not in ADDED or ADDED[name] != settings[key]}
    return {key: _without_added(settings[key], f"{name}.") for key, name in kept.items()}


def _digest(settings: Any) -> str:
    settings = _without_added(settings)
    known_by = {"computes": COMPUTES, "version": version("nnabla-detofa"), "settings": settings}
    return hashlib.sha256(json.dumps(known_by, sort_keys=True).encode()).hexdigest()[:16]


class Store:
    """The kept results in `folder`, and the run folders below `log`, a folder of that name."""

    def __init__(self, folder: Path, log: Path):
        self.folder, self.log = folder, log

    def state(self, planned: Planned) -> str:
        """done, stale (of other settings or another version) or missing."""
        about = self.folder / planned.job.name / ABOUT
        if not about.is_file():
            return "missing"
        return "done" if read_json(about).get("digest") == planned.digest else "stale"

    def hours(self, planned: Planned) -> float | None:
        """That it took, without what it began with; None where it is not done."""
        return read_json(self._about(planned))["own_seconds"] / 3600 if self.state(planned) == "done" else None

    def run(self, planned: Planned) -> FinishedRun:
        """The kept results of a run that is done."""
        return FinishedRun(self.folder / planned.job.name)

    def _about(self, planned: Planned) -> Path:
        return self.folder / planned.job.name / ABOUT

    def make(self, planned: Planned) -> int:
        """Do the run, or what is left of it, and keep its results; returns the command's exit code."""
        folder = self._place(planned)
        self._begin(planned, folder)
        command = [sys.executable, "-m", "nnabla_detofa.cli", "-c", SCALES[planned.job.scale].config]
        command += [*planned.job.arguments, f"name={folder.name}"]
        with (folder / "said.txt").open("a") as said:  # bars and refusals are on stderr
            code = _follow(command, stdout=said, cwd=self.log.parent)
        if code == 0:
            self.keep(planned, folder)
        return code

    def _place(self, planned: Planned) -> Path:
        """The run's folder: that of the same settings, by whatever method's name and at whatever scale it was begun."""
        return next(iter(sorted(self.log.glob(f"paper-*-{planned.digest[:DIGITS]}"))), self.log / planned.name)

    def _begin(self, planned: Planned, folder: Path) -> None:
        """The run's folder, with the first stages of another run where they are the same."""
        if folder.is_dir():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f".{folder.name}.begun")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        begun_with: tuple[str, ...] = ()
        for stages, digest in planned.first_stages.items():
            if (source := self._with(stages, digest)) is not None:
                records = {name: read_manifest(source)[name] for name in stages}
                for file in (file for record in records.values() for file in record.files):
                    copy = shutil.copytree if (source / file).is_dir() else shutil.copy2
                    copy(source / file, beside / file)
                write_manifest(beside, records)
                begun_with = stages
                break
        digests = {"+".join(stages): digest for stages, digest in planned.first_stages.items()}
        write_json(beside / FIRST, {"digests": digests, "begun_with": begun_with})
        beside.rename(folder)

    def _with(self, stages: Sequence[str], digest: str) -> Path | None:
        """A run that has done these stages by these settings, if there is one."""
        for known in sorted(self.log.glob(f"paper-*/{FIRST}")):
            if read_json(known)["digests"].get("+".join(stages)) != digest or not (known.parent / MANIFEST).is_file():
                continue
            records = read_manifest(known.parent)
            if all(name in records and records[name].done for name in stages):
                return known.parent
        return None

    def keep(self, planned: Planned, folder: Path) -> None:
        """Copy the small results; RunFolderError where they are not small."""
        run = FinishedRun(folder)
        files = [*(one for one in map(folder.joinpath, SMALL) if one.is_file()), *sorted(folder.glob("*.csv"))]
        copied = read_json(folder / FIRST)["begun_with"]
        own = sum(took for stage, took in run.seconds.items() if stage not in copied)
        about = {
            **{"method": planned.job.method, "seed": planned.job.seed, "scale": planned.job.scale},
            **{"digest": planned.digest, "version": version("nnabla-detofa"), "computes": COMPUTES},
            **{"seconds": round(sum(run.seconds.values()), 1), "own_seconds": round(own, 1)},
            "warmup_weights": _warmup_weights(folder),
            "machine": {"cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS")},
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "settings": planned.settings,
        }
        contents = {file.name: file.read_bytes() for file in files}
        contents[ABOUT] = (json.dumps(about, indent=1, sort_keys=True) + "\n").encode()
        if (size := sum(map(len, contents.values()))) > MOST_BYTES:
            raise RunFolderError(f"the results of {folder} are {size:,} bytes, more than {MOST_BYTES:,} to be kept")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_folder(self.folder / planned.job.name, contents, replaces=True)


def _warmup_weights(folder: Path) -> str | None:
    """The digest of the weights that warm-up left; None where a run has none."""
    steps = sorted(folder.glob(f"checkpoint_warmup/*/{SUMS}"))
    return read_json(steps[-1])[WEIGHTS] if steps else None


def warmup_of(run: FinishedRun) -> str | float | None:
    """By what the warm-up of a kept run is known: its weights or, where an earlier release kept no digest of them, its
    seconds, which stay with a copy to the millisecond. None without one."""
    return read_json(run.folder / ABOUT).get("warmup_weights") or run.seconds.get("warmup")


def _follow(command: Sequence[str], **options: Any) -> int:
    """Exit code of a command that gets the signals that come here, and so saves before it ends."""
    with (
        subprocess.Popen(command, start_new_session=True, **options) as child,
        handled_by(lambda number, _: child.send_signal(number)),
    ):
        return child.wait()


def planned_jobs(scale: str, methods: Sequence[str], seeds: int, overrides: Sequence[str]) -> list[Planned]:
    """The runs of these methods, seed by seed: after the first seeds all methods have some."""
    return [Planned(Job(scale, method, seed, tuple(overrides))) for seed in range(seeds) for method in methods]


class Pace:
    """Hours of a run: by its method's share, from those that are done, or as the scale plans it."""

    def __init__(self, store: Store, jobs: Sequence[Planned]):
        known = [(hours, METHODS[one.job.method].cost) for one in jobs if (hours := store.hours(one)) is not None]
        self.measured = bool(known)
        planned = SCALES[jobs[0].job.scale].hours if jobs else 0.0
        self._hours = sum(hours for hours, _ in known) / sum(cost for _, cost in known) if known else planned

    def hours(self, jobs: Sequence[Planned]) -> float:
        """Of these runs, one behind the other."""
        return sum(self._hours * METHODS[one.job.method].cost for one in jobs)


def make_all(store: Store, jobs: Sequence[Planned], say: Callable[[str], None]) -> int:
    """Do what is not done, with a line before each run; the exit code of the one that failed, else 0."""
    waiting = [one for one in jobs if store.state(one) != "done"]
    for number, one in enumerate(waiting):
        left = Pace(store, jobs).hours(waiting[number:])
        say(f"run {number + 1} of {len(waiting)}: {one.job.name} in log/{one.name}; about {left:.2g} h left")
        if code := store.make(one):
            return code
    return 0
