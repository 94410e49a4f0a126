"""Laws of operation pruning: a subset, the identity at ratio 0, guards, and a reason for every operation."""

import csv
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.errors import ConfigError, NumericError, SpaceError
from nnabla_detofa.options import ratio
from nnabla_detofa.pruning import STRATEGIES, Drop, PruningResult, prune_operations, strategies, strategy_options
from nnabla_detofa.pruning.guards import Guards
from nnabla_detofa.space import Budgets, CostModel, SearchSpace
from nnabla_detofa.storage.tables import as_csv

SMALL = {"base_depths": (1, 1, 2, 1), "depths": (0, 1), "widths": (0.65, 1.0), "expands": (0.2, 0.35)}
SPACE = SearchSpace.ofa_resnet50(**SMALL, elastic_stem=False)
COST = CostModel.flops(SPACE, image_size=64, n_classes=3, neck=(32,), head=16)
BUDGETS = Budgets.equal_width(COST)
COLUMNS = ["stage", "layer", "depth", "width", "expand", "flops", "score", "bucket", "kept", "reason"]


def by_genes(seed: int):
    weights = np.random.default_rng(seed).normal(size=SPACE.family.n_genes)
    return lambda paths: 1 / (1 + np.exp(-paths @ weights))


def prune(seed: int = 0, score="genes", space: SearchSpace = SPACE, **options) -> PruningResult:
    score = by_genes(seed) if score == "genes" else score
    rng = np.random.default_rng(seed)
    return prune_operations(space, score, COST, BUDGETS, rng=rng, **{"paths_per_operation": 20, **options})


def choose(strategy: str, operations, **ratios) -> list[Drop]:
    return STRATEGIES[strategy].choose(operations, np.random.default_rng(0), **ratios)


def listed_buckets(space: SearchSpace) -> set[int]:
    return set(BUDGETS.bucket(COST(space.enumerate())).tolist())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), strategy=st.sampled_from(sorted(STRATEGIES)), ratio=st.floats(0, 0.75))
def test_what_is_left_is_a_subset_that_keeps_every_bucket(seed: int, strategy: str, ratio: float) -> None:
    result = prune(seed, strategy=strategy, operation_ratio=ratio, operation_ratio_per_bucket=ratio)
    assert SPACE.contains(result.space.enumerate()).all()
    assert SPACE.includes(result.space)
    assert listed_buckets(result.space) == listed_buckets(SPACE)
    assert result.kept.sum() == result.space.n_operations


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_ratio_0_and_none_are_the_identity(strategy: str) -> None:
    ratios = ("operation_ratio", "operation_ratio_all", "operation_ratio_per_bucket")
    result = prune(strategy=strategy, **dict.fromkeys(ratios, 0.0))
    assert result.space == SPACE
    assert result.kept.all()
    assert set(result.reason) == {""}
    assert prune(strategy="none").space == SPACE


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_one_seed_gives_one_result(strategy: str) -> None:
    first, second = prune(7, strategy=strategy), prune(7, strategy=strategy)
    assert first.space == second.space
    assert first.rows() == second.rows()


BY_SCORE = sorted(name for name, one in STRATEGIES.items() if one.by_score)


@pytest.mark.parametrize("strategy", BY_SCORE)
def test_several_scores_prune_as_their_mean_and_name_what_they_do_not_agree_on(strategy: str) -> None:
    each = [by_genes(seed) for seed in (1, 2, 3)]
    together = prune(7, strategy=strategy, each=each)
    mean = prune(7, strategy=strategy, score=lambda paths: np.mean([one(paths) for one in each], axis=0))
    alone = [prune(7, strategy=strategy, score=one) for one in each]
    assert together.space == mean.space and together.reason == mean.reason
    np.testing.assert_allclose(together.operations.score, mean.operations.score, rtol=1e-12)
    unasked = ("", "no path is left that uses it")  # the others are kept by guards or not
    would = [[why not in unasked for why in one.reason] for one in alone]
    assert together.votes.tolist() == would
    votes = np.sum(would, axis=0)
    assert [bool(text) for text in together.near] == [0 < n < 3 for n in votes]
    assert {text for text, n in zip(together.near, votes, strict=True) if n == 2} == {"2 of 3 filters prune it"}
    assert [row["near_threshold"] for row in together.rows()] == together.near


