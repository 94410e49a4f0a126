"""Algorithm 1 of the paper, and the search under budgets behind it (Section 3.3)."""

from collections.abc import Callable
from contextlib import closing

import numpy as np

from .errors import ConfigError, require_ratio
from .path_filter import PathFilter, cross_validate, fit
from .pruning import (
    PATH_STRATEGIES,
    AcceptedPaths,
    PathThresholds,
    path_thresholds,
    prune_operations,
    pruning_score,
    reachable_buckets,
)
from .search import evolve, pareto_front
from .space import SearchSpace
from .training import FINETUNE, MeasuredPaths, PathSampler, SupernetRunner, path_sampler
from .training.report import pareto_table, quality_table, write_pareto
from .training.settings import keywords, require_count, require_keys, require_name, require_numbers
from .training.tables import read_column

PATH_FILTER_KEYS = (
    "paths_per_bucket", "n_buckets", "bn_images", "validation_images", "network", "fit", "folds", "second_measurement"
)  # fmt: skip
PATH_PRUNING_KEYS = (
    "path_ratio",
    "path_strategy",
    "paths_per_threshold",
)  # those of operation pruning are the other keys of `pruning`
Score = Callable[[np.ndarray], np.ndarray]  # paths (n, genes) -> (n,), higher is better inside a bucket


