"""Fixtures of the space's tests: pruned forms of a space, and a test of how often things were drawn."""

import numpy as np
import pytest
from hypothesis import assume

from nnabla_detofa.errors import SpaceError


@pytest.fixture(scope="session")
def pruned():
    """A random pruned form of a space; where the mask leaves no path the example is skipped."""

    def prune(space, seed, share=0.75):
        try:
            return space.restrict(np.random.default_rng(seed).random(space.n_operations) < share)
        except SpaceError:
            assume(False)
            raise

    return prune


@pytest.fixture(scope="session")
def is_uniform():
    """Whether counts are as expected, by a chi-square test at five standard deviations."""

    def test(observed, expected):
        chi_square, freedom = ((observed - expected) ** 2 / expected).sum(), len(observed) - 1
        return abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)

    return test
