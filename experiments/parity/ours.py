"""Our side of the comparison: the package's detector on given batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import nnabla as nn
import nnabla.solvers as S  # noqa: N812
import numpy as np

from nnabla_detofa.data import voc
from nnabla_detofa.detection import decode
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import Supernet
from nnabla_detofa.tasks import CenterNet
from nnabla_detofa.tasks.centernet import average_precision, detect

from .exchange import Arrays, prefixed, to_torch

KERNELS = ("numpy", "nnabla")


class Settings(NamedTuple):
    """The options of the network, the same on both sides."""

    n_classes: int
    neck: tuple[int, ...] = (256, 256, 256)
    head: int = 64
    width_scale: float = 1.0
    channel_divisor: int = 8

    def space(self) -> SearchSpace:
        return SearchSpace.ofa_resnet50(width_scale=self.width_scale, channel_divisor=self.channel_divisor)


def network(settings: Settings, kernels: str = "auto", weights: Arrays | None = None) -> Supernet:
    """A detector with MIT's ReLU in the stem; fresh weights of seed 0 where none are given."""
    built = Supernet(
        settings.space(),
        CenterNet(n_classes=settings.n_classes, neck=settings.neck, head=settings.head),
        stem_activation="relu",
        kernels=kernels,
        rng=np.random.default_rng(0),
    )
    if weights is not None:
        for name, parameter in built.get_parameters().items():
            parameter.d = weights[name]
    return built


def weights_of(detector: Supernet) -> Arrays:
    """Copies of all parameters and running statistics by name."""
    return {name: parameter.d.copy() for name, parameter in detector.get_parameters().items()}


class Kinks:
    """Where a forward pass stood at every point in which the network has no derivative, in the order of the layers.

    `masks`: (B, C, h, w) bool of each ReLU, where it lets through. `pooled` (B, C, h, w): what the maximum is taken of.
    """

    def __init__(self, detector: Supernet) -> None:
        self._to_batch = (1, 0, 2, 3) if detector.works_channel_major() else (0, 1, 2, 3)
        self.masks: list[np.ndarray] = []
        self.pooled: np.ndarray = None

    def __call__(self, function) -> None:
        """A hook behind every function of NNabla."""
        if function.name == "MaxPooling":
            self.pooled = function.inputs[0].d.transpose(self._to_batch).copy()
        elif function.name == "ReLU" or self._is_normalisation(function):
            y = function.outputs[0].d
            if y.min() >= 0:  # the normalisation of a projection has no ReLU
                self.masks.append((y > 0).transpose(self._to_batch))

    def _is_normalisation(self, function) -> bool:
        """Whether it is our kernel, which NNabla calls a callback, and whose last step is the ReLU."""
        shapes = [variable.shape for variable in function.inputs[1:3]]
        return function.name == "Callback" and len(shapes) == 2 and shapes[0] == shapes[1]  # β and γ


class Training:
    """Adam on one batch after another, as the package trains."""

    def __init__(self, detector: Supernet, rate: float) -> None:
        self.network = detector
        self._solver = S.Adam(alpha=rate)
        self._solver.set_parameters(detector.get_parameters(grad_only=True))

    def step(self, path: np.ndarray, images: np.ndarray, targets: Sequence[np.ndarray]) -> dict[str, Arrays]:
        """Maps, losses and gradient before the update; only the parameters of the path's layers have a gradient."""
        self.network.activate(path)
        self.network.apply(training=True)
        outputs = self.network(nn.Variable.from_numpy_array(images))
        wanted = [nn.Variable.from_numpy_array(target) for target in targets]
        terms = self.network.metrics(outputs, wanted)
        loss = self.network.loss(outputs, wanted, terms=terms)
        kept = dict(zip(terms, outputs, strict=True))
        for variable in (*kept.values(), *terms.values()):
            variable.apply(persistent=True)
        self._solver.zero_grad()
        self.kinks = Kinks(self.network)
        nn.forward_all([loss, *terms.values()], clear_no_need_grad=True, function_post_hook=self.kinks)
        loss.backward(clear_buffer=True)
        self.network.flush_statistics()
        parameters = self.network.get_parameters(grad_only=True)
        gradient = {name: p.g.copy() for name, p in parameters.items() if not p.grad.zeroing}
        self._solver.update()
        return {
            "maps": {name: variable.d.copy() for name, variable in kept.items()},
            "losses": {name: variable.d.copy() for name, variable in terms.items()},
            "gradient": to_torch(gradient),
        }


