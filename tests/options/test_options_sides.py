"""The size of an image: one number is a square, two are height and width, and files hold what was meant."""

from typing import Annotated

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.options import IMAGE_SIZE, Options, Sides, Whole

WRONG = [20, 0, -32, 64.0, True, "64", None, [], [64], [64, 64, 64], [64, 20], [20, 64], [64, 64.0], [64, None], "ab"]


class Sized(Options):
    """A class with a size."""

    image_size: Annotated[tuple[int, int], IMAGE_SIZE]


def test_one_number_is_a_square_and_two_are_height_and_width():
    assert IMAGE_SIZE(64) == IMAGE_SIZE([64, 64]) == IMAGE_SIZE((64, np.int8(64))) == (64, 64)
    assert IMAGE_SIZE([96, 128]) == (96, 128) != IMAGE_SIZE([128, 96])
    assert all(type(side) is int for side in IMAGE_SIZE([np.int64(96), np.uint8(128)]))


@pytest.mark.parametrize("value", WRONG, ids=str)
def test_what_no_size_can_be(value):
    with pytest.raises(ConfigError) as caught:
        IMAGE_SIZE.required("image_size", value)
    assert (caught.value.key, caught.value.given, caught.value.allowed) == ("image_size", value, IMAGE_SIZE.allowed)
    with pytest.raises(ConfigError) as caught:
        Sized.of("data", {"image_size": value})
    assert (caught.value.key, caught.value.allowed) == ("data.image_size", IMAGE_SIZE.allowed)


def test_files_hold_one_number_or_two_which_read_as_the_same():
    for value, plain in ((64, 64), ([64, 64], 64), ([64, 96], [64, 96])):
        options = Sized(image_size=value)
        assert options.model_dump() == options.model_dump(mode="json") == {"image_size": plain}
        assert Sized(**options.model_dump()) == options


def test_sides_may_be_of_any_kind():
    kind = Sides(Whole(least=16))
    assert (kind(17), kind([16, 20])) == ((17, 17), (16, 20))
    assert Whole(least=16).words in kind.allowed and "[height, width]" in kind.allowed
    with pytest.raises(ValueError, match="at least 16"):
        kind([16, 15])
