"""Algorithm 1 of the paper, what it is compared with, and the search behind both (Sections 3.3 and 4.2)."""

import numpy as np

from .errors import ConfigError, require_ratio
from .pruning import (
    PATH_STRATEGIES,
    AcceptedPaths,
    PathThresholds,
    path_thresholds,
    prune_operations,
    pruning_score,
)
from .ranking import Score
from .search import pareto_front
from .searching import PathSearcher
from .space import PROPOSALS, SearchSpace
from .training import FINETUNE, FULLNET, PathSampler, ShrinkingRunner, path_sampler
from .training.costs import cost_summary
from .training.plan import Work
from .training.report import largest_path, pareto_table, pruning_line, quality_table, write_pareto
from .training.runner import HELD_OUT
from .training.settings import keywords, require_count, require_keys, require_name
from .training.tables import read_column

PATH_PRUNING_KEYS = (
    "path_ratio",
    "path_strategy",
    "paths_per_threshold",
)  # those of operation pruning are the other keys of `pruning`
PRUNING_KEYS = keywords(prune_operations, "rng", "flops") | {*PATH_PRUNING_KEYS}


class DetOFASearcher(PathSearcher, ShrinkingRunner):
    """Trains a supernet on the part of its search space that a path filter leaves, and searches it under budgets.

    A stage leaves its files in the run folder, and is not run again while they are there from the same inputs.
    """

    HPARAMS = (*ShrinkingRunner.HPARAMS, "pruning", "search")

    def algorithm(self) -> None:
        """Trained as the method says, then searched, evaluated and reported as every method."""
        space = self.train_pruned() if self.prunes else self.train_whole()
        quality, found = (None, [self.only_detector()]) if self.trains_one else self.search_stages(space)
        self.report(space, quality, **self.evaluate(space, found))

    def train_pruned(self) -> SearchSpace:
        """Algorithm 1; the numbers are its lines. Returns 𝒜̃."""
        space, first, last = self.space, *self.boundaries  # 1
        self.train_supernet("warmup", self.drawn_paths("warmup"), self.identity, first=0, last=first)  # 2
        measured = self.measure_paths("paths_warmup", space)  # 3
        score = self.fit_path_filter("path_filter_warmup", measured)  # 4
        pruned = self.prune(space, score)  # 5
        accepted = self.accepted_paths(pruned, score)  # 6, and the loop of 11–13
        settings = {key: self.hparams["pruning"][key] for key in PATH_PRUNING_KEYS}
        self.train_supernet(FINETUNE, accepted, settings, first=first, last=last)  # 7–16
        return pruned

    def train_whole(self) -> SearchSpace:
        """The methods that prune nothing (Section 4.2); without phases the warm-up is DetOFA's, to the last bit."""
        if self.phases:
            self.shrink()
            return self.space
        first, last = self.boundaries
        self.train_supernet("warmup", self.drawn_paths("warmup"), self.identity, first=0, last=first)
        self.train_supernet(FINETUNE, self.drawn_paths(FINETUNE), {}, first=first, last=last)
        return self.space

    def search_stages(self, space: SearchSpace) -> tuple[dict, list[dict]]:
        """The quality of path filters fitted to the trained supernet, and the paths that one finds (Section 3.3)."""
        measured = self.measure_paths("paths_final", space)
        score = self.fit_path_filter("path_filter_final", measured)
        return self.assess_path_filter("paths_final", measured), self.search(space, score)  # Equation 2

    def planned(self) -> list[Work]:
        """The stages of `algorithm` that take their time."""
        first, last = self.boundaries
        epochs = {phase.name: phase.last - phase.first for phase in self.phases}
        stages = [self.planned_training(*one) for one in (epochs or {"warmup": first, FINETUNE: last - first}).items()]
        if self.prunes:
            stages.insert(1, self.planned_paths("paths_warmup"))
        if not self.trains_one:
            again = ["paths_final_again"] if self.hparams["path_filter"]["second_measurement"] else []
            stages += [self.planned_paths(name) for name in ("paths_final", *again)]
            stages.append(self.planned_evaluation("search", self.n_winners, "valid"))
        found = 0 if self.trains_one else len(self.limits)
        return [*stages, self.planned_evaluation("evaluate", found + 1)]

    @property
    def boundaries(self) -> tuple[int, int]:
        """The epochs in which the warm-up ends, and all training."""
        return self.hparams["warmup"], self.hparams["warmup"] + self.hparams["finetune"]

    @property
    def prunes(self) -> bool:
        """Whether operations or paths leave the space; without that training needs no path filter."""
        return self.hparams["pruning"]["strategy"] != "none" or self.hparams["pruning"]["path_ratio"] > 0

    @property
    def trains_one(self) -> bool:
        """Whether the largest path alone is trained: then there is no other to search for."""
        return self.hparams["sampler"]["name"] == FULLNET

    def check_settings(self) -> None:
        """Everything that can be known to be wrong before hours of training; raises ConfigError or SpaceError."""
        super().check_settings()
        pruning = self.hparams["pruning"]
        require_keys("pruning", pruning, PRUNING_KEYS, needed=["strategy", *PATH_PRUNING_KEYS])
        require_name("path strategy", pruning["path_strategy"], PATH_STRATEGIES)
        require_ratio("path_ratio", pruning["path_ratio"])
        require_count("pruning.paths_per_operation", pruning.get("paths_per_operation", 1))
        require_count("pruning.paths_per_threshold", pruning["paths_per_threshold"])
        if self.trains_one and self.prunes:
            raise ConfigError(
                "sampler 'fullnet' trains one path, which leaves nothing to prune;"
                " add pruning=none pruning.path_ratio=0, or say method=fullnet"
            )
        if self.phases and self.prunes:
            raise ConfigError(
                "hparams.phases trains the whole space, and pruning (strategy"
                f" '{pruning['strategy']}', path_ratio {pruning['path_ratio']}) takes parts of it away;"
                " choose one, as method=ofa_ps and method=detofa do"
            )
        rng, options = self.rng("rehearsal"), {**self.operation_pruning, "paths_per_operation": 1}
        # by random scores, which says what is wrong with its options
        prune_operations(self.space, lambda paths: rng.random(len(paths)), self.cost, self.budgets, rng=rng, **options)

    @property
    def operation_pruning(self) -> dict:
        """The options of `prune_operations`."""
        return {key: value for key, value in self.hparams["pruning"].items() if key not in PATH_PRUNING_KEYS}

    def drawn_paths(self, stage: str) -> PathSampler:
        """Paths of the whole space as `sampler` says, with a stream of random numbers for each stage."""
        return path_sampler(self.hparams["sampler"]["name"], self.space, self.cost, self.budgets, self.rng(stage))

    def train_supernet(self, stage: str, sampler: PathSampler, settings: dict, *, first: int, last: int) -> None:
        """Epochs `first` to `last` - 1, one path of the sampler a step."""
        settings = {**settings, **self.sampler_identity, "epochs": [first, last]}
        self.train_stage(stage, settings, sampler, first=first, last=last)

    def prune(self, space: SearchSpace, score: Score) -> SearchSpace:
        """𝒜̃: the space without the operations that the strategy drops."""
        options = self.operation_pruning

        def work() -> None:
            flops = None if self.cost is self.flops else self.flops
            rng = self.rng("operations")
            result = prune_operations(space, score, self.cost, self.budgets, flops=flops, rng=rng, **options)
            if self.folder.writes:
                result.save_csv(self.folder / "operations.csv")
            self.folder.write("pruned_space.json", result.space.to_dict())

        self.folder.stage("operations", options, ["operations.csv", "pruned_space.json"], work)
        pruned = SearchSpace.from_dict(self.folder.read("pruned_space.json"), within=space)
        kept, all_operations = int(pruned.allowed.sum()), int(space.allowed.sum())
        guarded = sum(why.startswith("kept") for why in read_column(self.folder / "operations.csv", "reason"))
        operations = f"{kept} of {all_operations} kept, {guarded} of them by guards"
        self.say(f"operations: {operations}; {pruned.size():,} of {space.size():,} paths")
        self.require_affordable(pruned)
        return pruned

    def accepted_paths(self, space: SearchSpace, score: Score) -> PathSampler:
        """Drawn paths of 𝒜̃ that reach their bucket's threshold δ."""
        pruning = self.hparams["pruning"]
        score = pruning_score(pruning["path_strategy"], score, space, self.rng("path_strategy"))

        def work() -> None:
            n, rng = pruning["paths_per_threshold"], self.rng("thresholds")
            found = path_thresholds(space, score, self.cost, self.budgets, paths_per_bucket=n, rng=rng)
            self.folder.write("thresholds.json", [scores.tolist() for scores in found.scores])

        settings = {key: pruning[key] for key in ("path_strategy", "paths_per_threshold")}
        self.folder.stage("thresholds", settings, ["thresholds.json"], work)
        found = PathThresholds(tuple(np.array(scores) for scores in self.folder.read("thresholds.json")))
        thresholds, rng = found.at(pruning["path_ratio"]), self.rng(FINETUNE)
        draw = PROPOSALS[self.hparams["sampler"]["name"]](space, self.cost, self.budgets)
        return AcceptedPaths(space, score, self.cost, self.budgets, thresholds=thresholds, draw=draw, rng=rng)

    def only_detector(self) -> dict:
        """What full-network training leaves, as if it were found: its own cost is its budget, no filter scores it."""
        path = self.space.largest()
        cost, own = self.cost(path[None]), {"path": path.tolist(), "score": None, HELD_OUT: None}
        return {"budget": float(cost[0]), **self.priced(path), "bucket": int(self.budgets.bucket(cost)[0]), **own}

    def evaluate(self, space: SearchSpace, found: list[dict]) -> dict:
        """The found detectors (`pareto`) and the `largest` path with their AP."""

        def work() -> None:
            largest = space.largest() if self.trains_one else self.flops.argmax(space)
            paths = np.array([*(one["path"] for one in found), largest], np.int8)
            distinct, place = np.unique(paths, axis=0, return_inverse=True)
            aps = self.on_test_split(distinct)[place].tolist()
            pareto = [{**one, "ap": ap} for one, ap in zip(found, aps[:-1], strict=True)]
            of = {"name": largest_path(pruned=space != self.space), **self.priced(largest)}
            content = {"pareto": pareto, "largest": {**of, "ap": aps[-1], "path": largest.tolist()}}
            self.folder.write("detectors.json", content)

        settings = {**self.evaluation_identity, "cost": self.cost_identity}
        self.folder.stage("evaluate", settings, ["detectors.json"], work)
        return self.folder.read("detectors.json")

    def path_pruning(self) -> dict:
        """Of fine-tuning: the share of its time that drawing and scoring paths took, and of the drawn paths that their
        thresholds rejected, of all and in each bucket; None where none was drawn."""
        if not self.prunes:
            return {"path_pruning_share": 0.0, "rejected_share": None, "rejected_share_per_bucket": None}
        state = self.sampler_state(FINETUNE)
        rejected = [[sum(state["rejected"]), *state["rejected"]], [sum(state["drawn"]), *state["drawn"]]]
        in_all, *per_bucket = [lost / drawn if drawn else None for lost, drawn in zip(*rejected, strict=True)]
        share = state["seconds"] / max(self.folder.seconds[FINETUNE], 1e-9)
        return {"path_pruning_share": share, "rejected_share": in_all, "rejected_share_per_bucket": per_bucket}

    def report(self, space: SearchSpace, quality: dict | None, *, pareto: list[dict], largest: dict) -> None:
        """`summary.json`, `pareto.csv` and `pareto.png`, and the tables for the user."""

        def work() -> None:
            seconds, test = self.folder.seconds, self.dataloader["test"]
            summary = {
                "seed": self.hparams["seed"],
                "dataset": self.dataloader["train"].dataset.name,
                "test": {
                    "dataset": test.dataset.name,
                    "images": len(test.dataset),
                    "image_size": test.options.image_size,
                },
                "strategy": self.hparams["pruning"]["strategy"],
                "sampler": self.hparams["sampler"]["name"],
                "space_size": self.space.size(),
                "pruned_space_size": space.size(),
                "seconds": seconds,
                **self.path_pruning(),
                "filter": quality and quality["filter"],
                "filter_quality": quality,
                "metric": self.hparams["metric"],
                "cost": cost_summary(self, self.cost),
                "pareto": pareto,
                "largest": largest,
                "parts": {
                    "pareto": [self.parts(one["path"]) for one in pareto],
                    "largest": self.parts(largest["path"]),
                },
            }
            self.folder.write("summary.json", summary)
            if self.folder.writes:
                points = [*pareto, largest]
                costs = self.cost(np.array([one["path"] for one in points], np.int8))
                front = pareto_front(costs, np.array([one["ap"] for one in points]))
                shown = {"front": front, "metric": self.hparams["metric"], "cost": self.cost}
                write_pareto(self.folder, self.space, pareto, largest, **shown)

        self.folder.stage("report", {"filter_quality": quality}, ["summary.json", "pareto.csv", "pareto.png"], work)
        summary = self.folder.read("summary.json")
        if quality is not None:
            self.say(quality_table(quality))
        if self.prunes:
            self.say(pruning_line(summary))
        self.say(pareto_table(summary))
