"""The meaning of `main_effects: auto` for the filters of a run."""

import pytest
from small_runs import ABSENT, changed

from nnabla_detofa.filter_stages import (
    FEW_PATHS,
    MANY_PATHS,
    assess_path_filter,
    main_effects,
    measure_paths,
    new_path_filters,
)
from nnabla_detofa.space import Budgets

EFFECTS = "path_filter.network.main_effects"


@pytest.mark.parametrize("switch", [None, "network.budget_condition", "network.block_encoding", "fit.bounded"])
@pytest.mark.parametrize("given", ["auto", ABSENT, True, False])
def test_the_ablation_of_table_2_is_of_the_papers_filter(ready, switch, given):
    ready.options = changed(ready.options, EFFECTS, given)
    if switch:
        ready.options = changed(ready.options, f"path_filter.{switch}", False)
    for auto in (FEW_PATHS, MANY_PATHS):
        expected = given if isinstance(given, bool) else auto[0] and switch is None
        assert new_path_filters(ready, auto).filters[0].design.main_effects is expected
        assert bool(main_effects(ready, auto)[1]) == (not isinstance(given, bool))


def test_as_many_paths_are_measured_again_as_at_first(ready, monkeypatch):
    monkeypatch.setattr(Budgets, "counts", lambda *_: [100, 0, 0, 100, 0])
    run = ready.rehearsal()
    assess_path_filter(run, "paths", measure_paths(run, "paths", run.space))
    planned = run.stages.planned
    assert planned["paths"] == planned["paths_again"]
    assert planned["paths"].detail.startswith(f"{2 * run.options.path_filter.paths_per_bucket} paths")
