"""Gradients of a path: what is not finite is found in either way, and what the path skips is not touched."""

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest
from nnabla.ext_utils import get_extension_context

from nnabla_detofa.training import gradients
from nnabla_detofa.training.gradients import PathGradients

WAYS = pytest.mark.parametrize("on_device", [False, True])


class Step:
    """Two layers of weight and bias, of which a backward pass has reached the first."""

    def __init__(self, rate=0.1):
        rng = np.random.default_rng(0)
        names = [f"{layer}/{kind}" for layer in ("used", "skipped") for kind in ("_W", "_b")]
        self.parameters = {
            name: nn.Variable.from_numpy_array(rng.standard_normal((3, 4)).astype(np.float32), need_grad=True)
            for name in names
        }
        self.solver = S.Adam(rate)
        self.solver.set_parameters(self.parameters)
        self.backward()

    def backward(self):
        self.solver.zero_grad()
        loss = F.sum(F.sin(self.parameters["used/_W"]) + self.parameters["used/_b"])
        loss.forward()
        loss.backward()

    def gradients(self, on_device=False):
        return PathGradients(self.parameters, self.solver, on_device=on_device)

    def values(self):
        return {name: parameter.d.copy() for name, parameter in self.parameters.items()}

    def untouched(self):
        return [name for name, parameter in self.parameters.items() if parameter.grad.zeroing]


@WAYS
@pytest.mark.parametrize("half", [False, True])
def test_what_is_not_finite_is_found(on_device, half):
    step = Step()
    with nn.context_scope(get_extension_context("cpu", type_config="half" if half else "float")):
        assert not step.gradients(on_device).check_inf_or_nan_grad()
        for name in ("used/_W", "used/_b"):
            for lost in (np.inf, -np.inf, np.nan):
                step.backward()
                step.parameters[name].g[1, 2] = lost
                assert step.gradients(on_device).check_inf_or_nan_grad()
    assert step.untouched() == ["skipped/_W", "skipped/_b"]


@WAYS
@pytest.mark.parametrize(("planted", "lost"), [((np.inf, -np.inf), True), (3e38, False)])
def test_a_sum_that_is_not_finite_is_not_taken_for_a_gradient(on_device, planted, lost):
    """Two infinities that cancel are found; large gradients are finite, though their sum and squares are not."""
    step = Step()
    step.parameters["used/_W"].g[0, :2] = planted
    step.parameters["used/_b"].g[0, :2] = planted
    with np.errstate(over="ignore"):
        assert step.gradients(on_device).check_inf_or_nan_grad() is lost


def test_one_number_leaves_the_device_and_none_is_asked_of_the_solver(monkeypatch):
    step, read = Step(), []
    monkeypatch.setattr(f"{gradients.__name__}.np.isfinite", lambda x: read.append(np.shape(x)) or True)
    assert not PathGradients(step.parameters, None, on_device=True).check_inf_or_nan_grad()
    assert read == [()]


def test_weights_of_the_path_decay_by_the_formula_and_nothing_else_moves():
    step, rate, decay = Step(), 0.1, 0.5
    step.solver = S.Sgd(rate)
    step.solver.set_parameters(step.parameters)
    before = step.values()
    gradients = step.gradients()
    assert len(gradients.arrays) == 2
    gradients.decay(decay)
    assert step.untouched() == ["skipped/_W", "skipped/_b"]
    step.solver.update()
    after, weight = step.values(), before["used/_W"]
    np.testing.assert_allclose(after["used/_W"], weight - rate * (np.cos(weight) + decay * weight), rtol=1e-5)
    np.testing.assert_allclose(after["used/_b"], before["used/_b"] - rate, rtol=1e-6)
    for name in ("skipped/_W", "skipped/_b"):
        np.testing.assert_array_equal(after[name], before[name])
