"""The Pareto front against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.search import pareto_front


def dominated(one, other):
    """Whether `other` costs no more, is worth no less and differs."""
    return other[0] <= one[0] and other[1] >= one[1] and other != one


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=12))
@settings(max_examples=100, deadline=None)
def test_front_is_what_nothing_dominates(points):
    front = pareto_front([p[0] for p in points], [p[1] for p in points])
    assert sorted(front) == [i for i, one in enumerate(points) if not any(dominated(one, other) for other in points)]
    assert (np.diff([points[i][0] for i in front]) >= 0).all()


def test_points_without_a_value_are_left_out():
    assert pareto_front([1.0, 2.0, 3.0], [np.nan, 1.0, -np.inf]).tolist() == [1]
    assert pareto_front([1.0], [-np.inf]).tolist() == [0]
    assert pareto_front([], []).tolist() == []


def test_rows_of_unequal_length():
    with pytest.raises(ConfigError, match=r"costs \(2,\) and values \(3,\) must be two rows of equal length"):
        pareto_front([1, 2], [1, 2, 3])
