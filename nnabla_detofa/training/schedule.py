"""Learning rate over warm-up and fine-tuning together (Section 4.1; CenterNet's steps)."""

from collections.abc import Callable, Sequence
from math import cos, pi

from ..errors import unknown

Schedule = Callable[[float], float]  # epochs done, with a fraction -> learning rate


def _constant(epoch: float, **_) -> float:  # noqa: ARG001
    return 1.0


def _step(epoch: float, *, at: Sequence[float], factor: float, **_) -> float:
    return factor ** sum(epoch >= boundary for boundary in at)


def _cosine(epoch: float, *, total: float, ramp: float, **_) -> float:
    return 0.5 * (1 + cos(pi * min(1.0, max(0.0, epoch - ramp) / max(total - ramp, 1e-9))))


SCHEDULES: dict[str, Callable[..., float]] = {"constant": _constant, "step": _step, "cosine": _cosine}


def learning_rate(
    name: str,
    base: float,
    *,
    total: float,
    batch: int = 1,
    per_batch: int | None = None,
    at: Sequence[float] = (),
    factor: float = 0.1,
    ramp: float = 0.0,
    ramp_from: float = 0.0,
) -> Schedule:
    """The rate at each point of `total` epochs; ConfigError for an unknown name.

    "constant"; "step": times `factor` from each epoch of `at` on; "cosine": half a cosine down to 0. All of them rise
    linearly from the rate `ramp_from` over the first `ramp` epochs, to the `base` rate as it is or, where that is meant
    for `per_batch` images a step and `batch` are trained, in proportion.
    """
    if name not in SCHEDULES:
        raise unknown("learning-rate schedule", name, SCHEDULES)
    shape = SCHEDULES[name]
    highest = base if per_batch is None else base * batch / per_batch

    def rate(epoch: float) -> float:
        rising = min(1.0, epoch / ramp) if ramp else 1.0
        reached = ramp_from + (highest - ramp_from) * rising
        return reached * shape(epoch, total=total, at=at, factor=factor, ramp=ramp)

    return rate
