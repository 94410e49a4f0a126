"""The classifier under the keywords and the protocol of the host's `ofa_resnet50` (Section 4.1, pre-training).

Stands in for it where the installed host lacks it, so that the host's own OFASearcher runs.
"""

from typing import Annotated, Any

import numpy as np

from ..options import Text, Whole, ratio
from ..space import SearchSpace
from ..tasks import Classification
from .network import NetworkOptions, Supernet
from .weights import transfer_weights


class HostOptions(NetworkOptions):
    """The host's keywords.

    num_classes, drop_rate: of the classifier.
    depth_list, expand_ratio_list, width_mult_list: the choices D, E and W; a single number for one choice.
    weights: file of parameters by the host's names, see `transfer_weights`.
    seed: of the initial weights and of the paths that training draws.
    """

    num_classes: Annotated[int, Whole()] = 1000
    drop_rate: Annotated[float, ratio()] = 0.1
    depth_list: Any = (0, 1, 2)
    expand_ratio_list: Any = (0.2, 0.25, 0.35)
    width_mult_list: Any = (0.65, 0.8, 1.0)
    weights: Annotated[str | None, Text("the name of a weights file", null=True)] = None
    seed: Annotated[int, Whole(least=0)] = 0


class OnePathOptions(HostOptions):
    """The host's keywords.

    genotype: of `args.search: false` alone: the host's {"d", "e", "w"}; null: the largest path's.
    """

    genotype: Any = None


class SearchNet(Supernet):
    """The supernet; in training every call draws a path, as the host's `ofa_resnet50` does for its OFASearcher."""

    declared = HostOptions

    def __init__(self, num_classes: int = 1000, **options: Any) -> None:
        given = self.declared.of("network.ofa_resnet50", {"num_classes": num_classes, **options})
        lists = {"depths": given.depth_list, "expands": given.expand_ratio_list, "widths": given.width_mult_list}
        choices = {name: sorted(np.atleast_1d(values).tolist()) for name, values in lists.items()}
        space = SearchSpace.ofa_resnet50(**choices)
        held = None
        if isinstance(given, OnePathOptions):
            held = space.largest() if given.genotype is None else space.from_genotype(given.genotype)
        self._widths, self._paths = choices["widths"], np.random.default_rng([given.seed, 1])
        super().__init__(
            space,
            Classification(n_classes=given.num_classes, drop_rate=given.drop_rate),
            only=held,
            rng=np.random.default_rng(given.seed),
            **{name: getattr(given, name) for name in NetworkOptions.model_fields},
        )
        if given.weights:
            self.transfer = transfer_weights(self, given.weights)

    def call(self, images):
        """Logits of the active path, or in training of a path drawn uniformly."""
        if self.training and self.only is None:
            self.activate(self.space.sample(1, self._paths)[0])
        return super().call(images)

    def set_valid_arch(self, genotype) -> None:
        """Choose the path of validation: the host's (depths, expand ratios, width multipliers)."""
        segments = self.space.family.segments
        numbers = len(segments), sum(one.n_blocks for one in segments[1:]), len(segments) + 1
        d, e, w = (np.broadcast_to(one, n).tolist() for one, n in zip(genotype, numbers, strict=True))
        self.activate(self.space.from_genotype({"d": d, "e": e, "w": list(map(self._widths.index, w))}))


class TrainNet(SearchNet):
    """One path as a network of its own."""

    declared = OnePathOptions
