"""One update: gradients are clipped to their limit, each parameter's by its own norm, and decay comes on top."""

from types import SimpleNamespace

import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.training.loss_scale import LossScale
from nnabla_detofa.training.step import NotFiniteError


def take_solver(run, solver):
    solver.set_parameters(run.model.get_parameters(grad_only=True))
    run.step.solver = run.step._optimizer._solver = solver


def values(run):
    return {name: p.d.copy() for name, p in run.model.get_parameters(grad_only=True).items()}


@pytest.fixture
def change(run):
    """What one step of plain descent takes away from each parameter that the path uses, by name."""
    before = {name: p.d.copy() for name, p in run.model.get_parameters().items()}
    take_solver(run, S.Sgd(1.0))

    def step(*, grad_clip=None, weight_decay=None):
        run.step._grad_clip, run.step._weight_decay = grad_clip, weight_decay
        for name, p in run.model.get_parameters().items():
            p.d = before[name]
        run.step.loader.seek(0)
        run.step(run.space.largest())
        return {name: before[name] - after for name, after in values(run).items()}

    return step


def norms(gradients):
    return {name: float(np.linalg.norm(g)) for name, g in gradients.items()}


def test_longer_gradients_are_shortened_to_the_limit_and_shorter_ones_stay(change):
    free = change()
    limit = max(norms(free).values()) / 4
    longer = {name for name, norm in norms(free).items() if norm > limit}
    assert 0 < len(longer) < len(free)
    for name, gradient in change(grad_clip=limit).items():
        expected = free[name] * (limit / norms(free)[name] if name in longer else 1)
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-6)
    unreached = change(grad_clip=1e9)
    assert all((free[name] == unreached[name]).all() for name in free)


def test_decay_adds_its_share_of_the_weights_and_is_not_clipped(change, run):
    decay, weights, free = 0.5, values(run), change()
    decayed = change(weight_decay=decay)
    for name, gradient in decayed.items():
        expected = free[name] + (decay * weights[name] if name.endswith("/_W") else 0)
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6, err_msg=name)
    assert any(not np.array_equal(decayed[name], free[name]) for name in free)
    clipped = norms(change(grad_clip=1e-6, weight_decay=decay))
    assert min(norm for name, norm in clipped.items() if name.endswith("/_W")) > 1e-6


def test_the_hosts_optimizer_neither_clips_nor_decays(run):
    assert (run.step._optimizer._grad_clip, run.step._optimizer._weight_decay) == (None, None)
    assert run.step._grad_clip == 5.0  # the demo's


@pytest.mark.parametrize(
    ("precision", "grad_clip", "decay", "n"), [("float", None, None, 1), ("float", 5.0, 0.1, 2), ("half", 5.0, 0.1, 2)]
)
def test_what_a_path_does_not_use_neither_decays_nor_moves(run, second_process, precision, grad_clip, decay, n):
    """With moments of an earlier path, a limit of gradients or none, loss scaling or none, and several processes."""
    if n == 2:
        second_process(0.0)
    take_solver(run, S.Adam(1e-3))
    run.step._grad_clip, run.step._weight_decay, run.step.loss_scale = grad_clip, decay, LossScale.of(precision)
    run.step(run.space.largest())
    between = values(run)
    run.step(run.space.smallest())
    skipped = [block for block in range(8) if f"blocks/{block}/conv1/conv/conv/_W" in between][1::2]
    for name, after in values(run).items():
        inside = not name.startswith(tuple(f"blocks/{block}/" for block in skipped)) and "input_stem/1/" not in name
        assert (after != between[name]).any() == inside, name


def test_an_update_is_of_all_mini_batches(change, run):
    """The mean of their gradients, and of what is shown."""
    loader, apart = run.step.loader, []
    for n in range(2):
        run.step.loader = SimpleNamespace(next=loader.next, seek=lambda _: loader.seek(n))  # noqa: B023
        apart.append(change())
    run.step.loader = loader
    run.step.accumulate = 2
    for name, gradient in change().items():
        np.testing.assert_allclose(gradient, (apart[0][name] + apart[1][name]) / 2, rtol=1e-3, atol=1e-5, err_msg=name)


def test_lost_mini_batches_are_named(run):
    run.step.accumulate, given = 2, run.step.loader.next()
    bad = {**given, "targets": [a * np.float32(np.nan) if a.dtype.kind == "f" else a for a in given["targets"]]}
    run.step.loader = SimpleNamespace(next=iter([given, bad]).__next__)
    with pytest.raises(NotFiniteError) as caught:
        run.step(run.space.largest())
    assert caught.value.lost.tolist() == [False, True]
