"""What `main_effects: auto` becomes for the filters of a run."""

import pytest
from small_runs import ABSENT, changed

from nnabla_detofa.filter_stages import FEW_PATHS, MANY_PATHS, main_effects, new_path_filter

EFFECTS = "path_filter.network.main_effects"


@pytest.mark.parametrize("switch", [None, "network.budget_condition", "network.block_encoding", "fit.bounded"])
@pytest.mark.parametrize("given", ["auto", ABSENT, True, False])
def test_the_ablation_of_table_2_is_of_the_papers_filter(ready, switch, given):
    ready.options = changed(ready.options, EFFECTS, given)
    if switch:
        ready.options = changed(ready.options, f"path_filter.{switch}", False)
    for auto in (FEW_PATHS, MANY_PATHS):
        expected = given if isinstance(given, bool) else auto[0] and switch is None
        assert new_path_filter(ready, auto).design.main_effects is expected
        assert bool(main_effects(ready, auto)[1]) == (not isinstance(given, bool))
