"""Options of the path filter of a run, and of what it learns from; network and fit declare their own."""

from typing import Annotated, Any

from ..errors import ConfigError
from ..options import Flag, OneOf, Options, Text, Whole, declared
from .fitting import fit
from .model import PathFilter
from .rankers import RANKERS, TRANSFORMER

PRIORS = ("cost",)
TOKENS, _ = EFFECTS_OF = ("tokens", "genes")
_Network: Any = declared(PathFilter, "rng")
_Fit: Any = declared(fit, "rng", "basis", "progress", "agree")


class NetworkOptions(_Network):
    """The path filter's network."""


class FitOptions(_Fit):
    """The path filter's fit."""


class PathFilterOptions(Options):
    """The path filter, and what it learns from."""

    paths_per_bucket: Annotated[int, Whole(least=4), "m: paths measured in each bucket"]  # folds leave 2 to compare
    n_buckets: Annotated[int, Whole(most=1000), "of equal width, from the cheapest to the dearest path"]
    bn_images: Annotated[int, Whole(), "training images for BN re-estimation of a path that is ranked"]
    validation_images: Annotated[int, Whole(), "N_p: held-out training images for its loss"]
    evaluation_bn_images: Annotated[int, Whole(), "training images for BN re-estimation of a detector that is found"]
    ranker: Annotated[
        str,
        OneOf("path_filter.ranker", lambda: RANKERS),
        "the filter, or in its place ridge regression, or the place of a path's cost in its bucket (not in the paper)",
    ] = TRANSFORMER
    network: NetworkOptions
    fit: FitOptions
    filters: Annotated[
        int, Whole(most=100), "fitted on as many splits of the same paths; their mean score counts (not in the paper)"
    ] = 1
    prior: Annotated[
        str | None,
        OneOf("path_filter.prior", lambda: PRIORS, null=True),
        "where main effects start: cost, from what a path's parts cost; null, from nothing (not in the paper)",
    ] = None
    effects_of: Annotated[
        str,
        OneOf("path_filter.effects_of", lambda: EFFECTS_OF),
        "what main effects are sought of: tokens, each by itself; genes, whose levels are alike (not in the paper)",
    ] = TOKENS
    pretrained: Annotated[str | None, Text("a file", null=True), "path_filter.h5 of a classifier's run, to start from"]
    folds: Annotated[int, Whole(least=2), "of the cross-validation"]
    second_measurement: Annotated[bool, Flag(), "measure the final paths again, on other images"]

    def model_post_init(self, _context: Any) -> None:
        """ConfigError for what a ranker in the transformer's place does not have; for two starts."""
        if self.prior is not None and self.pretrained is not None:
            raise ConfigError(
                f"path_filter.prior starts a filter from costs, path_filter.pretrained from {self.pretrained}:"
                " leave one of them out",
                key="path_filter.prior",
                given=self.prior,
            )
        several = self.filters if self.filters > 1 else None
        for key, given in {"pretrained": self.pretrained, "filters": several, "prior": self.prior}.items():
            if given is not None and self.ranker != TRANSFORMER:
                raise ConfigError(
                    f"path_filter.{key} is of the transformer, in whose place path_filter.ranker puts '{self.ranker}':"
                    " leave one of them out",
                    key=f"path_filter.{key}",
                    given=given,
                )
