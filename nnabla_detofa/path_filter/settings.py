"""Options of the path filter of a run, and of what it learns from; network and fit declare their own."""

from typing import Annotated, Any

from ..options import Flag, Options, Text, Whole, declared
from .fitting import fit
from .model import PathFilter

_Network: Any = declared(PathFilter, "rng")
_Fit: Any = declared(fit, "rng", "progress", "agree")


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
    network: NetworkOptions
    fit: FitOptions
    filters: Annotated[
        int, Whole(most=100), "fitted on as many splits of the same paths; their mean score counts (not in the paper)"
    ] = 1
    pretrained: Annotated[str | None, Text("a file", null=True), "path_filter.h5 of a classifier's run, to start from"]
    folds: Annotated[int, Whole(least=2), "of the cross-validation"]
    second_measurement: Annotated[bool, Flag(), "measure the final paths again, on other images"]
