"""The gradients of one step (Algorithm 1, lines 2 and 14): those of its path; what the path skips is not touched.

NNabla marks a gradient that nothing was added to as zero, and a solver leaves such a parameter and its moments as they
are. Whatever reads or writes the array takes the mark away, and the parameter moves with the others.
"""

from collections.abc import Mapping

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import nnabla.solvers as S  # noqa: N812
import numpy as np

from ..precision import single_precision


class PathGradients:
    """The gradients of the parameters that the last backward pass has reached.

    Args:
        parameters: all that a solver updates, by name.
        solver: of these parameters.
        on_device: look for what is not finite where the gradients are, and wait once for the answer; else in memory.
    """

    def __init__(self, parameters: Mapping[str, nn.Variable], solver, *, on_device: bool):
        self._solver, self._on_device = solver, on_device
        self._reached = {name: p for name, p in parameters.items() if not p.grad.zeroing}

    @property
    def arrays(self) -> list[nn.NdArray]:
        """The gradients themselves, in the order of the parameters."""
        return [parameter.grad for parameter in self._reached.values()]

    def check_inf_or_nan_grad(self) -> bool:
        """Whether a gradient is not finite; a solver's own look waits for the device once a parameter."""
        suspicious = not (self._sum_is_finite() if self._on_device else self._squares_are_finite())
        return suspicious and self._solver.check_inf_or_nan_grad()  # a sum may overflow by itself

    def _sum_is_finite(self) -> bool:
        with single_precision():
            total = F.add_n(*[F.sum(gradient) for gradient in self.arrays])
        return bool(np.isfinite(total.data))

    def _squares_are_finite(self) -> bool:
        """Five times as fast on a CPU as the solver's look."""
        return all(np.isfinite(np.vdot(gradient.data, gradient.data)) for gradient in self.arrays)

    def scale_grad(self, factor: float) -> None:
        """Multiply all gradients."""
        self._solver.scale_grad(factor)

    def decay(self, rate: float) -> None:
        """Add `rate` times the weights of convolutions and linear layers to their gradients, as a solver does for all.

        What normalises, and biases, are not drawn to 0.
        """
        weights = {name: parameter for name, parameter in self._reached.items() if name.endswith("/_W")}
        with single_precision():
            decaying = S.Sgd()  # only decays: it updates nothing
        decaying.set_parameters(weights)
        decaying.weight_decay(rate)