def test_scores_that_agree_have_no_near_ties_and_one_score_tells_of_none() -> None:
    assert set(prune(7, each=[by_genes(7)] * 2).near) == {""}
    for result in (prune(7), prune(7, each=[by_genes(7)]), prune(7, strategy="flops", each=[by_genes(1), by_genes(2)])):
        assert result.votes is None and set(result.near) == {""}
        assert list(result.rows()[0]) == COLUMNS


def test_pruning_a_pruned_space() -> None:
    once = prune(1).space
    twice = prune(1, space=once)
    assert once.contains(twice.space.enumerate()).all()
    assert len(twice.kept) == once.n_operations
    assert listed_buckets(twice.space) == listed_buckets(once)


def test_scores_and_flops_are_means_over_paths_that_hold_the_operation() -> None:
    seen = []

    def score(paths: np.ndarray) -> np.ndarray:
        assert SPACE.contains(paths).all()
        seen.append(len(paths))
        return paths[:, 3] + 2.0 * paths[:, 4]  # depth and width of stage 0, which an operation of stage 0 sets

    result = prune(strategy="none", score=score)
    operation, scored = result.operations.operation, result.operations
    of_stage_0 = operation.segment == 1
    depth, width = SPACE.family.segments[1].contexts[operation.context].T
    assert np.allclose(scored.score[of_stage_0], (depth + 2.0 * width)[of_stage_0])
    assert len(set(scored.score[~of_stage_0].tolist())) == 1  # the same random paths serve every operation
    lowest, highest = COST.range(SPACE)
    assert (lowest <= scored.flops).all()
    assert (scored.flops <= highest).all()
    for layer in (0, 1):
        e = [(operation.segment == 4) & (operation.block == layer) & (operation.choice == i) for i in (0, 1)]
        assert (scored.flops[e[0]] < scored.flops[e[1]]).all()
    assert sum(seen) < 20 * SPACE.n_operations  # equal paths are scored once
    assert (scored.bucket[[scored.flops.argmin(), scored.flops.argmax()]] == [0, 4]).all()


def test_strategies_drop_the_weakest_of_their_group() -> None:
    operations = prune(strategy="none").operations
    for strategy in ("flops", "flops_score_per_bucket"):
        drops = choose(strategy, operations, operation_ratio=0.5)
        dropped = np.isin(np.arange(len(operations.flops)), [drop.number for drop in drops])
        for bucket in range(5):
            members = operations.bucket == bucket
            assert dropped[members].sum() == int(0.5 * members.sum() + 0.5)
            if strategy != "flops" and 0 < dropped[members].sum() < members.sum():
                assert operations.score[members & dropped].max() <= operations.score[members & ~dropped].min()
    drops = choose("flops_score_all", operations, operation_ratio_all=0.25, operation_ratio_per_bucket=0.0)
    weakest = np.argsort(operations.score, kind="stable")[: len(drops)]
    assert len(drops) == int(0.25 * len(operations.flops) + 0.5)
    assert [drop.number for drop in drops] == weakest.tolist()
    both = choose("flops_score_all", operations, operation_ratio_all=0.25, operation_ratio_per_bucket=0.3)
    assert {drop.number for drop in drops} < {drop.number for drop in both}
    assert len({drop.number for drop in both}) == len(both)


