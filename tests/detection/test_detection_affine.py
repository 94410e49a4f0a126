"""Warps: what they fix, what they preserve, and that they can be undone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.detection import affine, fitting_zoom, invert, letterbox, transform_boxes, transform_points

coordinate = st.floats(-500, 500)
length = st.integers(1, 3000)
sides = st.tuples(*[st.sampled_from([32, 96, 384])] * 2)
warps = st.builds(
    lambda x, y, zoom, sides, flip: affine(np.array([x, y]), zoom, sides, flip=flip),
    *(coordinate, coordinate, st.floats(0.02, 50), sides, st.booleans()),
)


@given(warps, st.lists(st.tuples(*[coordinate] * 4), max_size=5))
@settings(deadline=None, max_examples=50)
def test_points_and_boxes_survive_the_way_there_and_back(matrix, boxes):
    points = np.array(boxes).reshape(-1, 2)
    np.testing.assert_allclose(transform_points(transform_points(points, matrix), invert(matrix)), points, atol=1e-8)
    corners = points.reshape(-1, 2, 2)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    there = transform_boxes(boxes, matrix)
    assert there.shape == (len(boxes), 4)
    assert (there[:, 2:] >= there[:, :2]).all()
    np.testing.assert_allclose(transform_boxes(there, invert(matrix)), boxes, atol=1e-8)


@pytest.mark.parametrize("flip", [False, True])
def test_the_crop_fills_the_target(flip):
    matrix = affine([50, 40], 4.8, (48, 96), flip=flip)
    np.testing.assert_allclose(transform_boxes([[40, 35, 60, 45]], matrix), [[0, 0, 96, 48]])


def test_a_flip_mirrors_left_and_right_only_as_if_the_image_were_flipped_first():
    """Pixel x of an image of width 100 is pixel 99 - x of its mirror image."""
    plain, mirror = affine([50, 40], 4.8, (48, 96)), affine([50, 40], 4.8, (48, 96), flip=True)
    ((x, y),), flipped = transform_points([[43.0, 33.0]], plain), transform_points([[43.0, 33.0]], mirror)
    np.testing.assert_allclose(flipped, [[96 - x, y]])
    np.testing.assert_allclose(flipped, transform_points([[99 - 43.0, 33.0]], affine([99 - 50, 40], 4.8, (48, 96))))


def test_input_and_output_map_see_the_same_crop():
    at_input, at_output = (affine([50, 40], size / 33, (size, 2 * size), flip=True) for size in (384, 96))
    np.testing.assert_allclose(at_output, at_input / 4)


@given(length, length, sides)
@settings(deadline=None, max_examples=50)
def test_letterbox_shows_all_of_the_image_in_its_aspect_as_large_as_fits(width, height, sides):
    (box,) = transform_boxes([[0, 0, width, height]], letterbox(width, height, sides))
    wide, high = box[2:] - box[:2]
    assert max(wide / sides[1], high / sides[0]) == pytest.approx(1)
    assert wide * height == pytest.approx(high * width)
    np.testing.assert_allclose(box[:2] + box[2:], sides[::-1])


@given(length, length, sides)
@settings(deadline=None, max_examples=50)
def test_letterbox_of_what_is_turned_is_turned_to_the_bit(width, height, sides):
    turned = letterbox(height, width, sides[::-1])
    np.testing.assert_array_equal(turned, letterbox(width, height, sides)[[1, 0]][:, [1, 0, 2]])


@given(length, length, st.sampled_from([32, 96, 384]))
@settings(deadline=None, max_examples=50)
def test_letterbox_in_a_square_is_centernets_to_the_bit(width, height, side):
    """Its scale is the longer side of the image."""
    zoom, half = side / max(width, height), side / 2
    wanted = [[zoom, 0, half - zoom * (width / 2)], [0, zoom, half - zoom * (height / 2)]]
    np.testing.assert_array_equal(letterbox(width, height, (side, side)), wanted)


def test_many_images_at_once_equal_one_at_a_time():
    rng = np.random.default_rng(0)
    centre, size, flip = rng.uniform(0, 500, (6, 2)), rng.uniform(50, 500, (2, 6)), rng.random(6) < 0.5
    zoom = fitting_zoom(*size, (64, 96))
    boxes = rng.uniform(0, 500, (6, 3, 4))
    matrices = affine(centre, zoom, (64, 96), flip=flip)
    assert matrices.shape == (6, 2, 3)
    assert letterbox([640, 480], [480, 640], (384, 384)).shape == (2, 2, 3)
    for i in range(6):
        single = affine(centre[i], fitting_zoom(*size[:, i], (64, 96)), (64, 96), flip=flip[i])
        np.testing.assert_array_equal(matrices[i], single)
        np.testing.assert_allclose(transform_boxes(boxes, matrices)[i], transform_boxes(boxes[i], single))
        np.testing.assert_allclose(invert(matrices)[i], invert(single))
