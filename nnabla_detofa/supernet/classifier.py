"""OFA-ResNet50 under a classifier (Section 4.1, pre-training), with the host's keywords and parameter names.

Stands in for `ofa_resnet50` where the installed host lacks it.
"""

from collections.abc import Sequence
from pathlib import Path

import nnabla.functions as F  # noqa: N812
import numpy as np

from ..errors import ConfigError
from ..host import Mo
from ..space import SearchSpace
from .backbone import OFAResNet50
from .elastic import constant, corner, normal
from .weights import transfer_weights

LABEL_SMOOTHING = 0.1


class ElasticLinear(Mo.Module):
    """A linear layer that takes the leading features of its weight, behind dropout in training."""

    def __init__(self, n_in: int, n_out: int, drop_rate: float, rng: np.random.Generator):
        super().__init__()
        self._drop_rate = drop_rate
        self.linear = Mo.Module()
        w_init, b_init = normal(rng, n_in**-0.5), constant(0.0)
        self.linear.linear = Mo.Linear(n_in, n_out, w_init=w_init, b_init=b_init)

    def call(self, x):
        if self.training and self._drop_rate > 0:
            x = F.dropout(x, self._drop_rate)
        linear = self.linear.linear
        return F.affine(x, corner(linear._W, x.shape[1], linear._W.shape[1]), linear._b)


def _space(depths, expands, widths) -> SearchSpace:
    """The space of these choices, each a list or a single number."""
    choices = {"depths": depths, "expands": expands, "widths": widths}
    return SearchSpace.ofa_resnet50(**{name: sorted(np.atleast_1d(v).tolist()) for name, v in choices.items()})


class ClassifierNet(OFAResNet50):
    """The elastic backbone, its mean over the image, and a linear classifier.

    Args:
        num_classes, drop_rate: of the classifier.
        bn_param: decay rate and ε of every normalisation.
        depth_list, expand_ratio_list, width_mult_list: the choices D, E and W; a single number for one choice.
        weights: HDF5 file of parameters by the host's names; those that the network knows are taken over as they are.
        only: a row of genes; the network then holds that path's layers alone.
        seed: of the initial weights and of the paths that training draws.
        backbone: the other keywords of `OFAResNet50`.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        bn_param: Sequence[float] = (0.9, 1e-5),
        drop_rate: float = 0.1,
        depth_list: Sequence[int] | int = (0, 1, 2),
        expand_ratio_list: Sequence[float] | float = (0.2, 0.25, 0.35),
        width_mult_list: Sequence[float] | float = (0.65, 0.8, 1.0),
        weights: str | None = None,
        only: np.ndarray | None = None,
        seed: int = 0,
        **backbone,
    ):
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
            raise ConfigError(f"num_classes is {num_classes!r}; it must be a whole number of at least 1")
        self._num_classes, self._drop_rate = num_classes, drop_rate
        space = _space(depth_list, expand_ratio_list, width_mult_list)
        self._paths = np.random.default_rng([seed, 1])
        super().__init__(space, only=only, rng=np.random.default_rng(seed), **backbone)
        for layer in self.batch_norms():
            layer.bn._decay_rate, layer.bn._eps = bn_param
        self.transfer = transfer_weights(self, Path(weights)) if weights else None

    def _build(self, shape, ceiling, last_gamma, rng) -> None:
        super()._build(shape, ceiling, last_gamma, rng)
        self.classifier = Mo.ModuleList(
            [ElasticLinear(shape.blocks[-1].n_out, self._num_classes, self._drop_rate, rng)]
        )

    def call(self, images):
        """Logits (B, num_classes) of images (B, 3, H, W)."""
        x = F.mean(self.batch_first(self.features(images)), axis=(2, 3))
        return self.classifier.modules["0"](x)

    def loss(self, outputs, targets, loss_weights=None, *_):  # noqa: ARG002 - the host's protocol
        """Cross entropy with label smoothing 0.1; targets (B, 1) class numbers."""
        share = LABEL_SMOOTHING / self._num_classes
        wanted = F.one_hot(targets[0], shape=(self._num_classes,)) * (1 - LABEL_SMOOTHING) + share
        return -1.0 * F.mean(F.sum(wanted * F.log_softmax(outputs[0]), axis=1))

    def metrics(self, outputs, targets):
        """Top-1 error (the host's protocol: lower is better)."""
        return {"error": F.mean(F.top_n_error(outputs[0], targets[0]))}


class SearchNet(ClassifierNet):
    """The supernet; in training every call draws a path, as the host's `ofa_resnet50` does for its OFASearcher."""

    def call(self, images):
        """Logits of the active path, or in training of a path drawn uniformly."""
        if self.training:
            self.activate(self.space.sample(1, self._paths)[0])
        return super().call(images)

    def set_valid_arch(self, genotype) -> None:
        """Choose the path of validation: the host's (depths, expand ratios, width multipliers)."""
        depths, expands, widths = (list(one) if isinstance(one, (list, tuple)) else one for one in genotype)
        structure = self.space.structure
        d = depths if isinstance(depths, list) else [depths] * 5
        e = expands if isinstance(expands, list) else [expands] * sum(structure.layers)
        w = widths if isinstance(widths, list) else [widths] * 6
        w = [structure.widths.index(one) for one in w]
        self.activate(self.space.from_genotype({"d": d, "e": e, "w": w}))


class TrainNet(ClassifierNet):
    """One path as a network of its own, the largest where no `genotype` (the host's {"d", "e", "w"}) is given."""

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        genotype=None,
        depth_list: Sequence[int] | int = (0, 1, 2),
        expand_ratio_list: Sequence[float] | float = (0.2, 0.25, 0.35),
        width_mult_list: Sequence[float] | float = (0.65, 0.8, 1.0),
        **options,
    ):
        space = _space(depth_list, expand_ratio_list, width_mult_list)
        super().__init__(
            num_classes,
            depth_list=depth_list,
            expand_ratio_list=expand_ratio_list,
            width_mult_list=width_mult_list,
            only=space.largest() if genotype is None else space.from_genotype(genotype),
            **options,
        )
