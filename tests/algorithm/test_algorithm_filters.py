"""A run with several path filters in the place of one: `path_filter.filters`."""

import numpy as np
import pytest
from small_runs import BEFORE_PRUNING, Command

from nnabla_detofa.path_filter import AveragedFilter, PathFilter
from nnabla_detofa.pruning_stages import near_ties

THREE = ["path_filter.filters=3", "path_filter.second_measurement=false"]
FILES = [f"path_filter_{name}{number}.h5" for name in ("warmup", "final") for number in ("", "_2", "_3")]


@pytest.fixture(scope="module")
def three(tmp_path_factory, pictures):
    """A finished run with three filters, and what it said."""
    command = Command(tmp_path_factory.mktemp("three"), pictures)
    answer = command(*THREE)
    assert answer.code == 0
    return command, answer


def test_all_filters_are_kept_and_the_first_is_the_one_that_would_be_alone(three, finished):
    folder, alone = three[0].folder, finished[0].folder
    assert {*FILES} <= {one.name for one in folder.glob("*.h5")}
    ours, theirs = (PathFilter.load(one / FILES[0]).weights for one in (folder, alone))
    for name, weights in theirs.items():
        np.testing.assert_array_equal(ours[name], weights)
    assert len({(folder / name).read_bytes() for name in FILES}) == len(FILES)


def test_the_mean_of_the_filters_chooses(three, ready):
    command = three[0]
    averaged = AveragedFilter([PathFilter.load(command.folder / name) for name in FILES[3:]])
    for row in command.json("summary.json")["pareto"]:
        path = np.array([row["path"]], np.int8)
        tokens, buckets = ready.space.tokenize(path), np.array([row["bucket"]])
        assert row["score"] == averaged.score(tokens, buckets, dtype=np.float64)[0]
    assert set(command.json("filter_quality.json")["same_images"]) == {"path filter", "FLOPs", "ridge regression"}


def test_near_ties_are_in_the_table_beside_the_space_and_in_a_line(three):
    command, answer = three
    marked = [row for row in command.rows("operations.csv") if row["near_threshold"]]
    listed = command.json("pruned_space.json")["near_threshold"]
    assert [str(row["score"]) for row in listed] == [row["score"] for row in marked]
    (line,) = [one for one in answer.out if "near the threshold" in one]
    total = len(command.rows("operations.csv"))
    assert line.startswith(f"operations: {len(marked)} of {total} are near the threshold: stage ")
    assert "near the threshold" in (command.folder / "report.html").read_text()


def test_one_filter_marks_nothing(finished):
    command, answer = finished
    assert "near_threshold" not in command.json("pruned_space.json")
    assert "near_threshold" not in command.rows("operations.csv")[0]
    assert not [one for one in answer.out if "near the threshold" in one]


def test_a_line_names_a_few_near_ties():
    row = {"stage": 1, "layer": 0, "depth": 2, "expand": "", "kept": True, "near_threshold": "1 of 2 filters prune it"}
    one = "stage 1 layer 0 depth 2 (kept, 1 of 2 filters prune it)"
    assert near_ties([row], ["depth", "expand"]) == one
    assert near_ties([{**row, "kept": False}] * 5, ["depth"]).endswith("(pruned, 1 of 2 filters prune it) and 2 more")


def test_an_interrupted_fit_ends_as_one_that_was_not(three, command, interrupt):
    interrupt(PathFilter, "save", call=2)
    assert command(*THREE).code == 75
    interrupt(PathFilter, "save", call=None)
    again = command(*THREE)
    assert again.code == 0 and again.kept[: len(BEFORE_PRUNING) - 1] == BEFORE_PRUNING[:-1]
    ours, theirs = (one.results() for one in (command, three[0]))
    for name in (*FILES, "operations.csv", "pruned_space.json", "thresholds.json", "weights.h5", "pareto.csv"):
        assert ours[name] == theirs[name]
    assert command(*THREE).ran == []


OTHERS = [("filters", 2), ("prior", "cost"), ("effects_of", "genes"), ("ranker", "ridge")]


@pytest.mark.parametrize(("option", "value"), OTHERS)
def test_another_ranker_is_fitted_to_the_same_paths(again, option, value):
    alone = PathFilter.load(again.folder / FILES[0]).weights["main"]
    answer = again(f"path_filter.{option}={value}", "path_filter.second_measurement=false")
    assert answer.code == 0
    assert answer.kept == BEFORE_PRUNING[:2] and answer.ran[0] == "path_filter_warmup"
    inputs = again.json("stages.json")["path_filter_warmup"]["inputs"]
    assert inputs[option] == value
    fitted = PathFilter.load(again.folder / FILES[0]).weights["main"]
    # after so few steps dearer paths are no better, and fit leaves costs no share
    assert np.array_equal(fitted, alone) is (option in ("filters", "prior"))


def test_cost_alone_is_fitted_to_nothing_and_finds_the_dearest_path_of_a_bucket(again, ready):
    answer = again("path_filter=flops", "path_filter.second_measurement=false")
    assert answer.code == 0 and not {"path_filter_warmup", "path_filter_final"} & {*answer.ran, *answer.kept}
    assert not [*again.folder.glob("path_filter*.h5")]
    for row in again.json("summary.json")["pareto"]:
        low, high = ready.budgets.edges[row["bucket"]], ready.budgets.edges[row["bucket"] + 1]
        assert row["score"] == pytest.approx((row["flops"] - low) / (high - low))
