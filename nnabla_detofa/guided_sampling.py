"""Draws of a network of NNablaNAS guided by a path filter (Algorithm 1, lines 10-13; the place is an addition).

The host's OFASearcher trains at each step what its network's `sample_active_subnet` has set. `guide` puts Algorithm 1's
loop in the place of that method: draw from 𝒜̃, refuse what scores below the threshold of its bucket, and set the rest by
the network's own `set_active_subnet`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from .errors import ConfigError, HostError
from .options import OneOf, Options, Value, Whole, ratio
from .path_filter import PathFilter, score_of_paths, scored_space
from .pruning import AcceptedPaths, path_thresholds
from .space import PROPOSALS, Budgets, ClassifierLayers, CostModel, SearchSpace
from .storage.files import read_json

FILE = Value("the name of a file that is there", lambda value: isinstance(value, str) and Path(value).is_file())
WITH_KERNELS = {
    "depths": "_depth_list",
    "kernels": "_ks_list",
    "expands": "_expand_ratio_list",
    "width_scale": "_width_mult",
}
# of each network of the host its space, and the attributes in which it keeps the options of that
HOST_SPACES: dict[str, tuple[Callable[..., SearchSpace], dict[str, str]]] = {
    "ofa_mbv3": (
        SearchSpace.ofa_mbv3,
        WITH_KERNELS,
    ),
    "ofa_resnet50": (
        SearchSpace.ofa_resnet50,
        {"depths": "_depth_list", "widths": "_width_mult_list", "expands": "_expand_ratio_list"},
    ),
    "ofa_xception": (
        SearchSpace.ofa_xception,
        WITH_KERNELS,
    ),
}
PROTOCOL = ("sample_active_subnet", "set_active_subnet", "_num_classes")
TIED = ("_compound", "_fixed_kernel")  # switches of the host's networks, under which genes are not free


class GuideOptions(Options):
    """Options of guided draws.

    path_filter: the file of a run's path filter. pruned_space: its `pruned_space.json`; null: nothing is pruned.
    path_ratio: share of each bucket's paths, those of lowest score, that is refused.
    sampler: the distribution that is drawn from.
    paths_per_threshold: paths of each bucket whose scores give its threshold.
    """

    path_filter: Annotated[str, FILE]
    pruned_space: Annotated[str | None, replace(FILE, null=True)] = None
    path_ratio: Annotated[float, ratio()] = 0.25
    sampler: Annotated[str, OneOf("sampler", lambda: PROPOSALS)] = "genes"
    paths_per_threshold: Annotated[int, Whole()] = 1000


def host_space(name: str, network: Any) -> SearchSpace:
    """The paths of a network of the host's `name`, by the choices it holds; HostError for another network under that
    name, ConfigError where its genes are tied."""
    make, options = HOST_SPACES[name]
    if missing := [one for one in (*PROTOCOL, *options.values()) if not hasattr(network, one)]:
        raise HostError(
            f"draws of {name} cannot be guided: {type(network).__module__} is not the host's, it has no"
            f" {', '.join(missing)}; a complete nnabla-nas, installed from its git repository, has"
        )
    for switch in TIED:
        if getattr(network, switch, False):
            raise ConfigError(
                key=f"{name}.{switch[1:]}", given=True, allowed="false: guided draws take each gene freely"
            )
    return make(**{option: getattr(network, attribute) for option, attribute in options.items()})


def host_cost(name: str, network: Any, cost: str, image_size: tuple[int, int]) -> CostModel:
    """The `cost` of the paths of a network of the host's `name`.

    Buckets are shares of the way from the cheapest path to the dearest, so the filter may come from a run of another
    image size or another head.
    """
    layers = ClassifierLayers(host_space(name, network), image_size=image_size, n_classes=network._num_classes)
    return CostModel.of(layers, cost)


def guide(network: Any, cost: CostModel, *, rng: np.random.Generator, **options: Any) -> AcceptedPaths:
    """Let `network` draw as Algorithm 1 does from here on; what it draws and rejects is counted in what is returned.

    Args:
        network: one with a `set_active_subnet` that takes the genotypes of the cost's space.
        cost: of all its paths, by which they are in buckets.
        rng: draws the paths, first those that give the thresholds.
        options: those of `GuideOptions`.

    Raises:
        ConfigError: an option that may not be.
        WeightsError: a path filter or a pruned space of other choices than the cost's, or a filter of another cost.
    """
    given, space = GuideOptions.of("guide", options), cost.space
    layout, scored = space.token_layout(), scored_space(space, cost.name)
    path_filter = PathFilter.load(given.path_filter, layout=layout, space=scored)
    pruned = space
    if given.pruned_space is not None:
        pruned = SearchSpace.from_dict(read_json(Path(given.pruned_space)), within=space)
    budgets = Budgets.equal_width(cost, n=path_filter.design.n_buckets)
    score = score_of_paths(path_filter, space, cost, budgets)
    found = path_thresholds(pruned, score, cost, budgets, paths_per_bucket=given.paths_per_threshold, rng=rng)
    thresholds, draw = found.at(given.path_ratio), PROPOSALS[given.sampler](pruned, cost, budgets)
    accepted = AcceptedPaths(pruned, score, cost, budgets, thresholds=thresholds, draw=draw, rng=rng)

    def sample_active_subnet() -> dict[str, list]:
        genotype = pruned.genotype(accepted.next())
        network.set_active_subnet(**genotype)
        return genotype

    network.sample_active_subnet = sample_active_subnet
    return accepted
