"""One update of a supernet for one path (Algorithm 1, lines 2 and 14)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import nnabla as nn
import numpy as np

from ..errors import NumericError
from ..precision import single_precision
from .gradients import PathGradients
from .loss_scale import LossScale
from .session import Processes


class NotFiniteError(NumericError):
    """A step met what is not finite; `lost` says which of its mini-batches are to blame, all where it is None."""

    def __init__(self, what: str, lost: np.ndarray | None = None):
        super().__init__(what)
        self.lost = lost


class PathStep:
    """Updates the weights for one path a call, and stops where its loss or a gradient is not finite.

    Args:
        model: the supernet.
        optimizer: the host's, with a solver of the network's parameters; weight decay and clipping are done here.
        loader: gives training batches.
        accumulate: mini-batches of each process that one update is of.
        loss_weights: of the task's losses, None for its own.
        loss_scale: of half precision.
        processes: all of them train the same path.
        event: the host's, which waits for the device.

    `prepare(model, number)`, where it is set, is called before each mini-batch's graph with its number among those
    of all processes in the step: then their number decides nothing that is random. `more_losses(outputs, inputs)` gives
    losses by name that are added to the task's, with their weights: {name: (weight, loss)}.
    """

    prepare: Callable[[Any, int], None] | None = None
    more_losses: Callable[[Any, list[nn.Variable]], Mapping[str, tuple[float, nn.Variable]]] | None = None

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loader: Any,
        *,
        accumulate: int,
        loss_weights: Sequence[float] | None,
        loss_scale: LossScale,
        processes: Processes,
        event: Any,
    ):
        self.solver, self.loss_scale, self.accumulate = optimizer._solver, loss_scale, accumulate
        self._model, self._optimizer, self.loader = model, optimizer, loader
        self._loss_weights, self._processes, self._event = loss_weights, processes, event
        # Optimizer would decay all parameters, and clip what was decayed before
        self._weight_decay, optimizer._weight_decay = optimizer._weight_decay, None
        self._grad_clip, optimizer._grad_clip = optimizer._grad_clip, None
        self._inputs: list[nn.Variable] = []
        self._targets: list[nn.Variable] = []

    def __call__(self, path: np.ndarray) -> dict[str, float]:
        """One update for the path; returns the mean losses of the batch by name, that of all processes. NotFiniteError
        where it diverges."""
        self._model.activate(path)
        self._optimizer.zero_grad()
        self._event.default_stream_synchronize()
        batch = self.loader.next()
        loss, terms = self.graph(batch)
        means = dict.fromkeys(terms, 0.0)
        shares: list[float] = []  # of the mini-batches in the loss
        for number in range(self.accumulate):
            if number:
                batch = self.loader.next()
                if self.prepare is not None:
                    loss, terms = self.graph(batch, number)
            self._load(batch)
            nn.forward_all([loss, *terms.values()], clear_no_need_grad=True)
            loss.backward(self.loss_scale.value, clear_buffer=True)
            self._model.flush_statistics()
            for name, term in terms.items():
                means[name] += float(term.d) / self.accumulate
            shares.append(float(loss.d))
        means["loss"] = sum(shares)
        means = dict(zip(means, self._processes.mean(np.array([*means.values()])).tolist(), strict=True))
        if not np.isfinite(means["loss"]):  # on all processes, so that all stop, or none
            raise NotFiniteError(f"the training loss is {means['loss']}", ~np.isfinite(shares))
        self._update()
        return means

    def _update(self) -> None:
        parameters = self._model.get_parameters(grad_only=True)
        gradients = PathGradients(parameters, self.solver, on_device=not self._model.works_channel_major())
        self._processes.average(gradients.arrays)
        self._event.add_default_stream_event()
        if not self.loss_scale.dynamic and gradients.check_inf_or_nan_grad():  # ReLU may hide NaN from the loss
            raise NotFiniteError("a gradient is not finite")
        try:
            usable = self.loss_scale.unscale(gradients)
        except NumericError as error:
            raise NotFiniteError(str(error)) from None
        if not usable:
            return
        if self._grad_clip:
            self.solver.clip_grad_by_norm(self._grad_clip)
        if self._weight_decay:
            gradients.decay(self._weight_decay)
        self._optimizer.update()

    def graph(
        self, batch: Mapping[str, list[np.ndarray]], number: int = 0
    ) -> tuple[nn.Variable, dict[str, nn.Variable]]:
        """The loss of the active path, and its terms by name, on variables of the batch's shapes; the batch is the
        `number`-th of this process in the step."""
        shapes = [array.shape for array in (*batch["inputs"], *batch["targets"])]
        if shapes != [one.shape for one in (*self._inputs, *self._targets)]:
            self._inputs = [nn.Variable(array.shape) for array in batch["inputs"]]
            self._targets = [nn.Variable(array.shape) for array in batch["targets"]]
        if not self._model.training:  # to tell each of some hundred modules takes milliseconds
            self._model.apply(training=True)
        if self.prepare is not None:
            self.prepare(self._model, number * self._processes.n + self._processes.rank)
        outputs = self._model(*self._inputs)
        terms = self._model.metrics(outputs, self._targets)
        loss = self._model.loss(outputs, self._targets, self._loss_weights, terms)
        more = {} if self.more_losses is None else self.more_losses(outputs, self._inputs)
        with single_precision():
            for name, (weight, term) in more.items():
                terms[name], loss = term, loss + weight * term
            loss = (loss / self.accumulate).apply(persistent=True)
        return loss, {name: term.apply(persistent=True) for name, term in terms.items()}

    def _load(self, batch: Mapping[str, list]) -> None:
        for variables, arrays in ((self._inputs, batch["inputs"]), (self._targets, batch["targets"])):
            for variable, array in zip(variables, arrays, strict=True):
                if isinstance(array, nn.NdArray):
                    variable.data = array
                else:
                    variable.d = array