def test_guards_equal_dropping_one_by_one() -> None:
    rng = np.random.default_rng(3)
    order = [Drop(int(i), "") for i in rng.permutation(SPACE.n_operations)[:40]]
    left, dropped, kept = Guards(SPACE, COST, BUDGETS).admit(order)
    expected: list[Drop] = []
    for drop in order:
        keep = np.ones(SPACE.n_operations, bool)
        keep[[d.number for d in [*expected, drop]]] = False
        try:
            harmless = listed_buckets(SPACE.restrict(keep)) == listed_buckets(SPACE)
        except SpaceError:
            harmless = False
        expected += [drop] * harmless
    assert dropped == expected
    assert {drop.number for drop in kept} == {d.number for d in order} - {d.number for d in expected}
    assert kept
    assert all(drop.reason.startswith("kept: ") for drop in kept)
    assert left.n_operations <= SPACE.n_operations - len(dropped)


def test_reasons_say_what_happened() -> None:
    result = prune(2, strategy="flops_score_all", operation_ratio_per_bucket=0.7)
    for kept, reason in zip(result.kept, result.reason, strict=True):
        if kept:
            assert reason == "" or reason.startswith(("kept: no path would be left in bucket", "kept: stage"))
        else:
            assert reason.startswith(("lowest 10% of all", "lowest 70% of bucket", "no path is left that uses it"))
    assert any(reason.startswith("kept") for reason in result.reason)
    assert any(reason.startswith("random 70%") for reason in prune(2, strategy="flops", operation_ratio=0.7).reason)


def test_csv_holds_every_operation_by_value() -> None:
    for score in ("genes", None):
        result = prune(strategy="flops", score=score)
        rows = list(csv.DictReader(as_csv(result.rows(), result.rows()[0]).splitlines()))
        assert list(rows[0]) == COLUMNS
        assert len(rows) == SPACE.n_operations
        assert {row["width"] for row in rows} == {"0.65", "1.0"}
        assert {row["expand"] for row in rows} == {"0.2", "0.35"}
        assert [row["kept"] == "True" for row in rows] == result.kept.tolist()
        assert np.allclose([float(row["flops"]) for row in rows], result.operations.flops, rtol=0)
        for row in rows:
            assert int(row["layer"]) < SMALL["base_depths"][int(row["stage"])] + int(row["depth"])
        if score is None:
            assert {row["score"] for row in rows} == {""}
        else:
            assert [float(row["score"]) for row in rows] == result.operations.score.tolist()


def test_coupled_space_has_coupled_operations_only() -> None:
    space = SearchSpace.comp_ofa(**SMALL)
    cost = CostModel.flops(space, image_size=64, n_classes=3)
    result = prune_operations(
        space, by_genes(0), cost, Budgets.equal_width(cost), paths_per_operation=10, rng=np.random.default_rng(0)
    )
    operation = result.operations.operation
    assert set(operation.context) == {0, 3}
    assert 0 < result.space.size() < space.size()


def test_a_strategy_of_ones_own_is_a_function(monkeypatch) -> None:
    """With an option that no other has; it is offered and checked like all others."""

    def first(operations, rng, *, how_many: Annotated[float, ratio()] = 0.1) -> list[Drop]:  # noqa: ARG001
        return [Drop(i, "first") for i in range(int(how_many * len(operations.flops)))]

    monkeypatch.setitem(STRATEGIES, "first", strategies.Strategy(first, by_score=False))
    assert {"how_many", "operation_ratio", "operation_ratio_all"} < set(strategy_options().model_fields)
    result = prune(strategy="first", how_many=0.2, operation_ratio_all=0.5, score=None)
    assert result.reason.count("first") > 0 and set(result.reason[len(result.reason) // 5 :]) <= {""}
    with pytest.raises(ConfigError) as caught:
        prune(strategy="none", how_many=2)
    assert (caught.value.key, caught.value.given) == ("pruning.how_many", 2)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"strategy": "flop"}, ConfigError, "known: flops, .*did you mean 'flops'"),
        ({"operation_ratio": 1.0}, ConfigError, "operation_ratio is 1"),
        ({"operation_ratio_all": -0.1}, ConfigError, "operation_ratio_all is -0"),
        ({"operation_ratio_per_bucket": "x"}, ConfigError, "operation_ratio_per_bucket is 'x'"),
        ({"operation_share": 0.1}, ConfigError, "operation_share.*known: .*operation_ratio"),
        ({"paths_per_operation": 0}, ConfigError, "paths_per_operation is 0"),
        ({"score": None}, ConfigError, "no score"),
        ({"score": lambda p: p}, ConfigError, "score gave shape"),
        ({"score": lambda p: np.full(len(p), np.nan)}, NumericError, "not finite"),
        ({"operation_ratio_per_bucket": 0.99}, SpaceError, "0.99.* would leave 0 operations; .* needs 5"),
    ],
)
def test_bad_options(options: dict, error: type, word: str) -> None:
    with pytest.raises(error, match=word):
        prune(**options)


