"""Dynamic loss scaling for training in half precision (an addition; not in the paper).

Gradients below 6e-8 vanish in half precision, so the loss is multiplied before the backward pass and the gradients are
divided after it; the factor is as large as they bear. A power of two changes no digit of what does not overflow.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from ..errors import ConfigError, NumericError

SCALED = ("half", "mixed_half")  # values of args.type_config whose gradients need it


class Gradients(Protocol):
    """The part of NNabla's solvers that is needed here."""

    def check_inf_or_nan_grad(self) -> bool:
        """Whether a gradient is not finite."""

    def scale_grad(self, factor: float) -> None:
        """Multiply all gradients."""


class LossScale:
    """The factor of the loss, halved where gradients overflow and doubled after a while without.

    Args:
        start: the first factor.
        double_after: steps in a row with finite gradients.
        least: where the factor would fall below it, the gradients overflow for another reason.
    """

    dynamic = True  # whether gradients may overflow now and then

    def __init__(self, *, start: float = 2.0**15, double_after: int = 2000, least: float = 2.0**-10):
        self.value, self.skipped = start, 0
        self._double_after, self._least, self._good = double_after, least, 0

    @classmethod
    def of(cls, type_config: str) -> "LossScale":
        """A dynamic scale for half precision, and 1 that stays for all else."""
        return cls() if type_config in SCALED else NoLossScale()

    def unscale(self, gradients: Gradients) -> bool:
        """Divide the gradients by the factor and adapt it; False where they are not finite and the update is skipped.

        Raises:
            NumericError: the gradients are not finite at the least factor either.
        """
        if gradients.check_inf_or_nan_grad():
            self._good, self.skipped = 0, self.skipped + 1
            if self.value / 2 < self._least:
                raise NumericError(
                    f"gradients are not finite even at a loss scale of {self.value:g} (args.type_config=float has none)"
                )
            self.value /= 2
            return False
        gradients.scale_grad(1 / self.value)
        self._good += 1
        if self._good == self._double_after:
            self.value, self._good = 2 * self.value, 0
        return True

    def state(self) -> dict[str, float]:
        """State for a resumed run, as JSON holds it."""
        return {"value": self.value, "good": self._good, "skipped": self.skipped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; ConfigError where it is no such state."""
        try:
            value, good, skipped = float(state["value"]), int(state["good"]), int(state["skipped"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"this state of the loss scale cannot be restored: {error}") from None
        self.value, self._good, self.skipped = value, good, skipped


class NoLossScale(LossScale):
    """1: single precision needs no scaling, and a gradient that is not finite there is a diverged training."""

    dynamic = False

    def __init__(self) -> None:
        super().__init__(start=1.0)

    def unscale(self, gradients: Gradients) -> bool:  # noqa: ARG002
        """Nothing to divide."""
        return True
