"""Warps: what they fix, what they preserve, and that they can be undone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.detection import affine, invert, letterbox, transform_boxes, transform_points

coordinate = st.floats(-500, 500)
warps = st.builds(
    lambda x, y, scale, out_size, flip: affine(np.array([x, y]), scale, out_size, flip=flip),
    *(coordinate, coordinate, st.floats(8, 2000), st.sampled_from([32, 96, 384]), st.booleans()),
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
    matrix = affine([50, 40], 20, 96, flip=flip)
    np.testing.assert_allclose(transform_boxes([[40, 30, 60, 50]], matrix), [[0, 0, 96, 96]])


def test_a_flip_mirrors_left_and_right_only_as_if_the_image_were_flipped_first():
    """Pixel x of an image of width 100 is pixel 99 - x of its mirror image."""
    plain, mirror = affine([50, 40], 20, 96), affine([50, 40], 20, 96, flip=True)
    ((x, y),), flipped = transform_points([[43.0, 33.0]], plain), transform_points([[43.0, 33.0]], mirror)
    np.testing.assert_allclose(flipped, [[96 - x, y]])
    np.testing.assert_allclose(flipped, transform_points([[99 - 43.0, 33.0]], affine([99 - 50, 40], 20, 96)))


def test_input_and_output_map_see_the_same_crop():
    at_input, at_output = (affine([50, 40], 33, size, flip=True) for size in (384, 96))
    np.testing.assert_allclose(at_output, at_input / 4)


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(deadline=None, max_examples=50)
def test_letterbox_keeps_the_aspect_and_fills_the_longer_side(width, height):
    (box,) = transform_boxes([[0, 0, width, height]], letterbox(width, height, 384))
    sides = box[2:] - box[:2]
    assert max(sides) == pytest.approx(384)
    assert sides[0] * height == pytest.approx(sides[1] * width)
    np.testing.assert_allclose(box[:2] + box[2:], 384)


def test_many_images_at_once_equal_one_at_a_time():
    rng = np.random.default_rng(0)
    centre, scale, flip = rng.uniform(0, 500, (6, 2)), rng.uniform(50, 500, 6), rng.random(6) < 0.5
    boxes = rng.uniform(0, 500, (6, 3, 4))
    matrices = affine(centre, scale, 96, flip=flip)
    assert matrices.shape == (6, 2, 3)
    assert letterbox([640, 480], [480, 640], 384).shape == (2, 2, 3)
    for i in range(6):
        single = affine(centre[i], scale[i], 96, flip=flip[i])
        np.testing.assert_array_equal(matrices[i], single)
        np.testing.assert_allclose(transform_boxes(boxes, matrices)[i], transform_boxes(boxes[i], single))
        np.testing.assert_allclose(invert(matrices)[i], invert(single))
