"""Search stages: evolution in every bucket, and the best of its winners under each budget (Section 3.3)."""

from typing import Any

import numpy as np

from .errors import ConfigError, SpaceError
from .ranking import PathRanker, Score
from .search import Best, Found, best_measured, contested, evolve
from .space import SearchSpace
from .training.runner import HELD_OUT
from .training.settings import keywords, require_count, require_keys, require_numbers

SEARCH_KEYS = keywords(evolve, "rng", "progress")
WINNERS = "winners"  # the table of those that were measured


class PathSearcher(PathRanker):
    """Searches the trained supernet for the best path under each budget; the test split takes no part in it."""

    def check_settings(self) -> None:
        """As the ranker's, and everything below `search`: a search by random scores says what is wrong with it."""
        super().check_settings()
        search, rng = self.hparams["search"], self.rng("rehearsal")
        require_keys("search", search, SEARCH_KEYS, needed=["budgets"])
        require_count("search.generations", search.get("generations", 0), least=0)
        self.winners(self.space, lambda paths: rng.random(len(paths)), rng, generations=0)

    @property
    def limits(self) -> list[float]:
        """The budgets to search under: those given, or the upper edge of each bucket that holds a path."""
        given = self.hparams["search"]["budgets"]
        if given is None:
            return self.budgets.edges[1:][self.budgets.reachable(self.space, self.cost)].tolist()
        if not require_numbers("search.budgets", given):
            raise ConfigError(f"search.budgets is empty; give {self.cost.unit}, or null for one budget a bucket")
        return [float(budget) for budget in given]

    def require_affordable(self, pruned: SearchSpace) -> None:
        """SpaceError, before hours of fine-tuning, for a budget below the cheapest path that pruning left."""
        cheapest, least = self.cost.range(pruned)[0], min(self.limits)
        if least < cheapest:
            raise SpaceError(
                f"search.budgets has {least:,.12g}; the cheapest path that pruning left costs {cheapest:,.12g}"
                f" {self.cost.unit}; raise the budget or prune less"
            )

    @property
    def search_options(self) -> dict:
        """The options of evolution."""
        return {key: value for key, value in self.hparams["search"].items() if key != "budgets"}

    @property
    def n_winners(self) -> int:
        """How many paths the search measures at most."""
        return len(contested(self.space, self.cost, self.limits, self.budgets))

    def winners(self, space: SearchSpace, score: Score, rng: np.random.Generator, **options: Any) -> list[Found]:
        """The path of best score of every bucket up to the highest budget, and of each budget's part of its bucket."""
        limits = contested(space, self.cost, self.limits, self.budgets)
        options = {**self.search_options, **options}
        return evolve(space, score, self.cost, limits, budgets=self.budgets, rng=rng, **options)

    def search(self, space: SearchSpace, score: Score) -> list[dict]:
        """For each budget the best path of at most that cost: every bucket's winner by score, of these the best by the
        run's metric on the held-out images."""
        options, limits = self.search_options, self.limits

        def work() -> None:
            with self.bar("search", total=options.get("generations")) as step:
                found = self.winners(space, score, self.rng("search"), progress=step)
            best = best_measured(found, limits, lambda paths: self.on_held_out(WINNERS, paths))
            self.folder.write("search.json", [self._row(one) for one in best])

        settings = {**options, "budgets": limits, **self.selection_identity}
        self.folder.stage("search", settings, [f"{WINNERS}.csv", "search.json"], work)
        rows = self.folder.read("search.json")
        self.say(f"search: {self._told(rows)}")
        return rows

    def _row(self, best: Best) -> dict:
        winner = best.winner
        return {
            "budget": best.limit,
            **self.priced(winner.path),
            "score": winner.score,
            "bucket": winner.bucket,
            HELD_OUT: None if np.isnan(best.figure) else best.figure,
            "path": winner.path.tolist(),
        }

    def _told(self, rows: list[dict]) -> str:
        """How the search chose, in words."""
        if all(row[HELD_OUT] is None for row in rows):
            return "the held-out images show no object, so scores alone chose, in each budget's own bucket"
        own = np.searchsorted(self.budgets.edges[1:-1], [row["budget"] for row in rows])
        lower = np.count_nonzero(own > [row["bucket"] for row in rows])
        images = len(self.dataloader["valid"].dataset)
        return f"under {lower} of {len(rows)} budgets the best path on {images:,} held-out images is of a lower bucket"