class Steps(NamedTuple):
    """The results of some steps, by the reference's names.

    `first`: "maps/…", "losses/…" and "gradient/…" of the first step, "change/…" of all weights and statistics after the
    last. `gradients` of each step. `kinks`: "masks/STEP/…" and "pooled/STEP", as the reference is to be told.
    """

    first: Arrays
    gradients: list[Arrays]
    kinks: Arrays


def steps(
    detector: Supernet, path: np.ndarray, images: np.ndarray, targets: Sequence[np.ndarray], *, rate: float, n: int
) -> Steps:
    """Train on one batch, `n` times."""
    before, training = weights_of(detector), Training(detector, rate)
    found, kinks = [], {}
    for step in range(n):
        found.append(training.step(path, images, targets))
        kinks[f"pooled/{step}"] = training.kinks.pooled
        kinks |= {f"masks/{step}/{i}": mask for i, mask in enumerate(training.kinks.masks)}
    change = {name: value.astype(np.float64) - before[name] for name, value in weights_of(detector).items()}
    first = {**found[0], "change": to_torch(change)}
    flat = {f"{kind}/{name}": value for kind, values in first.items() for name, value in values.items()}
    return Steps(flat, [one["gradient"] for one in found], kinks)


def adam(gradients: Sequence[np.ndarray], rate: float, *, corrected: bool = False) -> np.ndarray:
    """The change that Adam's equations make of a parameter's gradients, in double precision.

    ε = 1e-8 stands beside √v in NNabla, the "more efficient" order of computation of Kingma and Ba's section 2, and
    beside the `corrected` root √(v / (1 − β₂ᵗ)) in their Algorithm 1 and in PyTorch.
    """
    change, m, v = (np.zeros(gradients[0].shape) for _ in range(3))
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * np.square(g, dtype=np.float64)
        root = np.sqrt(1 - 0.999**t)
        change -= rate * root / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8 * (root if corrected else 1))
    return change


def loader(folder: str, *, training: bool, batch: int, image_size: int) -> voc.DataLoader:
    """The pictures of a VOCdevkit, VOC2007's trainval or test."""
    return voc.DataLoader(
        training, training, batch, root=folder, image_size=image_size, held_out=0, workers=0, seed=0, max_objects=64
    )


def ask_of(split: voc.DataLoader) -> Arrays:
    """The arrays with which the reference evaluates all pictures of a split."""
    batches = list(split.batches())
    return {
        "images": np.concatenate([one.images[: one.n_valid] for one in batches]),
        "matrix": np.concatenate([one.matrix[: one.n_valid] for one in batches]),
        **prefixed("truth", split.dataset.ground_truth()._asdict()),
    }


def evaluation(detector: Supernet, split: voc.DataLoader) -> dict[str, Any]:
    """Maps, detections and mean AP (VOC 2007) of the active path."""
    detector.apply(training=False)
    parts = []
    for batch in split.batches():
        outputs = detector(nn.Variable.from_numpy_array(batch.images))
        nn.forward_all(outputs, clear_buffer=True)
        parts.append([output.d[: batch.n_valid].copy() for output in outputs])
    detections = detect(detector, split.batches())
    return {
        "maps": dict(zip(("heatmap", "size", "offset"), map(np.concatenate, zip(*parts, strict=True)), strict=True)),
        "detections": detections._asdict(),
        "ap": average_precision("voc07", detections, split.dataset),
    }


def decoded(maps: Arrays) -> Arrays:
    """Our decoding of maps."""
    peaks = decode(maps["heatmap"], maps["size"], maps["offset"], logits=True)
    return {"box": peaks.boxes, "label": peaks.labels, "score": peaks.scores}
