"""The losses against plain formulas in float64, and where their gradients go."""

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnabla.ext_utils import get_extension_context

from nnabla_detofa.tasks import CenterNet
from nnabla_detofa.tasks.losses import centre_l1_loss, cross_entropy, focal_loss

few = settings(max_examples=25, deadline=None, derandomize=True)


def focal_oracle(logits, heatmap):
    """CenterNet's, Eq. 1 of Objects as Points: α = 2, β = 4, over max(centres, 1)."""
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    at_centre = -((1 - p) ** 2) * np.log(p)
    elsewhere = -((1 - heatmap) ** 4) * p**2 * np.log(1 - p)
    centres = heatmap == 1
    return np.where(centres, at_centre, elsewhere).sum() / max(centres.sum(), 1)


def l1_oracle(prediction, target, index, mask):
    """A loop over objects."""
    total, objects = 0.0, mask.sum()
    width = prediction.shape[3]
    for b, m in np.argwhere(mask):
        y, x = divmod(int(index[b, m]), width)
        total += np.abs(prediction[b, :, y, x].astype(np.float64) - target[b, m]).sum()
    return total / (2 * objects + 1e-4)


def evaluate(loss, prediction, *targets):
    """Value of a loss, and its gradient with respect to the prediction."""
    x = nn.Variable.from_numpy_array(prediction, need_grad=True)
    x.grad.zero()
    value = loss(x, *(nn.Variable.from_numpy_array(t) for t in targets))
    assert value.shape == ()
    value.forward()
    value.backward()
    return float(value.d), x.g.copy()


def maps(seed, n_centres, shape=(2, 3, 4, 5), scale=4.0):
    rng = np.random.default_rng(seed)
    heatmap = rng.uniform(0, 0.99, shape)
    heatmap.ravel()[rng.choice(heatmap.size, n_centres, replace=False)] = 1
    return scale * rng.standard_normal(shape), heatmap


def objects(seed, shape=(3, 2, 4, 5), most=6):
    rng = np.random.default_rng(seed)
    batch, _, height, width = shape
    index = rng.integers(0, height * width, (batch, most))
    mask = rng.integers(0, 2, (batch, most))
    return rng.standard_normal(shape), rng.standard_normal((batch, most, 2)), index, mask


@few
@given(st.integers(0, 2**16), st.integers(0, 12))
def test_focal_loss_equals_the_formula(seed, n_centres):
    logits, heatmap = maps(seed, n_centres)
    value, _ = evaluate(focal_loss, logits, heatmap)
    assert value == pytest.approx(focal_oracle(logits, heatmap), rel=1e-5)


@few
@given(st.integers(0, 2**16))
def test_focal_loss_has_the_slope_of_the_formula(seed):
    logits, heatmap = maps(seed, 3)
    _, gradient = evaluate(focal_loss, logits, heatmap)
    direction = np.random.default_rng(seed).standard_normal(logits.shape)
    h = 1e-5
    slope = (focal_oracle(logits + h * direction, heatmap) - focal_oracle(logits - h * direction, heatmap)) / (2 * h)
    assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_focal_loss_is_finite_for_any_certainty_and_zero_for_a_right_one():
    _, heatmap = maps(0, 5)
    heatmap[heatmap < 1] = 0
    for sign in (1, -1):
        value, gradient = evaluate(focal_loss, sign * np.where(heatmap == 1, 200.0, -200.0), heatmap)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert (value == 0) == (sign == 1)


def test_centres_of_one_have_no_gradient_towards_zero():
    logits, heatmap = maps(0, 4)
    _, gradient = evaluate(focal_loss, logits, heatmap)
    assert (gradient[heatmap == 1] < 0).all()
    assert (gradient[heatmap < 1] > 0).all()


