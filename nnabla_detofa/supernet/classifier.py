"""OFA-ResNet50 under a classifier (Section 4.1, pre-training), with the host's parameter names."""

from collections.abc import Sequence

import nnabla.functions as F  # noqa: N812
import numpy as np

from ..errors import require_ratio, require_whole
from ..host import Mo
from ..precision import single_precision
from ..space import ClassifierLayers, SearchSpace
from .backbone import OFAResNet50
from .building import require_known, search_space
from .elastic import constant, corner, normal
from .losses import cross_entropy
from .weights import transfer_weights


class ElasticLinear(Mo.Module):
    """A linear layer that takes the leading features of its weight, behind dropout in training.

    `dropout_seed` decides which features a graph built from now on drops; a network sets it with `apply`.
    """

    dropout_seed = -1  # nnabla's own generator

    def __init__(self, n_in: int, n_out: int, drop_rate: float, rng: np.random.Generator):
        super().__init__()
        self._drop_rate = drop_rate
        self.linear = Mo.Module()
        w_init, b_init = normal(rng, n_in**-0.5), constant(0.0)
        self.linear.linear = Mo.Linear(n_in, n_out, w_init=w_init, b_init=b_init)

    def call(self, x):
        if self.training and self._drop_rate > 0:
            x = F.dropout(x, self._drop_rate, seed=self.dropout_seed)
        linear = self.linear.linear
        return F.affine(x, corner(linear._W, x.shape[1], linear._W.shape[1]), linear._b)


class ClassifierNet(OFAResNet50):
    """The elastic backbone, its mean over the image, and a linear classifier.

    Args:
        space, only: as in `OFAResNet50`.
        n_classes, drop_rate: of the classifier.
        label_smoothing: the share of a label that goes to all classes alike; in training alone.
        bn_param: decay rate and ε of every normalisation.
        rng: draws the initial weights.
        backbone: the other keywords of `OFAResNet50`.
    """

    @property
    def task(self):
        """Shim."""
        from ..tasks_shim import Task

        return Task("classification")

    last_reader = ("classifier/0/linear/linear/_W", 0)

    def __init__(
        self,
        space: SearchSpace,
        *,
        n_classes: int,
        drop_rate: float = 0.1,
        label_smoothing: float = 0.1,
        bn_param: Sequence[float] = (0.9, 1e-5),
        only: np.ndarray | None = None,
        rng: np.random.Generator,
        **backbone,
    ):
        self.n_classes = n_classes = require_whole("n_classes", n_classes)
        self._drop_rate = require_ratio("drop_rate", drop_rate)
        self._label_smoothing = require_ratio("label_smoothing", label_smoothing)
        own = {"drop_rate": drop_rate, "label_smoothing": label_smoothing, "bn_param": bn_param}
        self.options = {"n_classes": n_classes, **own, **backbone}
        super().__init__(space, only=only, rng=rng, **backbone)
        for layer in self.batch_norms():
            layer.bn._decay_rate, layer.bn._eps = bn_param

    def _build(self, shape, ceiling, last_gamma, rng) -> None:
        super()._build(shape, ceiling, last_gamma, rng)
        self.classifier = Mo.ModuleList([ElasticLinear(shape.blocks[-1].n_out, self.n_classes, self._drop_rate, rng)])

    def alone(self, path: np.ndarray, **changed) -> "ClassifierNet":
        """A network of the path's layers alone, with fresh weights."""
        return ClassifierNet(self.space, only=path, rng=np.random.default_rng(0), **{**self.options, **changed})

    def call(self, images):
        """Logits (B, n_classes) of images (B, 3, H, W)."""
        x = self.batch_first(self.features(images))
        with single_precision():
            x = F.mean(x, axis=(2, 3))
        return self.classifier.modules["0"](x)

    @single_precision()
    def loss(self, outputs, targets, loss_weights=None, *_):  # noqa: ARG002 - the host's protocol
        """Mean cross entropy to the class numbers `targets[0]` (B, 1), smoothed in training."""
        share = self._label_smoothing if self.training else 0.0
        wanted = F.one_hot(targets[0], shape=(self.n_classes,)) * (1 - share) + share / self.n_classes
        return cross_entropy(_first(outputs), wanted)

    @single_precision()
    def kd_loss(self, outputs, teacher_outputs, *_):
        """Mean cross entropy to a teacher's answer to the same images, whose weights get no gradient (the host's)."""
        return cross_entropy(_first(outputs), F.softmax(_first(teacher_outputs)).apply(need_grad=False))

    @single_precision()
    def metrics(self, outputs, targets):
        """Top-1 error (the host's protocol: lower is better)."""
        return {"error": F.mean(F.top_n_error(_first(outputs), targets[0]))}

    def network_layers(self, image_size: int) -> ClassifierLayers:
        """Every layer that a path can have at this input size: what costs are made of."""
        options = {"image_size": image_size, "n_classes": self.n_classes, "stem_pool": self._stem_pool}
        return ClassifierLayers(self.space, **options)


def _first(outputs):
    """The logits, which the host hands on in a list."""
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


class SearchNet(ClassifierNet):
    """The supernet, as the host builds it from a configuration.

    Args:
        n_classes: of the classifier.
        space: name and options of the search space.
        pretrained: weights file by the host's names, of a classifier or a detector; see `weights.transfer_weights`.
        seed: of the initial weights.
        options: the other keywords of `ClassifierNet` and `OFAResNet50`.
    """

    def __init__(self, n_classes: int, *, space: dict | None = None, pretrained=None, seed: int = 0, **options):
        require_known(ClassifierNet, options)
        super().__init__(search_space(space), n_classes=n_classes, rng=np.random.default_rng(seed), **options)
        if pretrained:
            self.transfer = transfer_weights(self, pretrained)


class TrainNet(ClassifierNet):
    """One path as a network of its own, with that path's layers alone; `genotype` is the host's {"d", "e", "w"}."""

    def __init__(
        self, n_classes: int, *, genotype, space: dict | None = None, pretrained=None, seed: int = 0, **options
    ):
        require_known(ClassifierNet, options)
        whole = search_space(space)
        path = whole.from_genotype(genotype)
        super().__init__(whole, n_classes=n_classes, only=path, rng=np.random.default_rng(seed), **options)
        if pretrained:
            self.transfer = transfer_weights(self, pretrained)
