"""CompOFA* is a part of OFA's space that was chosen by hand, and is judged under the same budgets."""

import numpy as np

from nnabla_detofa.space import Budgets, CostModel, SearchSpace

PAPER = {"image_size": 384, "n_classes": 20}


def test_both_spaces_have_the_same_buckets_and_reach_all_of_them():
    ofa, comp_ofa = SearchSpace.ofa_resnet50(), SearchSpace.comp_ofa()
    budgets = Budgets.equal_width(CostModel.flops(ofa, **PAPER))
    cost = CostModel.flops(comp_ofa, **PAPER)
    assert np.array_equal(Budgets.equal_width(cost).edges, budgets.edges)
    assert budgets.reachable(comp_ofa, cost) == [0, 1, 2, 3, 4]
    low, high = cost.range(comp_ofa)
    assert budgets.edges[0] < low < high == budgets.edges[-1]  # its stem is pinned to the largest


def test_a_path_of_both_spaces_costs_the_same():
    comp_ofa = SearchSpace.comp_ofa()
    paths = comp_ofa.sample(200, np.random.default_rng(0))
    cost = CostModel.parameters(comp_ofa, n_classes=20)
    whole = cost.whole()
    assert (whole.name, whole.unit) == (cost.name, cost.unit) == ("parameters", "parameters")
    assert np.array_equal(whole(paths), cost(paths))
    assert whole.space == SearchSpace.ofa_resnet50()


def test_a_space_that_couples_nothing_is_whole():
    pinned = SearchSpace.ofa_resnet50(elastic_stem=False)
    cost = CostModel.flops(pinned, **PAPER)
    assert cost.whole() is cost
    assert tuple(Budgets.equal_width(cost).edges[[0, -1]]) == cost.range(pinned)