@few
@given(st.integers(0, 2**16))
def test_centre_loss_equals_the_loop_over_objects(seed):
    prediction, target, index, mask = objects(seed)
    value, gradient = evaluate(centre_l1_loss, prediction, target, index, mask)
    assert value == pytest.approx(l1_oracle(prediction, target, index, mask), rel=1e-5)
    at_centres = np.zeros(prediction.shape, bool)
    for b, m in np.argwhere(mask):
        at_centres[b, :, index[b, m] // 5, index[b, m] % 5] = True
    assert not gradient[~at_centres].any()


def test_gradient_of_the_centre_loss_is_the_share_of_a_value():
    prediction, target, index, mask = objects(0)
    index[:] = np.arange(6)  # no two objects in one cell
    _, gradient = evaluate(centre_l1_loss, prediction, target, index, mask)
    assert np.allclose(np.unique(np.abs(gradient)), [0, 1 / (2 * mask.sum() + 1e-4)])


def test_no_objects_no_loss_and_no_gradient():
    prediction, target, index, mask = objects(0)
    value, gradient = evaluate(centre_l1_loss, prediction, target, index, np.zeros_like(mask))
    assert value == 0
    assert not gradient.any()


def test_what_stands_where_there_is_no_object_does_not_matter():
    prediction, target, index, mask = objects(1)
    value, _ = evaluate(centre_l1_loss, prediction, target, index, mask)
    target[mask == 0], index[mask == 0] = 1e6, 0
    assert evaluate(centre_l1_loss, prediction, target, index, mask)[0] == value


def test_the_detectors_loss_is_the_weighted_sum_of_its_curves():
    rng, task = np.random.default_rng(0), CenterNet(n_classes=3)
    shapes = task.target_shapes((8, 12), 5)
    targets = [nn.Variable.from_numpy_array(rng.integers(0, 2, (2, *shape))) for shape in shapes]
    outputs = [nn.Variable.from_numpy_array(rng.standard_normal((2, n, 8, 12))) for n in (3, 2, 2)]
    curves = task.curves(outputs, targets)
    assert list(curves) == ["heatmap", "size", "offset"]
    by_default = task.loss(outputs, targets, training=True)
    by_choice = task.loss(outputs, targets, weights=(2.0, 0.0, 0.5), terms=curves, training=False)
    nn.forward_all([by_default, by_choice, *curves.values()])
    heatmap, size, offset = (float(term.d) for term in curves.values())
    assert float(by_default.d) == pytest.approx(heatmap + 0.1 * size + offset, rel=1e-5)
    assert float(by_choice.d) == pytest.approx(2 * heatmap + 0.5 * offset, rel=1e-5)


# ---- half precision: a map's sum passes what it holds

FULL_MAPS = pytest.mark.parametrize(("images", "classes", "side"), [(4, 20, 96), (1, 80, 128)])  # VOC's and COCO's
SCALE = 2.0**10


def in_both(build, *arrays):
    """Value and gradient of a loss of a map that its context's functions made; in single and in half precision."""
    for kind in ("float", "half"):
        with nn.context_scope(get_extension_context("cpu", type_config=kind)):
            x, *targets = (nn.Variable.from_numpy_array(array) for array in arrays)
            x.need_grad = True
            x.grad.zero()
            loss = build(F.identity(x), *targets)
            loss.forward()
            loss.backward(SCALE)
        assert loss.data.dtype == np.float32  # paths differ in the third digit of their losses
        yield float(loss.d), x.g.astype(np.float64) / SCALE


@FULL_MAPS
def test_the_focal_loss_of_whole_maps_in_half_precision(images, classes, side):
    rng = np.random.default_rng(0)
    shape = (images, classes, side, side)
    heatmap = rng.uniform(0, 0.9999, shape).astype(np.float32)  # half precision takes the largest for centres
    heatmap.ravel()[rng.choice(heatmap.size, 8 * images, replace=False)] = 1
    (expected, slope), (loss, gradient) = in_both(focal_loss, 2 * rng.standard_normal(shape, np.float32), heatmap)
    assert expected * 8 * images > 65_504  # the sum, before it is divided
    assert loss == pytest.approx(expected, rel=0.01)
    assert np.linalg.norm(gradient - slope) < 0.01 * np.linalg.norm(slope)


@FULL_MAPS
def test_the_loss_at_centres_of_whole_maps_in_half_precision(images, classes, side):
    rng = np.random.default_rng(classes)
    prediction, target = 30 * rng.random((images, 2, side, side)), 30 * rng.random((images, 128, 2))
    index, mask = rng.integers(0, side * side, (images, 128)), rng.integers(0, 2, (images, 128))
    (expected, _), (loss, _) = in_both(centre_l1_loss, prediction, target, index, mask)
    assert loss == pytest.approx(expected, rel=0.01)


def test_cross_entropy_in_half_precision():
    rng = np.random.default_rng(0)
    wanted = np.eye(1000)[rng.integers(0, 1000, 64)]
    (expected, _), (loss, _) = in_both(cross_entropy, rng.standard_normal((64, 1000)), wanted)
    assert loss == pytest.approx(expected, rel=0.01)
