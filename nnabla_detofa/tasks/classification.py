"""Classification (Section 4.1, pre-training): a linear layer behind the mean over the image, with the host's names."""

from typing import Annotated, Any, ClassVar

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np

from ..detection import JudgedAnswers
from ..options import ratio
from ..precision import single_precision
from ..space import ClassifierLayers, Family, SearchSpace
from ..space.layers import LINEAR
from .losses import cross_entropy
from .task import Task, answers


class Classification(Task):
    """One class an image. Outputs are logits (B, n_classes), targets class numbers (B, 1).

    drop_rate: of the features before the linear layer. label_smoothing: the share of a label that goes to all classes
    alike. Both in training alone.
    """

    name: ClassVar[str] = "classification"
    metrics: ClassVar[tuple[str, ...]] = ("top1",)

    drop_rate: Annotated[float, ratio()] = 0.1
    label_smoothing: Annotated[float, ratio()] = 0.1

    def layers(self, space: SearchSpace, **backbone: Any) -> ClassifierLayers:
        """See `Task`."""
        return ClassifierLayers(space, n_classes=self.n_classes, **backbone)

    def places(self, family: Family) -> list[tuple[str, dict[str, Any]]]:
        """See `Task`."""
        layers = family.classifier(1, 1, self.n_classes)
        return [(place, {"drop_rate": self.drop_rate} if one.kind == LINEAR else {}) for place, one in layers.items()]

    def target_shapes(self, sides: tuple[int, int], max_objects: int) -> list[list[int]]:  # noqa: ARG002
        """See `Task`."""
        return [[1]]

    @single_precision()
    def loss(self, outputs, targets, *, weights=None, terms=None, training: bool):  # noqa: ARG002
        """Mean cross entropy to the classes, smoothed in training."""
        share = self.label_smoothing if training else 0.0
        wanted = F.one_hot(targets[0], shape=(self.n_classes,)) * (1 - share) + share / self.n_classes
        return cross_entropy(_logits(outputs), wanted)

    @single_precision()
    def kd_loss(self, outputs, teacher_outputs):
        """Mean cross entropy to a teacher's answer to the same images, whose weights get no gradient."""
        return cross_entropy(_logits(outputs), F.softmax(_logits(teacher_outputs)).apply(need_grad=False))

    @single_precision()
    def curves(self, outputs, targets) -> dict[str, nn.Variable]:
        """Top-1 error."""
        return {"error": F.mean(F.top_n_error(_logits(outputs), targets[0]))}

    def answers(self, network, loader) -> JudgedAnswers:
        """Whether an image's own class gets the largest logit."""

        def read(logits: nn.Variable):
            return lambda: (logits.forward(clear_buffer=True), logits.d)[1]

        right, label = [], []
        for batch, logits in answers(network, loader.batches(np.arange(len(loader.dataset))), read):
            n = batch.n_valid
            label.append(batch.targets[0][:n, 0])
            right.append(logits[:n].argmax(axis=1) == label[-1])
        return JudgedAnswers(np.concatenate(right), np.concatenate(label), self.n_classes)

    def judged(self, metric: str, answers: JudgedAnswers, loader) -> JudgedAnswers:  # noqa: ARG002
        """They are."""
        return answers

    def figure_judged(self, metric: str, judged: JudgedAnswers, loader) -> float:  # noqa: ARG002 - there is one
        """Top-1 accuracy."""
        return int(judged.right.sum()) / judged.n_images


def _logits(outputs):
    """The only output, which the host hands on in a list."""
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs
