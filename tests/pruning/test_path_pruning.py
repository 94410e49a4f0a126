"""Laws of path pruning: any ratio from one set of scores, accepted paths distributed as by the loop of Algorithm 1."""

import json

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, SpaceError
from nnabla_detofa.pruning import AcceptedPaths, fixed_random_score, path_thresholds, pruning_score
from nnabla_detofa.space import PROPOSALS, Budgets, CostModel, SearchSpace

SPACE = SearchSpace.ofa_resnet50(
    base_depths=(1, 1, 1, 1), depths=(0, 1), widths=(0.65, 1.0), expands=(0.2, 0.35), elastic_stem=False
)
COST = CostModel.flops(SPACE, image_size=64, n_classes=3, neck=(32,), head=16)
BUDGETS = Budgets.equal_width(COST)
PATHS = SPACE.enumerate()
BUCKET = BUDGETS.bucket(COST(PATHS))
WEIGHTS = np.random.default_rng(0).normal(size=SPACE.family.n_genes)


def score(paths: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-paths @ WEIGHTS))


def accepted(thresholds: np.ndarray, *, seed: int = 0, batch: int = 64, by=score, space=SPACE) -> AcceptedPaths:
    rng = np.random.default_rng(seed)
    return AcceptedPaths(space, by, COST, BUDGETS, thresholds=thresholds, rng=rng, batch=batch)


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.4])
@pytest.mark.parametrize("strategy", ["score", "uniform"])
def test_a_threshold_drops_its_share_of_each_bucket(ratio: float, strategy: str) -> None:
    by = pruning_score(strategy, score, SPACE, np.random.default_rng(1))
    thresholds = path_thresholds(SPACE, by, COST, BUDGETS, paths_per_bucket=4000, rng=np.random.default_rng(2))
    dropped = by(PATHS) < thresholds.at(ratio)[BUCKET]
    for bucket in range(5):
        members = bucket == BUCKET
        tolerance = 0.03 + 1 / members.sum()
        assert abs(dropped[members].mean() - ratio) < tolerance


def test_ratio_0_drops_nothing_and_thresholds_rise_with_the_ratio() -> None:
    thresholds = path_thresholds(SPACE, score, COST, BUDGETS, paths_per_bucket=200, rng=np.random.default_rng(0))
    assert (thresholds.at(0) == -np.inf).all()
    rows = np.stack([thresholds.at(ratio) for ratio in (0.1, 0.25, 0.5, 0.9)])
    assert (np.diff(rows, axis=0) >= 0).all()


def test_unreachable_buckets_have_no_threshold() -> None:
    narrow = SPACE.only(widths=[0.65])
    reachable = set(BUDGETS.bucket(COST(narrow.enumerate())).tolist())
    delta = path_thresholds(narrow, score, COST, BUDGETS, paths_per_bucket=50, rng=np.random.default_rng(0)).at(0.25)
    assert 0 < len(reachable) < 5
    assert [np.isfinite(d) for d in delta] == [b in reachable for b in range(5)]


def test_accepted_paths_are_those_of_the_loop_one_by_one() -> None:
    delta = path_thresholds(SPACE, score, COST, BUDGETS, rng=np.random.default_rng(0)).at(0.25)
    stream = accepted(delta, seed=5, batch=1)
    rng = np.random.default_rng(5)
    for _ in range(50):
        path = SPACE.sample(1, rng)  # line 10
        while score(path)[0] < delta[BUDGETS.bucket(COST(path))[0]]:  # line 11
            path = SPACE.sample(1, rng)
        assert np.array_equal(stream.next(), path[0])


def test_accepted_paths_are_uniform_over_what_passes() -> None:
    tiny = SearchSpace.ofa_resnet50(
        base_depths=(1, 1, 1, 1), depths=(0,), widths=(0.65, 1.0), expands=(0.2, 0.35), elastic_stem=False
    )
    cost = CostModel.flops(tiny, image_size=64, n_classes=3)
    budgets = Budgets.equal_width(cost)
    weights = np.random.default_rng(1).normal(size=tiny.family.n_genes)
    delta = np.full(5, 0.5)
    stream = AcceptedPaths(
        tiny, lambda p: 1 / (1 + np.exp(-p @ weights)), cost, budgets, thresholds=delta, rng=np.random.default_rng(0)
    )
    passing = tiny.enumerate()[tiny.enumerate() @ weights >= 0]
    drawn = np.stack([stream.next() for _ in range(100 * len(passing))])
    paths, counts = np.unique(drawn, axis=0, return_counts=True)
    assert np.array_equal(paths, np.unique(passing, axis=0))
    assert abs(((counts - 100) ** 2 / 100).sum() - len(passing)) < 5 * np.sqrt(2 * len(passing))
    assert stream.seconds > 0


