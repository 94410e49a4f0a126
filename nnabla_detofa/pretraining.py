"""Pre-training of supernet and path filter on classification (Section 4.1), by OFA's recipe as the host runs it.

The largest network is trained first. It then teaches the paths of ever more depths, expands and widths, and the path
filter learns from the classification losses of the trained paths. A detector's run starts from `weights.h5` and
`path_filter.h5`. Its buckets are other numbers of FLOPs, since image and heads differ; bucket b there starts from what
the filter learnt of bucket b here: both are the same share of the way from the cheapest path to the dearest.
"""

from collections.abc import Iterator
from functools import cached_property
from itertools import product
from typing import TypeVar

import nnabla as nn
import numpy as np

from .errors import ConfigError
from .precision import single_precision
from .ranking import PathRanker
from .space import SearchSpace
from .supernet import ClassifierNet, load_weights
from .training import PathSampler, ShrinkingRunner
from .training.phases import Phase, read_phases
from .training.plan import Work
from .training.report import quality_table
from .training.schedule import Schedule, learning_rate
from .training.settings import require_count, require_number, require_positive
from .training.trainer import HPARAMS

TEACHER = "teacher.h5"
Choice = TypeVar("Choice", int, float)


class OFAPretrainer(PathRanker, ShrinkingRunner):
    """Trains a classification supernet phase by phase, then measures its paths and fits a path filter to them."""

    HPARAMS = (*HPARAMS, "phases", "lambda_kd")
    IDENTITY = ("seed", "mini_batch_train", "lambda_kd")
    MAIN_EFFECTS = (False, "pre-training measures the paths that the paper's filter needs")

    def algorithm(self) -> None:
        """The phases, then what detection runs start from and how good it is."""
        self.shrink()
        measured = self.measure_paths("paths", self.space)
        self.fit_path_filter("path_filter", measured)
        quality = self.assess_path_filter("paths", measured)
        self.report(quality, self.evaluate("top1", dict(corners(self.space))))

    def planned(self) -> list[Work]:
        """The stages that take their time; behind the first phase a step has the teacher's forward pass as well."""
        stages: list[Work] = []
        for phase in self.phases:
            self._enter(phase)
            training = self.planned_training(phase.name, phase.last - phase.first)
            asked = training.steps * training.batch if stages and self.hparams["lambda_kd"] else 0
            stages.append(training._replace(images=asked))
        self._enter(self.phases[0])  # whose steps are timed, without a teacher
        again = ["paths_again"] if self.hparams["path_filter"]["second_measurement"] else []
        n_tested = len(dict(corners(self.space))) + 2 * len(self.phases)
        tested = self.planned_evaluation("top1", n_tested)
        return [*stages, *map(self.planned_paths, ["paths", *again]), tested]

    # -- settings -----------------------------------------------------------------------------------------------------

    def check_settings(self) -> None:
        """As every ranker's, of a run for a classifier."""
        if self.model.task != ClassifierNet.task:
            (name,) = self.hparams["identity"]["network"]
            raise ConfigError(
                f"OFAPretrainer trains a network for {ClassifierNet.task}, and {name} is for {self.model.task};"
                " take ofa_resnet50_classifier"
            )
        super().check_settings()

    @cached_property
    def phases(self) -> list[Phase]:
        """Those of `hparams.phases`, with their rates and batches."""
        defaults = {"batch_size": self.hparams["batch_size_train"], "ramp": 0, "ramp_from": 0.0}
        return read_phases("hparams.phases", self.hparams["phases"], self.space, options=("rate",), defaults=defaults)

    def check_schedule(self) -> None:
        """ConfigError for phases, rates or batches that no run can have."""
        require_number("hparams.lambda_kd", self.hparams["lambda_kd"], least=0)
        self.require_all_open()
        for phase in self.phases:
            where, options = f"hparams.phases.{phase.name}", phase.options
            require_positive(f"{where}.rate", options["rate"])
            for key in ("ramp", "ramp_from"):
                require_number(f"{where}.{key}", options[key], least=0)
            self._require_batch(f"{where}.batch_size", options["batch_size"])

    def _require_batch(self, where: str, batch: int) -> None:
        at_once, images = self.comm.n_procs * self.mbs_train, len(self.dataloader["train"].dataset)
        if require_count(where, batch) % at_once or batch > images:
            raise ConfigError(
                f"{where} is {batch}; it must be a multiple of {at_once} (mini_batch_train times processes)"
                f" and at most {images}, the number of training images"
            )

    # -- training -----------------------------------------------------------------------------------------------------

    def train_stage(self, stage: str, settings: dict, sampler: PathSampler, *, first: int, last: int) -> None:
        """A phase with its own batch, and then the top-1 accuracy of its largest and its smallest path."""
        phase = self._phase
        assert phase is not None
        self._enter(phase)
        super().train_stage(stage, settings, sampler, first=first, last=last)
        ends = {"largest": phase.space.largest(), "smallest": self.cost.argmin(phase.space)}
        for row in self.evaluate(f"top1_{stage}", ends):
            self.say(f"{stage}: top-1 of its {row['name']} path {100 * row['top1']:.2f} %")

    def _enter(self, phase: Phase) -> None:
        """Steps are those of this phase from here on."""
        self._phase = phase
        self.bs_train = phase.options["batch_size"] // self.comm.n_procs
        self.accum_train = self.dataloader["train"].batches_a_step = self.bs_train // self.mbs_train
        self.one_epoch_train = len(self.dataloader["train"]) // self.bs_train

    def weights_file(self, stage: str) -> str | None:
        """As every shrinking run's; the first of several phases leaves the teacher."""
        first = stage == self.phases[0].name and len(self.phases) > 1
        return TEACHER if first else super().weights_file(stage)

    def _schedule(self) -> Schedule:
        """Of the phase that is being trained: half a cosine of its own."""
        phase = self._phase
        assert phase is not None
        ramp = {key: phase.options[key] for key in ("ramp", "ramp_from")}
        rate = learning_rate("cosine", phase.options["rate"], total=phase.last - phase.first, **ramp)
        return lambda epoch: rate(epoch - phase.first)

    @cached_property
    def teacher(self) -> ClassifierNet:
        """The largest network as the first phase left it."""
        teacher = self._new_teacher()
        load_weights(teacher, self.folder / TEACHER)
        return teacher

    def _new_teacher(self) -> ClassifierNet:
        """With fresh weights, which nothing updates. As the host's, it normalises by each batch's own statistics, which
        fit whatever size the images have."""
        options = {**self.model.options, "drop_rate": 0.0}
        teacher = ClassifierNet(self.space, only=self.space.largest(), rng=np.random.default_rng(0), **options)
        teacher.apply(training=True)
        return teacher

    def update_graph(self, key="train"):
        """As the trainer's, for images of the size that comes next; the step alone decides what dropout drops."""
        side = self.dataloader[key].next_side
        if self.placeholder[key]["inputs"][0].shape[-1] != side:
            self.placeholder[key]["inputs"] = [nn.Variable((self.mbs_train, 3, side, side))]
        seed = np.random.SeedSequence([self.hparams["seed"], self._step, self.comm.rank]).generate_state(1)[0]
        self.model.apply(dropout_seed=int(seed >> 1))  # of 31 bits
        return super().update_graph(key)

    def losses(self, outputs, placeholder):
        """As the trainer's, and behind the first phase the cross entropy to the teacher's answer."""
        loss, terms = super().losses(outputs, placeholder)
        weight = self.hparams["lambda_kd"]
        if self._phase is self.phases[0] or not weight:
            return loss, terms
        with nn.no_grad():
            answer = self.teacher(*placeholder["inputs"])
        terms["distillation"] = self.model.kd_loss(outputs, answer)
        with single_precision():
            return loss + weight * terms["distillation"], terms

    # -- figures ------------------------------------------------------------------------------------------------------

    def evaluate(self, stage: str, paths: dict[str, np.ndarray]) -> list[dict]:
        """Name, FLOPs and top-1 accuracy on the test split of each of these paths, in `stage`.json."""

        def work() -> None:
            rows = np.array(list(paths.values()))
            named = zip(paths, self.flops(rows).tolist(), self.on_test_split(rows).tolist(), rows.tolist(), strict=True)
            keys = ("name", "flops", "top1", "path")
            self.folder.write(f"{stage}.json", [dict(zip(keys, row, strict=True)) for row in named])

        self.folder.stage(stage, self.evaluation_identity, [f"{stage}.json"], work, branch=True)
        return self.folder.read(f"{stage}.json")

    def report(self, quality: dict, paths: list[dict]) -> None:
        """`summary.json`, and the tables for the user."""

        def work() -> None:
            ends = {phase.name: self.folder.read(f"top1_{phase.name}.json") for phase in self.phases}
            summary = {
                "seed": self.hparams["seed"],
                "dataset": self.dataloader["train"].dataset.name,
                "test": {
                    "dataset": self.dataloader["test"].dataset.name,
                    "images": len(self.dataloader["test"].dataset),
                },
                "space_size": self.space.size(),
                "seconds": self.folder.seconds,
                "metric": self.hparams["metric"],
                "phases": {name: {row["name"]: row["top1"] for row in rows} for name, rows in ends.items()},
                "paths": paths,
                "buckets": self.budgets.edges.tolist(),
                "filter": quality["filter"],
                "filter_quality": quality,
            }
            self.folder.write("summary.json", summary)

        self.folder.stage("report", {"filter_quality": quality, "paths": paths}, ["summary.json"], work)
        self.say(quality_table(quality))
        self.say(f"{'path':>20} {'MMAC':>9} {'top-1 (%)':>9}")
        for row in paths:
            self.say(f"{row['name']:>20} {row['flops'] / 1e6:9.1f} {100 * row['top1']:9.2f}")


def corners(space: SearchSpace) -> Iterator[tuple[str, np.ndarray]]:
    """The paths that have one depth, one expand and one width throughout, each the largest or the smallest; by name."""
    structure = space.structure
    for depth, expand, width in product(_ends(structure.depths), _ends(structure.expands), _ends(structure.widths)):
        if structure.coupled and structure.depths.index(depth) != structure.widths.index(width):
            continue
        few = space.only(depths=[depth], expands=[expand], widths=[width])
        yield f"D {depth}, E {expand:g}, W {width:g}", few.enumerate()[0]


def _ends(choices: tuple[Choice, ...]) -> list[Choice]:
    """The largest, and the smallest where that is another."""
    return list(dict.fromkeys((choices[-1], choices[0])))