class DetOFASearcher(SupernetRunner):
    """Trains a supernet on the part of its search space that a path filter leaves, and searches it under budgets.

    A stage leaves its files in the run folder, and is not run again while they are there from the same inputs.
    """

    def run(self) -> "DetOFASearcher":
        """The algorithm; log and curves are whole on disk afterwards, whatever ended it."""
        with closing(self.monitor):
            self.check_settings()
            self.algorithm()
        return self

    def algorithm(self) -> None:
        """Algorithm 1; the numbers are its lines."""
        space = self.space  # 1
        first, last = self.hparams["warmup"], self.hparams["warmup"] + self.hparams["finetune"]
        self.train_supernet("warmup", self.uniform_paths(space), first=0, last=first)  # 2
        measured = self.measure_paths("paths_warmup", space)  # 3
        score = self.fit_path_filter("path_filter_warmup", measured)  # 4
        pruned = self.prune(space, score)  # 5
        accepted = self.accepted_paths(pruned, score)  # 6, and the loop of 11–13
        self.train_supernet("finetune", accepted, first=first, last=last)  # 7–16
        measured = self.measure_paths("paths_final", pruned)  # Section 3.3: re-trained before the search
        score = self.fit_path_filter("path_filter_final", measured)
        quality = self.assess_path_filter(measured)
        found = self.search(pruned, score)  # Equation 2
        self.report(pruned, quality, **self.evaluate(pruned, found))

    def check_settings(self) -> None:
        """Everything that can be known to be wrong before hours of training; raises ConfigError or SpaceError."""
        super().check_settings()
        pruning, path_filter, search = (self.hparams[key] for key in ("pruning", "path_filter", "search"))
        known = keywords(prune_operations, "rng") | {*PATH_PRUNING_KEYS}
        require_keys("pruning", pruning, known, needed=["strategy", *PATH_PRUNING_KEYS])
        require_name("path strategy", pruning["path_strategy"], PATH_STRATEGIES)
        require_ratio("path_ratio", pruning["path_ratio"])
        require_count("pruning.paths_per_operation", pruning.get("paths_per_operation", 1))
        require_count("pruning.paths_per_threshold", pruning["paths_per_threshold"])
        require_keys("path_filter", path_filter, PATH_FILTER_KEYS, needed=PATH_FILTER_KEYS)
        require_keys("path_filter.network", path_filter["network"], keywords(PathFilter, "rng"))
        require_keys("path_filter.fit", path_filter["fit"], keywords(fit, "rng", "progress"))
        least = {"n_buckets": 1, "folds": 2, "paths_per_bucket": 4, "bn_images": 1, "validation_images": 1}
        for key, count in least.items():  # of 4 paths, folds leave 2 to compare
            require_count(f"path_filter.{key}", path_filter[key], least=count)
        for part in range(2 if path_filter["second_measurement"] else 1):
            self.measurer(part)
        require_keys("search", search, keywords(evolve, "budgets", "rng", "progress") | {"budgets"}, needed=["budgets"])
        require_count("search.generations", search.get("generations", 0), least=0)
        self.rehearse()

    def rehearse(self) -> None:
        """Make a path filter, prune and search by random scores; each says what is wrong with its options."""
        rng = self.rng("rehearsal")

        def score(paths: np.ndarray) -> np.ndarray:
            return rng.random(len(paths))

        self.new_path_filter()
        pruning = {**self.operation_pruning, "paths_per_operation": 1}
        prune_operations(self.space, score, self.cost, self.budgets, rng=rng, **pruning)
        search = {**self.hparams["search"], "generations": 0}
        limits = self.limits(search.pop("budgets"))
        evolve(self.space, score, self.cost, limits, budgets=self.budgets, rng=rng, **search)

    @property
    def operation_pruning(self) -> dict:
        """The options of `prune_operations`."""
        return {key: value for key, value in self.hparams["pruning"].items() if key not in PATH_PRUNING_KEYS}

    def uniform_paths(self, space: SearchSpace) -> PathSampler:
        """a ~ U(𝒜), or what `sampler` says instead."""
        return path_sampler(self.hparams["sampler"]["name"], space, self.rng("warmup"))

    def train_supernet(self, stage: str, sampler: PathSampler, *, first: int, last: int) -> None:
        """Epochs `first` to `last` - 1, one path of the sampler a step."""
        pruning = self.hparams["pruning"]
        settings = {key: pruning[key] for key in PATH_PRUNING_KEYS} if stage == FINETUNE else self.identity
        self.folder.stage(
            stage,
            {**settings, "sampler": self.hparams["sampler"], "epochs": [first, last]},
            self.training_files(stage),
            lambda: self.train(stage, sampler, first=first, last=last),
        )
        self.load_trained(stage)

    def measure_paths(self, name: str, space: SearchSpace, *, part: int = 0) -> MeasuredPaths:
        """m paths drawn uniformly from every bucket of the space, with their validation losses."""
        options = self.hparams["path_filter"]
        rng = self.rng(name)
        ranges = map(self.budgets.range, reachable_buckets(space, self.cost, self.budgets))
        paths = [
            space.sample(options["paths_per_bucket"], rng, cost=self.cost, low=low, high=high) for low, high in ranges
        ]
        settings = {key: options[key] for key in ("paths_per_bucket", "bn_images", "validation_images")}
        settings["mini_batch_valid"] = self.mbs_valid  # BN re-estimation normalises by batches
        return self.measured(name, np.unique(np.concatenate(paths), axis=0), settings, part=part)

    def fit_path_filter(self, name: str, measured: MeasuredPaths) -> Score:
        """The score of a path filter fitted to measured paths."""
        file = self.folder / f"{name}.h5"
        layout = self.space.token_layout()

        def work() -> None:
            path_filter = self.new_path_filter()
            options = self.hparams["path_filter"]["fit"]
            with self.bar(name, total=options.get("epochs")) as step:
                fit(path_filter, *self.filter_inputs(measured), rng=self.rng(name), progress=step, **options)
            if self.folder.writes:
                path_filter.save(file)

        settings = {key: self.hparams["path_filter"][key] for key in ("network", "fit")}
        self.folder.stage(name, settings, [file.name], work)
        path_filter = PathFilter.load(file, layout=layout)
        return lambda paths: path_filter.score(self.space.tokenize(paths), self.budgets.bucket(self.cost(paths)))

    def new_path_filter(self) -> PathFilter:
        """A path filter with fresh weights."""
        network = self.hparams["path_filter"]["network"]
        return PathFilter(self.space.token_layout(), len(self.budgets), rng=self.rng("path_filter"), **network)

    def filter_inputs(self, measured: MeasuredPaths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens (n, 21), buckets (n,) and losses (n,) of measured paths."""
        return self.space.tokenize(measured.paths), measured.bucket, measured.loss

    def prune(self, space: SearchSpace, score: Score) -> SearchSpace:
        """𝒜̃: the space without the operations that the strategy drops."""
        options = self.operation_pruning

        def work() -> None:
            result = prune_operations(space, score, self.cost, self.budgets, rng=self.rng("operations"), **options)
            if self.folder.writes:
                result.save_csv(self.folder / "operations.csv")
            self.folder.write("pruned_space.json", result.space.to_dict())

        self.folder.stage("operations", options, ["operations.csv", "pruned_space.json"], work)
        pruned = SearchSpace.from_dict(self.folder.read("pruned_space.json"), within=space)
        kept, all_operations = int(pruned.allowed.sum()), int(space.allowed.sum())
        guarded = sum(why.startswith("kept") for why in read_column(self.folder / "operations.csv", "reason"))
        operations = f"{kept} of {all_operations} kept, {guarded} of them by guards"
        self.say(f"operations: {operations}; {pruned.size():,} of {space.size():,} paths")
        return pruned

    def accepted_paths(self, space: SearchSpace, score: Score) -> PathSampler:
        """a ~ U(𝒜̃) among the paths that reach their bucket's threshold δ; pruning does not touch other samplers."""
        if self.hparams["sampler"]["name"] != "uniform":
            return path_sampler(self.hparams["sampler"]["name"], self.space, self.rng("finetune"))
        pruning = self.hparams["pruning"]
        score = pruning_score(pruning["path_strategy"], score, space, self.rng("path_strategy"))

        def work() -> None:
            n, rng = pruning["paths_per_threshold"], self.rng("thresholds")
            found = path_thresholds(space, score, self.cost, self.budgets, paths_per_bucket=n, rng=rng)
            self.folder.write("thresholds.json", [scores.tolist() for scores in found.scores])

        settings = {key: pruning[key] for key in ("path_strategy", "paths_per_threshold")}
        self.folder.stage("thresholds", settings, ["thresholds.json"], work)
        found = PathThresholds(tuple(np.array(scores) for scores in self.folder.read("thresholds.json")))
        thresholds = found.at(pruning["path_ratio"])
        return AcceptedPaths(space, score, self.cost, self.budgets, thresholds=thresholds, rng=self.rng("finetune"))

    def assess_path_filter(self, measured: MeasuredPaths) -> dict:
        """How well filters fitted like this one rank paths that they have not seen, beside what needs no filter."""
        options = self.hparams["path_filter"]
        again = None
        if options["second_measurement"]:  # on other images: an order that these do not confirm is theirs alone
            again = self.measured("paths_final_again", measured.paths, {"part": 1}, part=1, branch=True).loss

        def work() -> None:
            quality = cross_validate(
                self.new_path_filter,
                *self.filter_inputs(measured),
                costs=measured.flops,
                again=again,
                folds=options["folds"],
                rng=self.rng("filter_quality"),
                **options["fit"],
            )
            self.folder.write("filter_quality.json", quality)

        settings = {"folds": options["folds"]}
        self.folder.stage("filter_quality", settings, ["filter_quality.json"], work, branch=True)
        return self.folder.read("filter_quality.json")

    def search(self, space: SearchSpace, score: Score) -> list[dict]:
        """The path of best score under each budget."""
        options = dict(self.hparams["search"])
        limits = self.limits(options.pop("budgets"))

        def work() -> None:
            with self.bar("search", total=options.get("generations")) as step:
                own = {"rng": self.rng("search"), "progress": step}
                found = evolve(space, score, self.cost, limits, budgets=self.budgets, **own, **options)
            self.folder.write(
                "search.json",
                [
                    {"budget": one.limit, "flops": int(one.cost), "score": float(one.score), "path": one.path.tolist()}
                    for one in found
                ],
            )

        self.folder.stage("search", {**options, "budgets": limits}, ["search.json"], work)
        return self.folder.read("search.json")

    def limits(self, budgets: list[float] | None) -> list[float]:
        """The budgets to search under: those given, or the upper edge of each bucket that holds a path."""
        if budgets is None:
            reachable = reachable_buckets(self.space, self.cost, self.budgets)
            return self.budgets.edges[1:][reachable].tolist()
        if not require_numbers("search.budgets", budgets):
            raise ConfigError("search.budgets is empty; give FLOPs, or null for one budget a bucket")
        return [float(budget) for budget in budgets]

    def evaluate(self, space: SearchSpace, found: list[dict]) -> dict:
        """The found detectors (`pareto`) and the `largest` path with their AP."""

        def work() -> None:
            largest = self.cost.argmax(space)
            aps = self.average_precisions(np.array([*(one["path"] for one in found), largest], np.int8)).tolist()
            pareto = [{**one, "ap": ap} for one, ap in zip(found, aps[:-1], strict=True)]
            flops = int(self.cost(largest[None])[0])
            self.folder.write(
                "detectors.json",
                {"pareto": pareto, "largest": {"flops": flops, "ap": aps[-1], "path": largest.tolist()}},
            )

        self.folder.stage("evaluate", {"metric": self.hparams["metric"]}, ["detectors.json"], work)
        return self.folder.read("detectors.json")

    def report(self, space: SearchSpace, quality: dict, *, pareto: list[dict], largest: dict) -> None:
        """`summary.json`, `pareto.csv` and `pareto.png`, and the tables for the user."""

        def work() -> None:
            seconds = self.folder.seconds
            pruning_seconds = self.sampler_state(FINETUNE).get("seconds", 0.0)
            summary = {
                "seed": self.hparams["seed"],
                "dataset": self.dataloader["train"].dataset.name,
                "strategy": self.hparams["pruning"]["strategy"],
                "space_size": self.space.size(),
                "pruned_space_size": space.size(),
                "seconds": seconds,
                "path_pruning_share": pruning_seconds / max(seconds[FINETUNE], 1e-9),
                "filter": quality["filter"],
                "filter_quality": quality,
                "metric": self.hparams["metric"],
                "pareto": pareto,
                "largest": largest,
            }
            self.folder.write("summary.json", summary)
            if self.folder.writes:
                points = [*pareto, largest]
                front = pareto_front(*(np.array([one[key] for one in points]) for key in ("flops", "ap")))
                write_pareto(self.folder, self.space, pareto, largest, front=front, metric=self.hparams["metric"])

        self.folder.stage("report", {"filter_quality": quality}, ["summary.json", "pareto.csv", "pareto.png"], work)
        summary = self.folder.read("summary.json")
        self.say(quality_table(quality))
        self.say(f"drawing and scoring paths took {summary['path_pruning_share']:.2%} of the fine-tuning stage")
        self.say(pareto_table(summary))
