"""The classifier under the keywords and the protocol of the host's `ofa_resnet50` (Section 4.1, pre-training).

Stands in for it where the installed host lacks it, so that the host's own OFASearcher runs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import require_whole
from ..space import SearchSpace
from .classifier import ClassifierNet
from .weights import transfer_weights


def _space(depths, expands, widths) -> SearchSpace:
    """The space of these choices, each a list or a single number."""
    choices = {"depths": depths, "expands": expands, "widths": widths}
    return SearchSpace.ofa_resnet50(**{name: sorted(np.atleast_1d(v).tolist()) for name, v in choices.items()})


class HostClassifier(ClassifierNet):
    """`ClassifierNet` by the host's keywords.

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
        num_classes = require_whole("num_classes", num_classes)
        self._paths = np.random.default_rng([seed, 1])
        options = {"n_classes": num_classes, "drop_rate": drop_rate, "bn_param": bn_param, **backbone}
        space = _space(depth_list, expand_ratio_list, width_mult_list)
        super().__init__(space, only=only, rng=np.random.default_rng(seed), **options)
        if weights:
            self.transfer = transfer_weights(self, Path(weights))


class SearchNet(HostClassifier):
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


class TrainNet(HostClassifier):
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