DRAWS = 400


@pytest.fixture(scope="module")
def random_drops():
    """All operations, and what "flops" drops of them by as many seeds as there are draws."""
    operations = prune(strategy="none", score=None).operations
    rngs = map(np.random.default_rng, range(DRAWS))
    return operations, [STRATEGIES["flops"].choose(operations, rng, operation_ratio=0.5) for rng in rngs]


def test_flops_drops_each_operation_of_a_bucket_equally_often(random_drops) -> None:
    operations, drops = random_drops
    times = np.bincount([one.number for each in drops for one in each], minlength=len(operations.flops))
    for bucket in range(len(BUDGETS)):
        own = times[operations.bucket == bucket]
        share = own.sum() / DRAWS / max(1, len(own))
        assert (abs(own - DRAWS * share) <= 5 * np.sqrt(DRAWS * share * (1 - share))).all()


def test_flops_offers_its_drops_to_the_guards_in_an_order_that_favours_no_bucket(random_drops) -> None:
    operations, drops = random_drops
    firsts = np.bincount([operations.bucket[each[0].number] for each in drops], minlength=len(BUDGETS))
    shares = np.bincount([operations.bucket[one.number] for one in drops[0]], minlength=len(BUDGETS)) / len(drops[0])
    assert (abs(firsts - DRAWS * shares) <= 5 * np.sqrt(DRAWS * shares) + 1).all()


def test_buckets_of_operations_are_of_equal_width() -> None:
    operations = prune(strategy="none", score=None).operations
    place = len(BUDGETS) * (operations.flops - operations.flops.min()) / np.ptp(operations.flops)
    assert (abs(place - operations.bucket - 0.5) <= 0.5 + 1e-9).all()


def test_operations_are_in_buckets_of_the_cost_that_budgets_are_of() -> None:
    """And their FLOPs are told beside it."""
    parameters = CostModel.parameters(SPACE, n_classes=3, neck=(32,), head=16)
    budgets, options = Budgets.equal_width(parameters), {"strategy": "none", "paths_per_operation": 20}

    def operations(flops):
        rng = np.random.default_rng(0)
        return prune_operations(SPACE, None, parameters, budgets, flops=flops, rng=rng, **options).operations

    alone, both = operations(None), operations(COST)
    assert np.array_equal(both.bucket, alone.bucket) and np.array_equal(both.cost, alone.flops)
    assert np.array_equal(both.flops, prune(strategy="none", score=None).operations.flops)


def test_blocks_that_open_are_completed_alike_for_all_operations() -> None:
    """By common random numbers: two operations of a stage and depth differ in what they set alone."""
    operations = prune(
        strategy="none", score=lambda paths: 1.0 * paths[:, -1], paths_per_operation=200
    ).operations  # the score is the expand of the last stage's last block
    depth, _ = SPACE.family.segments[4].contexts[operations.operation.context].T
    own = (operations.operation.segment == 4) & (operations.operation.block == 0) & (depth == 1)
    assert own.sum() == 4 and len(set(operations.score[own].tolist())) == 1
