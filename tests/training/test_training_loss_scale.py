"""Loss scaling: exact where nothing overflows, a skipped update and half the factor where a gradient is not finite."""

import json

import nnabla as nn
import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, NumericError
from nnabla_detofa.training.loss_scale import LossScale


class Training:
    """One weight (3,) under Adam, whose gradient is given before it is scaled."""

    def __init__(self):
        self.weight = nn.Variable.from_numpy_array(np.ones(3, np.float32), need_grad=True)
        self.solver = S.Adam(0.1)
        self.solver.set_parameters({"weight": self.weight})

    def step(self, scale, gradient):
        self.weight.g = np.asarray(gradient, np.float32) * scale.value
        if passed := scale.unscale(self.solver):
            self.solver.update()
        return passed

    def state(self):
        moments = self.solver.get_states()["weight"].pstate.values()
        return [self.weight.d.copy(), *(np.array(array.data.data) for array in moments)]


def test_a_power_of_two_changes_no_digit():
    gradients = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    weights = []
    for scale in (LossScale.of("float"), LossScale(start=2.0**12), LossScale(start=2.0**-3, double_after=4)):
        training = Training()
        assert all(training.step(scale, gradient) for gradient in gradients)
        weights.append(training.weight.d.copy())
    np.testing.assert_array_equal(weights, [weights[0]] * 3)
    assert [LossScale.of(name).value for name in ("float", "half", "mixed_half")] == [1.0, 2.0**15, 2.0**15]


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_gradient_that_is_not_finite_skips_the_update_and_halves(bad):
    training, scale = Training(), LossScale(start=8.0)
    training.step(scale, [1, 2, 3])
    before = training.state()
    assert not training.step(scale, [1, bad, 3])
    assert (scale.value, scale.skipped) == (4.0, 1)
    for ours, theirs in zip(training.state(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert training.step(scale, [1, 2, 3])
    assert not np.array_equal(training.weight.d, before[0])


def test_it_doubles_after_so_many_good_steps_in_a_row():
    training, scale, values = Training(), LossScale(start=4.0, double_after=3), []
    for gradient in (1, 1, np.inf, 1, 1, 1, 1, 1, 1):
        training.step(scale, [gradient] * 3)
        values.append(scale.value)
    assert values == [4, 4, 2, 2, 2, 4, 4, 4, 8]


def test_gradients_that_are_never_finite_end_the_training():
    training, scale = Training(), LossScale(start=2.0, least=0.5)
    assert not any(training.step(scale, [np.nan] * 3) for _ in range(2))
    with pytest.raises(NumericError, match=r"loss scale of 0.5 .*args.type_config"):
        training.step(scale, [np.nan] * 3)


def test_a_restored_scale_goes_on():
    training, scale = Training(), LossScale(start=4.0, double_after=5)
    for gradient in (1, np.inf, 1, 1):
        training.step(scale, [gradient] * 3)
    other = LossScale(double_after=5)
    other.restore(json.loads(json.dumps(scale.state())))
    for _ in range(12):
        training.step(scale, [1] * 3)
        training.step(other, [1] * 3)
        assert other.state() == scale.state()
    with pytest.raises(ConfigError, match="'good'"):
        other.restore({"value": 1})


def test_training_skips_the_step_and_only_that_one(run, monkeypatch):
    """In single precision on a CPU, with an infinity planted in the gradient of a bias."""
    parameters, path = run.model.get_parameters(grad_only=True), run.space.largest()
    bias = parameters["heads/size/output/conv/_b"]
    run.step.loss_scale = scale = LossScale(start=2.0**10)
    proceed, before = run.event.add_default_stream_event, {name: p.d.copy() for name, p in parameters.items()}

    def plant():
        bias.g = np.full(bias.shape, np.inf)
        proceed()

    with monkeypatch.context() as patch:
        patch.setattr(run.event, "add_default_stream_event", plant)
        losses = run.step(path)
    assert np.isfinite(losses["loss"])
    for name, parameter in parameters.items():
        np.testing.assert_array_equal(parameter.d, before[name], err_msg=name)
    run.step(path)
    assert (scale.value, scale.skipped) == (2.0**9, 1)
    assert not np.array_equal(bias.d, before["heads/size/output/conv/_b"])


def test_a_scaled_run_in_half_precision_on_a_cpu_finds_the_same_detectors(command, finished, monkeypatch):
    """Its kernels compute in single precision, and the loss is scaled by powers of two."""
    monkeypatch.setattr(
        LossScale, "of", lambda name: LossScale(start=2.0**6, double_after=2) if name == "half" else None
    )
    assert command("args.type_config=half").code == 0
    for file in ("paths_warmup.csv", "operations.csv", "pareto.csv"):
        assert (command.folder / file).read_text() == (finished[0].folder / file).read_text()
    state = command.json("checkpoint_warmup/000000002/state.json")
    assert state["loss_scale"] == {"value": 2.0**7, "good": 0, "skipped": 0}
