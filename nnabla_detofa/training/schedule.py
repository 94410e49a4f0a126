"""Learning rate over warm-up and fine-tuning together (Section 4.1; CenterNet's steps)."""

from collections.abc import Callable
from math import cos, pi

from ..errors import ConfigError, unknown

Schedule = Callable[[float], float]  # epochs done, with a fraction -> learning rate


def step(base: float, *, total: float, at: list[float], factor: float = 0.1) -> Schedule:  # noqa: ARG001
    """`base`, times `factor` from each epoch of `at` on."""
    return lambda epoch: base * factor ** sum(epoch >= boundary for boundary in at)


def cosine(base: float, *, total: float, warmup: float = 0.0) -> Schedule:
    """Linear from 0 over `warmup` epochs, then half a cosine down to 0 at epoch `total`."""

    def rate(epoch: float) -> float:
        if epoch < warmup:
            return base * epoch / warmup
        return base * 0.5 * (1 + cos(pi * min(1.0, (epoch - warmup) / max(total - warmup, 1e-9))))

    return rate


def constant(base: float, *, total: float) -> Schedule:  # noqa: ARG001
    """`base` throughout."""
    return lambda epoch: base  # noqa: ARG005


SCHEDULES = {"step": step, "cosine": cosine, "constant": constant}


def learning_rate(name: str, base: float, *, total: float, **options) -> Schedule:
    """The named schedule over `total` epochs; ConfigError for an unknown name or option."""
    if name not in SCHEDULES:
        raise unknown("learning-rate schedule", name, SCHEDULES)
    try:
        return SCHEDULES[name](base, total=total, **options)
    except TypeError as error:
        raise ConfigError(f"learning-rate schedule {name}: {error}") from error
