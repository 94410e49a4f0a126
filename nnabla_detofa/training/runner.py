"""The host's runner for supernets: training, and what Algorithm 1 asks of a device besides."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np

from ..errors import ConfigError, NumericError
from ..threads import one_blas_thread
from .evaluation import figure, is_defined
from .measuring import FixedImages, PathMeasurer
from .plan import Work, plan_lines
from .tables import MeasuredPaths, PathTable
from .trainer import SupernetTrainer

EVALUATION = "evaluation_bn_images"
# numbers of images below `path_filter`, and the part of the data that each is of
IMAGES = {"bn_images": "train", EVALUATION: "train", "validation_images": "valid"}
HELD_OUT = "held_out_ap"  # the figure that decides between paths of different buckets


class SupernetRunner(SupernetTrainer):
    """Trains, measures and evaluates paths of a supernet; subclasses say in which order."""

    # -- the plan -----------------------------------------------------------------------------------------------------

    @one_blas_thread()
    def plan(self) -> None:
        """Say what `run` would do and take; nothing is trained, and the network is of no use afterwards."""
        with closing(self.monitor):
            if "check_paths" in (self.hparams.get("cost") or {}):
                self.hparams["cost"] = {**self.hparams["cost"], "check_paths": 0}
            self.check_settings()
            for line in plan_lines(self, self.planned()):
                self.say(line)

    @abstractmethod
    def planned(self) -> list[Work]:
        """The stages that take their time, in order."""

    def planned_training(self, stage: str, epochs: int) -> Work:
        """A training stage of so many epochs."""
        steps, batch = epochs * self.one_epoch_train, self.bs_train * self.comm.n_procs
        return Work(stage, f"{epochs} epochs, {steps:,} steps of {batch:,} images", steps=steps, batch=batch)

    def planned_measuring(self, stage: str, n_paths: int, images: int, *, bn: str = "bn_images") -> Work:
        """BN re-estimation of so many paths, and so many images for each."""
        bn_images = self.n_images(bn)
        detail = f"{n_paths:,} paths, {bn_images:,} images for BN and {images:,} more for each"
        return Work(stage, detail, images=n_paths * (bn_images + images))

    def planned_evaluation(self, stage: str, n_paths: int, split: str = "test") -> Work:
        """The metric of so many paths on all images of a split."""
        return self.planned_measuring(stage, n_paths, len(self.dataloader[split].dataset), bn=EVALUATION)

    # -- costs --------------------------------------------------------------------------------------------------------

    def priced(self, path: np.ndarray) -> dict[str, int]:
        """FLOPs of a path, and its cost where that is another."""
        models = {"flops": self.flops} if self.cost is self.flops else {"flops": self.flops, "cost": self.cost}
        return {name: int(model(path[None])[0]) for name, model in models.items()}

    def parts(self, path: list[int]) -> dict[str, int]:
        """What the backbone costs, and what follows it."""
        backbone, tail = self.cost.parts(np.array([path], np.int8))
        return {"backbone": int(backbone[0]), "neck_and_heads": int(tail[0])}

    # -- measuring (Algorithm 1, line 3) ------------------------------------------------------------------------------

    def n_images(self, key: str) -> int:
        """The images that `path_filter.KEY` asks for; where the data have fewer, as many as there are.

        Those of a ranking are half of them where there is a second measurement, whose images are others. ConfigError
        where that leaves none.
        """
        dataset, sets = self.dataloader[IMAGES[key]].dataset, self._image_sets(key)
        if there := len(dataset) // sets:
            return min(self.hparams["path_filter"][key], there)
        part = f"the {IMAGES[key]} part of {dataset.name} has"
        if not len(dataset):
            raise ConfigError(f"{part} no image, and path_filter.{key} asks for some; hold out more")
        raise ConfigError(
            f"{part} {len(dataset)} image, and path_filter.second_measurement asks for {sets} disjoint sets; leave it"
            " out or hold out more"
        )

    def _image_sets(self, key: str) -> int:
        """Into how many disjoint sets the images are divided."""
        return 2 if self.hparams["path_filter"]["second_measurement"] and key != EVALUATION else 1

    def say_fewer_images(self) -> None:
        """A line for each number of images that the data do not have."""
        for key, split in IMAGES.items():
            if (n := self.n_images(key)) < (asked := self.hparams["path_filter"][key]):
                dataset = self.dataloader[split].dataset
                used = "which are all used" if self._image_sets(key) == 1 else f"of which each measurement uses {n}"
                self.say(f"path_filter.{key} is {asked}; the {split} part of {dataset.name} has {len(dataset)}, {used}")

    def measurer(self, part: int = 0, *, bn: str = "bn_images") -> PathMeasurer:
        """Measures paths on the `part`-th disjoint set of validation images and of those that `bn` counts."""
        sets = []
        for key in (bn, "validation_images"):
            n = self.n_images(key)
            sets.append(FixedImages(self.dataloader[IMAGES[key]], np.arange(part * n, (part + 1) * n)))
        return PathMeasurer(self.model, self.hparams.get("loss_weights"), bn_images=sets[0], validation_images=sets[1])

    def measured(
        self, name: str, paths: np.ndarray, settings: dict, *, part: int = 0, branch: bool = False
    ) -> MeasuredPaths:
        """`measure` as a stage."""

        def work() -> None:
            self.measure(name, paths, part=part)

        self.folder.stage(name, settings, [f"{name}.csv"], work, branch=branch)
        return self._table(name).read()

    def _table(self, name: str, value: str = "loss") -> PathTable:
        genes, with_cost = self.space.structure.gene_names, self.cost is not self.flops
        return PathTable(self.folder / f"{name}.csv", genes, value=value, with_cost=with_cost)

    def measure(self, name: str, paths: np.ndarray, *, part: int = 0) -> None:
        """Validation loss of every path, in `name`.csv; rows that an interrupted measurement left are not repeated.

        NumericError, on all processes, for a loss that is not finite.
        """
        self._fill(self._table(name), name, paths, self.measurer(part).loss)

    def _fill(self, table: PathTable, name: str, paths: np.ndarray, value: Callable[[np.ndarray], float]) -> np.ndarray:
        """The value of every path, (n,), in a table that grows row by row and goes on where it was interrupted."""
        done = table.read()
        self._barrier()  # all have read it before one writes it
        n_done = len(done.loss)
        if not np.array_equal(done.paths, paths[:n_done]):
            n_done = 0
        costs = self.cost(paths)
        measured = MeasuredPaths(paths, self.flops(paths), self.budgets.bucket(costs), np.zeros(len(paths)), costs)
        measured.loss[:n_done] = done.loss[:n_done]
        if self.folder.writes:
            table.start(measured.at(slice(n_done)))
        for some, values in self._shared(name, paths, value, first=n_done):
            measured.loss[some] = values
            for path, one in zip(paths[some], values, strict=True):
                if not np.isfinite(one):
                    raise NumericError(
                        f"the validation {table.value} of path {path.tolist()} is {one}; the training diverged"
                    )
            if self.folder.writes:
                table.append(measured.at(some))
        return measured.loss

    def _shared(
        self, name: str, paths: np.ndarray, value: Callable[[np.ndarray], float], *, first: int = 0
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Which paths, from the `first` on, and their values: one path at a time for each process. The session may be
        stopped behind each time."""
        ranks = self.comm.n_procs
        for start in self.progress(range(first, len(paths), ranks), name):
            values = np.zeros(ranks)
            if (mine := start + self.comm.rank) < len(paths):
                values[self.comm.rank] = value(paths[mine])
            some = slice(start, min(start + ranks, len(paths)))
            yield some, self.sum_over_ranks(values)[: some.stop - some.start]
            self.folder.count_seconds()
            self.pause()

    # -- evaluation (Section 4.1) -------------------------------------------------------------------------------------

    @property
    def figure_identity(self) -> dict:
        """All that decides a figure of a path beside the weights and the images that it is of."""
        return {
            "metric": self.hparams["metric"],
            EVALUATION: self.n_images(EVALUATION),
            "mini_batch_valid": self.mbs_valid,  # BN re-estimation normalises by batches
        }

    @property
    def evaluation_identity(self) -> dict:
        """All that decides the figures of `on_test_split` beside the weights."""
        return {**self.figure_identity, "test_digest": self.dataloader["test"].split_digest}

    @property
    def selection_identity(self) -> dict:
        """All that decides the figures of `on_held_out` beside the weights."""
        return {**self.figure_identity, "held_out_digest": self.dataloader["valid"].dataset.digest}

    def figure_on(self, split: str) -> Callable[[np.ndarray], float]:
        """The metric of a path on all images of a split, in 0–1, after BN re-estimation and without fine-tuning."""
        loader, measurer = self.dataloader[split], self.measurer(bn=EVALUATION)

        def of(path: np.ndarray) -> float:
            measurer.prepare(path)
            return figure(self.hparams["metric"], self.model, loader)

        return of

    def on_test_split(self, paths: np.ndarray) -> np.ndarray:
        """The metric of each path on the test split; (n,)."""
        figures = np.zeros(len(paths))
        for some, values in self._shared("evaluate", paths, self.figure_on("test")):
            figures[some] = values
        return figures

    def on_held_out(self, name: str, paths: np.ndarray) -> np.ndarray:
        """The metric of each path on all held-out images, (n,), in `name`.csv, which grows as that of `measure`.

        Not defined, so nan, and the table without rows, where these images have no object to find.
        """
        table = self._table(name, HELD_OUT)
        if is_defined(self.dataloader["valid"]):
            return self._fill(table, name, paths, self.figure_on("valid"))
        if self.folder.writes:
            none = np.empty(0)
            table.start(MeasuredPaths(paths[:0], none, none, none, none))
        return np.full(len(paths), np.nan)