def test_accepted_paths_of_balanced_draws_are_the_draws_that_pass() -> None:
    delta = path_thresholds(SPACE, score, COST, BUDGETS, rng=np.random.default_rng(0)).at(0.25)
    draw = PROPOSALS["balanced"](SPACE, COST, BUDGETS)
    rng = np.random.default_rng(5)
    stream = AcceptedPaths(SPACE, score, COST, BUDGETS, thresholds=delta, rng=rng, draw=draw, batch=64)
    rng = np.random.default_rng(5)
    drawn = np.concatenate([draw(64, rng) for _ in range(20)])
    passing = drawn[score(drawn) >= delta[BUDGETS.bucket(COST(drawn))]]
    assert np.array_equal([stream.next() for _ in passing], passing)
    shares = np.bincount(BUDGETS.bucket(COST(passing)), minlength=5) / len(passing)
    assert shares.min() > 0.13  # a quarter is dropped in each bucket, so what is left is even as well


def test_a_stream_goes_on_where_its_state_was_taken() -> None:
    delta = path_thresholds(SPACE, score, COST, BUDGETS, rng=np.random.default_rng(0)).at(0.25)
    stream = accepted(delta)
    for _ in range(10):
        stream.next()
    state = json.loads(json.dumps(stream.state()))
    resumed = accepted(delta, seed=99)
    resumed.restore(state)
    assert resumed.seconds == stream.seconds
    assert np.array_equal([stream.next() for _ in range(200)], [resumed.next() for _ in range(200)])
    assert stream.drawn.sum() > state["drawn"][2] > 0
    assert np.array_equal([stream.drawn, stream.rejected], [resumed.drawn, resumed.rejected])


@pytest.mark.parametrize("name", PROPOSALS)
def test_a_stream_counts_what_it_drew_and_rejected_in_each_bucket(name: str) -> None:
    delta = path_thresholds(SPACE, score, COST, BUDGETS, rng=np.random.default_rng(0)).at(0.25)
    draw, seen = PROPOSALS[name](SPACE, COST, BUDGETS), []
    stream = AcceptedPaths(
        SPACE,
        score,
        COST,
        BUDGETS,
        thresholds=delta,
        rng=np.random.default_rng(5),
        draw=lambda n, rng: seen.append(draw(n, rng)) or seen[-1],
    )
    assert stream.drawn.tolist() == stream.rejected.tolist() == [0] * 5
    for _ in range(3000):
        stream.next()
    paths = np.concatenate(seen)
    bucket = BUDGETS.bucket(COST(paths))
    assert np.array_equal(stream.drawn, np.bincount(bucket, minlength=5))
    assert np.array_equal(stream.rejected, np.bincount(bucket[score(paths) < delta[bucket]], minlength=5))
    if name != "genes":  # which are not uniform in a bucket
        deviation = np.sqrt(stream.drawn * 0.25 * 0.75) + 0.02 * stream.drawn  # of the draws, and of the quantiles
        assert (abs(stream.rejected - 0.25 * stream.drawn) < 4 * deviation).all()


def test_the_random_score_is_fixed_spread_and_follows_its_seed() -> None:
    first, again, other = (fixed_random_score(SPACE, np.random.default_rng(seed))(PATHS) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert ((first >= 0) & (first < 1)).all()
    assert len(np.unique(first)) == len(PATHS)
    assert np.abs(np.histogram(first, bins=10)[0] / len(PATHS) - 0.1).max() < 0.01
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05
    assert abs(np.corrcoef(first, COST(PATHS))[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda thresholds, _: thresholds.at(1), ConfigError, "path_ratio is 1"),
        (lambda _, rng: path_thresholds(SPACE, score, COST, BUDGETS, paths_per_bucket=0, rng=rng), ConfigError, "is 0"),
        (lambda _, rng: pruning_score("best", score, SPACE, rng), ConfigError, "'best'; known: score, uniform"),
        (lambda *_: accepted(np.full(5, 2.0)).next(), SpaceError, "none of 6,400 drawn paths"),
    ],
)
def test_bad_input(call, error: type, word: str) -> None:
    rng = np.random.default_rng(0)
    thresholds = path_thresholds(SPACE, score, COST, BUDGETS, paths_per_bucket=5, rng=rng)
    with pytest.raises(error, match=word):
        call(thresholds, rng)


@pytest.mark.parametrize(
    "change", [{"queue": [[9] * 19]}, {"rng": {"bit_generator": "MT"}}, {"rejected": [0] * 4}, {"drawn": None}]
)
def test_states_of_another_stream(change: dict) -> None:
    stream = accepted(np.zeros(5))
    with pytest.raises(ConfigError, match="cannot be restored"):
        stream.restore({**stream.state(), **change})
    with pytest.raises(ConfigError, match="cannot be restored"):
        stream.restore({})


def test_thresholds_are_of_the_pruned_spaces_own_paths() -> None:
    narrow, seen = SPACE.only(widths=[0.65]), []

    def noted(paths: np.ndarray) -> np.ndarray:
        seen.append(paths)
        return score(paths)

    path_thresholds(narrow, noted, COST, BUDGETS, paths_per_bucket=50, rng=np.random.default_rng(0))
    assert narrow.contains(np.concatenate(seen)).all()
