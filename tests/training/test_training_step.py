"""One update: gradients are clipped to their limit, each parameter's by its own norm, and decay comes on top."""

import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.training.loss_scale import LossScale

RATE = 1.0


@pytest.fixture
def change(ready, monkeypatch):
    """What one step of plain descent takes away from each parameter that the path uses, by name."""
    parameters = ready.model.get_parameters(grad_only=True)
    everything = ready.model.get_parameters()
    before = {name: p.d.copy() for name, p in everything.items()}
    solver = S.Sgd(RATE)
    solver.set_parameters(parameters)
    monkeypatch.setattr(ready.optimizer["train"], "_solver", solver)

    def step(*, grad_clip=None, weight_decay=None):
        monkeypatch.setattr(ready, "_grad_clip", grad_clip)
        monkeypatch.setattr(ready, "_weight_decay", weight_decay)
        for name, p in everything.items():
            p.d = before[name]
        ready.dataloader["train"].seek(0)
        ready.train_on_batch(path=ready.space.largest())
        return {name: (before[name] - p.d) / RATE for name, p in parameters.items()}

    yield step
    for name, p in everything.items():
        p.d = before[name]
    ready.dataloader["train"].seek(0)


def norms(gradients):
    return {name: float(np.linalg.norm(g)) for name, g in gradients.items()}


def test_longer_gradients_are_shortened_to_the_limit_and_shorter_ones_stay(change):
    free = change()
    limit = max(norms(free).values()) / 4
    clipped = change(grad_clip=limit)
    longer = {name for name, norm in norms(free).items() if norm > limit}
    assert 0 < len(longer) < len(free)
    for name, gradient in clipped.items():
        expected = free[name] * (limit / norms(free)[name] if name in longer else 1)
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-6)


def test_a_limit_that_none_reaches_changes_nothing(change):
    free, clipped = change(), change(grad_clip=1e9)
    assert all((free[name] == clipped[name]).all() for name in free)


def test_decay_is_not_clipped(change):
    limit, decay = 1e-6, 0.5
    gradients = change(grad_clip=limit, weight_decay=decay)
    decayed = [norm for name, norm in norms(gradients).items() if name.endswith("/_W")]
    assert min(decayed) > limit


def test_the_hosts_optimizer_neither_clips_nor_decays(ready):
    optimizer = ready.optimizer["train"]
    assert (optimizer._grad_clip, optimizer._weight_decay) == (None, None)
    assert ready._grad_clip == 5.0  # the demo's


@pytest.mark.parametrize("grad_clip", [None, 5.0])
def test_what_a_path_does_not_use_stays_whatever_moments_it_has(ready, monkeypatch, grad_clip):
    parameters, everything = ready.model.get_parameters(grad_only=True), ready.model.get_parameters()
    before = {name: p.d.copy() for name, p in everything.items()}
    solver = S.Adam(1e-3)
    solver.set_parameters(parameters)
    monkeypatch.setattr(ready.optimizer["train"], "_solver", solver)
    monkeypatch.setattr(ready, "_grad_clip", grad_clip)
    ready.train_on_batch(path=ready.space.largest())
    between = {name: p.d.copy() for name, p in parameters.items()}
    ready.train_on_batch(path=ready.space.smallest())
    stayed = {name for name, p in parameters.items() if (p.d == between[name]).all()}
    for name, p in everything.items():
        p.d = before[name]
    ready.dataloader["train"].seek(0)
    assert any("blocks/1/" in name for name in stayed)
    assert not any("blocks/0/" in name for name in stayed)


def test_decay_adds_its_share_of_the_weights_and_no_more(change, ready):
    decay = 0.5
    weights = {name: p.d.copy() for name, p in ready.model.get_parameters(grad_only=True).items()}
    free, decayed = change(), change(weight_decay=decay)
    for name, gradient in decayed.items():
        expected = free[name] + (decay * weights[name] if name.endswith("/_W") else 0)
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6, err_msg=name)
    assert any(not np.array_equal(decayed[name], free[name]) for name in free)


@pytest.mark.parametrize("precision", ["float", "half"])
def test_what_a_path_does_not_use_neither_decays_nor_moves(ready, monkeypatch, second_process, precision):
    """With moments of an earlier path, a limit of gradients, loss scaling or none, on one of several processes."""
    second_process(0.0)
    parameters, everything = ready.model.get_parameters(grad_only=True), ready.model.get_parameters()
    before = {name: p.d.copy() for name, p in everything.items()}
    solver = S.Adam(1e-3)
    solver.set_parameters(parameters)
    monkeypatch.setattr(ready.optimizer["train"], "_solver", solver)
    monkeypatch.setattr(ready, "_weight_decay", 0.1)
    monkeypatch.setattr(ready, "loss_scale", LossScale.of(precision))
    ready.train_on_batch(path=ready.space.largest())
    between = {name: p.d.copy() for name, p in parameters.items()}
    ready.train_on_batch(path=ready.space.smallest())
    skipped = [block for block in range(8) if f"blocks/{block}/conv1/conv/conv/_W" in parameters][1::2]
    for name, p in parameters.items():
        inside = not name.startswith(tuple(f"blocks/{block}/" for block in skipped)) and "input_stem/1/" not in name
        assert (p.d != between[name]).any() == inside, name
    for name, p in everything.items():
        p.d = before[name]
    ready.dataloader["train"].seek(0)
