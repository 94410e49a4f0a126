"""The settings that ranking stages are known by: the rows that were measured, and what `main_effects: auto` became."""

import pytest

from nnabla_detofa.path_filter import PathFilter

EFFECTS = "path_filter.network.main_effects"


def fitted(answer):
    """Names of the stages that a command ran again."""
    return [line.partition(":")[0] for line in answer.out if ": done in " in line]


def test_what_auto_becomes_is_what_the_stages_are_known_by(again):
    """The finished run said true: auto is the same there, and false another filter."""
    answer = again(f"{EFFECTS}=auto")
    assert (answer.code, fitted(answer)) == (0, [])
    assert PathFilter.load(again.folder / "path_filter_warmup.h5").design.main_effects
    answer = again(f"{EFFECTS}=false")
    assert answer.code == 0
    assert "path_filter_warmup" in fitted(answer)
    assert "paths_warmup" not in fitted(answer)
    assert not PathFilter.load(again.folder / "path_filter_final.h5").design.main_effects
    answer = again(f"{EFFECTS}=auto")
    assert answer.code == 0
    for name in ("path_filter_warmup", "path_filter_final"):
        assert any(f"{name}: main_effects auto is on: no filter is given" in line for line in answer.out)
        assert PathFilter.load(again.folder / f"{name}.h5").design.main_effects


def test_measured_rows_are_known_by_how_their_space_counts(finished):
    """Earlier releases measured other rows of the same networks where choices merge."""
    stages = finished[0].json("stages.json")
    assert all(stages[name]["settings"]["merge_equal_choices"] is True for name in ("paths_warmup", "paths_final"))


@pytest.mark.parametrize(
    ("part", "switch", "expected"),
    [
        ("network", None, True),
        ("network", "budget_condition", False),
        ("network", "block_encoding", False),
        ("fit", "bounded", False),
    ],
)
@pytest.mark.parametrize("given", ["auto", None, True, False])
def test_the_ablation_of_table_2_is_of_the_papers_filter(ready, monkeypatch, part, switch, expected, given):
    options = ready.hparams["path_filter"]
    network = {key: value for key, value in options["network"].items() if key != "main_effects"}
    network |= {} if given is None else {"main_effects": given}
    monkeypatch.setitem(ready.hparams["path_filter"], "network", network)
    if switch:
        own = network if part == "network" else dict(options[part])
        monkeypatch.setitem(ready.hparams["path_filter"], part, {**own, switch: False})
    ready.check_settings()
    assert ready.new_path_filter().design.main_effects is (given if isinstance(given, bool) else expected)
    assert bool(ready.main_effects[1]) == (not isinstance(given, bool))


def test_every_setting_that_there_is_can_be_given(command):
    answer = command(f"{EFFECTS}=sometimes")
    assert (answer.code, len(answer.err)) == (2, 1)
    assert "path filter: main_effects is 'sometimes'; it must be true, false or auto" in answer.err[0]
