"""Ranking stages: paths are measured and a path filter learns to order them (Section 3.1; Algorithm 1, lines 3 and 4).

What runs of a detector and of a classifier have in common beyond their training.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from .errors import ConfigError
from .path_filter import AUTO, PathFilter, cross_validate, fit, require_fit_options
from .space import SearchSpace
from .training import MeasuredPaths, SupernetRunner
from .training.costs import FLOPS
from .training.files import checksum
from .training.plan import Work
from .training.runner import IMAGES
from .training.settings import keywords, require_count, require_keys

PATH_FILTER_KEYS = (
    "paths_per_bucket", "n_buckets", "bn_images", "evaluation_bn_images", "validation_images", "network", "fit",
    "pretrained", "folds", "second_measurement",
)  # fmt: skip
NETWORK_KEYS, FIT_KEYS = keywords(PathFilter, "rng"), keywords(fit, "rng", "progress", "agree")
TABLE_2 = {"network": ("budget_condition", "block_encoding"), "fit": ("bounded",)}  # what its ablation switches off
Score = Callable[[np.ndarray], np.ndarray]  # paths (n, genes) -> (n,), higher is better inside a bucket


class PathRanker(SupernetRunner):
    """Measures paths of a supernet, fits path filters to them and says how well such filters rank unseen paths.

    `MAIN_EFFECTS`: whether a filter that starts from none has them, and why, where the configuration says "auto".
    """

    MAIN_EFFECTS = (True, "no filter is given that was fitted to thousands of paths, and few are measured here")

    def check_settings(self) -> None:
        """As the trainer's, and everything below `path_filter`; makes a filter, which refuses what none can have."""
        super().check_settings()
        path_filter = self.hparams["path_filter"]
        require_keys("path_filter", path_filter, PATH_FILTER_KEYS, needed=PATH_FILTER_KEYS)
        require_keys("path_filter.network", path_filter["network"], NETWORK_KEYS)
        require_keys("path_filter.fit", path_filter["fit"], FIT_KEYS)
        require_fit_options(**path_filter["fit"])
        least = {"n_buckets": 1, "folds": 2, "paths_per_bucket": 4, **dict.fromkeys(IMAGES, 1)}
        for key, count in least.items():  # of 4 paths, folds leave 2 to compare
            require_count(f"path_filter.{key}", path_filter[key], least=count)
        if not isinstance(path_filter["second_measurement"], bool):
            given = path_filter["second_measurement"]
            raise ConfigError(f"path_filter.second_measurement is {given!r}; it must be true or false")
        self.say_fewer_images()
        self.new_path_filter()

    def measure_paths(self, name: str, space: SearchSpace) -> MeasuredPaths:
        """m paths drawn uniformly from every bucket of the space, with their validation losses, in `name`.csv."""
        options = self.hparams["path_filter"]
        rng = self.rng(name)
        ranges = map(self.budgets.range, self.budgets.reachable(space, self.cost))
        paths = [
            space.sample(options["paths_per_bucket"], rng, cost=self.cost, low=low, high=high) for low, high in ranges
        ]
        settings = {"paths_per_bucket": options["paths_per_bucket"]}
        settings |= {key: self.n_images(key) for key in ("bn_images", "validation_images")}
        settings["mini_batch_valid"] = self.mbs_valid  # BN re-estimation normalises by batches
        if self.space.structure.merge_equal_choices:  # earlier releases left other rows of the same networks
            settings["merge_equal_choices"] = True
        if self.cost is not self.flops:
            settings["cost"] = self.cost_identity
        return self.measured(name, np.unique(np.concatenate(paths), axis=0), settings)

    def planned_paths(self, name: str) -> Work:
        """What `measure_paths` takes."""
        options = self.hparams["path_filter"]
        n_paths = options["paths_per_bucket"] * len(self.budgets.reachable(self.space, self.cost))
        return self.planned_measuring(name, n_paths, self.n_images("validation_images"))

    def fit_path_filter(self, name: str, measured: MeasuredPaths) -> Score:
        """The score of a path filter fitted to measured paths, which is left in `name`.h5."""
        file, pretrained = self.folder / f"{name}.h5", self.hparams["path_filter"]["pretrained"]
        layout, path_filter = self.space.token_layout(), self.new_path_filter()
        network = {**self.hparams["path_filter"]["network"], "main_effects": path_filter.design.main_effects}

        def work() -> None:
            options = self.hparams["path_filter"]["fit"]
            if pretrained is not None:
                self.say(f"{name}: starting from {pretrained}")
            if why := self.main_effects[1]:
                self.say(f"{name}: main_effects auto is {'on' if network['main_effects'] else 'off'}: {why}")
            with self.bar(name, total=options.get("epochs")) as step:
                options = {**options, "progress": step, "agree": self.first_process}  # or processes wait for each other
                fit(path_filter, *self.filter_inputs(measured), rng=self.rng(name), **options)
            if self.folder.writes:
                path_filter.save(file, space=self.scored_space)

        settings = {"network": network, "fit": self.hparams["path_filter"]["fit"]}
        if pretrained is not None:
            settings["pretrained"] = checksum(Path(pretrained))
        self.folder.stage(name, settings, [file.name], work)
        fitted = PathFilter.load(file, layout=layout, space=self.scored_space)

        def score(paths: np.ndarray) -> np.ndarray:
            return fitted.score(self.space.tokenize(paths), self.budgets.bucket(self.cost(paths)), dtype=np.float64)

        return score

    def new_path_filter(self) -> PathFilter:
        """A path filter with fresh weights, or with those in the file that `path_filter.pretrained` names."""
        options = self.hparams["path_filter"]
        layout, rng = self.space.token_layout(), self.rng("path_filter")
        network = {**options["network"], "main_effects": self.main_effects[0]}
        path_filter = PathFilter(layout, options["n_buckets"], rng=rng, **network)
        if options["pretrained"] is not None:
            path_filter.start_from(options["pretrained"], space=self.scored_space)
        return path_filter

    @property
    def main_effects(self) -> tuple[bool | Literal["auto"], str]:
        """`path_filter.network.main_effects`; where it is "auto" what that means here, and why.

        A filter that is given keeps its own setting, and the ablation of Table 2 is of the paper's filter.
        """
        options = self.hparams["path_filter"]
        given = options["network"].get("main_effects", AUTO)
        if given != AUTO:
            return given, ""
        if options["pretrained"] is not None:
            return AUTO, f"as {options['pretrained']} has it"
        for part, switches in TABLE_2.items():
            for switch in switches:
                if options[part].get(switch) is False:
                    return False, f"{part}.{switch} is false, an ablation of the paper's filter"
        return self.MAIN_EFFECTS

    @property
    def scored_space(self) -> dict:
        """What a filter's scores are of: the choices that paths are made of, and the cost that divides the buckets."""
        return {**self.space.structure.to_dict(), "cost": (self.hparams.get("cost") or FLOPS)["name"]}

    def filter_inputs(self, measured: MeasuredPaths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens (n, 21), buckets (n,) and losses (n,) of measured paths."""
        return self.space.tokenize(measured.paths), measured.bucket, measured.loss

    def assess_path_filter(self, name: str, measured: MeasuredPaths) -> dict:
        """How well filters fitted to the paths in `name`.csv rank those they have not seen, beside simpler rankers."""
        options = self.hparams["path_filter"]
        again = None
        if options["second_measurement"]:  # on other images: an order that these do not confirm is theirs alone
            again = self.measured(f"{name}_again", measured.paths, {"part": 1}, part=1, branch=True).loss

        def work() -> None:
            epochs = options["fit"].get("epochs")
            with self.bar("filter_quality", total=epochs and options["folds"] * epochs) as step:
                quality = cross_validate(
                    self.new_path_filter,
                    *self.filter_inputs(measured),
                    costs=measured.flops,
                    again=again,
                    folds=options["folds"],
                    rng=self.rng("filter_quality"),
                    progress=step,
                    agree=self.first_process,
                    **options["fit"],
                )
            self.folder.write("filter_quality.json", quality)

        settings = {"folds": options["folds"]}
        self.folder.stage("filter_quality", settings, ["filter_quality.json"], work, branch=True)
        return self.folder.read("filter_quality.json")
