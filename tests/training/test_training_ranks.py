"""Several processes: what one of them meets, all of them know; their number changes no figure."""

import numpy as np
import pytest

from nnabla_detofa.errors import NumericError


def test_a_training_loss_that_another_process_lost_stops_this_one_too(second_process):
    searcher = second_process(np.nan)
    before = {name: p.d.copy() for name, p in searcher.model.get_parameters(grad_only=True).items()}
    with pytest.raises(NumericError, match="the training loss is nan at step 0, path"):
        searcher.train_on_batch(path=searcher.space.largest())
    for name, values in before.items():
        np.testing.assert_array_equal(searcher.model.get_parameters()[name].d, values, err_msg=name)


def test_a_validation_loss_that_another_process_lost_stops_this_one_too(second_process):
    searcher = second_process(np.nan)
    path = searcher.space.largest()
    with pytest.raises(NumericError) as caught:
        searcher.measure("paths_lost", path[None])
    assert str(caught.value) == f"the validation loss of path {path.tolist()} is nan; the training diverged"


def test_sums_are_the_same_for_one_process_and_two(ready, second_process):
    values = np.random.default_rng(0).random(20)
    alone = ready.sum_over_ranks(values)
    assert alone.dtype == values.dtype
    np.testing.assert_allclose(alone, values, rtol=1e-6)
    np.testing.assert_array_equal(second_process(0.0).sum_over_ranks(values), alone)


def test_a_wish_to_stop_reaches_all_processes(second_process):
    searcher = second_process(1.0)
    assert searcher.any_process(False, False) == [True, True]
    with pytest.raises(KeyboardInterrupt, match="stopped by a signal"):
        searcher.pause()
    searcher = second_process(0.0)
    assert searcher.any_process(False, True) == [False, True]
    searcher.pause()


def test_the_first_process_decides_alone(second_process, monkeypatch):
    first = second_process(0.0)
    assert (first.first_process(True), first.first_process(False)) == (True, False)
    other = second_process(0.0)
    monkeypatch.setattr(other.comm, "rank", 1)
    assert (other.first_process(True), other.first_process(False)) == (False, False)
    other = second_process(1.0)
    monkeypatch.setattr(other.comm, "rank", 1)
    assert (other.first_process(True), other.first_process(False)) == (True, True)


def test_a_parameter_that_another_process_lost_stops_this_one_too(second_process):
    searcher = second_process(1.0)
    searcher._path = None  # no step before
    with pytest.raises(NumericError) as caught:
        searcher._save()
    assert str(caught.value) == (
        "a parameter of another process is not finite after step 0; the last checkpoint is kept; try a lower"
        " optimizer.train.alpha or an optimizer.train.grad_clip"
    )


def test_a_parameter_that_is_lost_is_named(ready, monkeypatch):
    monkeypatch.setattr(ready, "_path", None)
    bias = ready.model.get_parameters()["heads/size/output/conv/_b"]
    before, bias.d = bias.d.copy(), np.inf
    with pytest.raises(NumericError, match="^heads/size/output/conv/_b is not finite after step 0; the last che"):
        ready._save()
    bias.d = before
