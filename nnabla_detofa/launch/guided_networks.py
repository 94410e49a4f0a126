"""The host's once-for-all networks under names of ours, their draws guided (an addition; not in the paper).

A configuration of the host names `guided_ofa_mbv3` where it named `ofa_mbv3`, with the same keywords and `guide`, see
`HostGuideOptions`; its runner and launcher are as they were.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Annotated, Any

import numpy as np
from hydra.utils import to_absolute_path

from ..guided_sampling import HOST_SPACES, GuideOptions, guide, host_cost
from ..host.quiet import quiet
from ..options import IMAGE_SIZE, OneOf, Whole
from ..space import COMPUTED

with quiet():
    from nnabla.logger import logger
    from nnabla_nas import contrib

FILES = ("path_filter", "pruned_space")


class HostGuideOptions(GuideOptions):
    """Options of guided draws in a configuration of the host; files are looked for where the command was started.

    image_size: [height, width] of images, or their side, by which paths cost. cost: the filter's.
    seed: of the draws, which are the same in all processes.
    """

    image_size: Annotated[tuple[int, int], IMAGE_SIZE] = (224, 224)
    cost: Annotated[str, OneOf("cost", lambda: COMPUTED)] = "flops"
    seed: Annotated[int, Whole(least=0)] = 0


def guided(name: str) -> ModuleType:
    """The module that the host looks up as `guided_NAME`; its networks are those that the host has by then."""
    known_as = f"guided_{name}"

    def search_net(*, guide: Any = None, **options: Any) -> Any:
        given = HostGuideOptions.of(f"network.{known_as}.guide", _from_the_start(guide))
        return _guided(name, getattr(contrib, name).SearchNet(**options), given)

    def train_net(*, guide: Any = None, **options: Any) -> Any:  # noqa: ARG001 - one path, and nothing to draw
        return getattr(contrib, name).TrainNet(**options)

    module = ModuleType(known_as, f"The host's {name} with guided draws.")
    vars(module).update(SearchNet=search_net, TrainNet=train_net)
    return module


def _from_the_start(given: Any) -> Any:
    """With absolute names of files, as the host has its own: Hydra leaves the folder where the command was started."""
    if not isinstance(given, Mapping):
        return given
    return {k: to_absolute_path(v) if k in FILES and isinstance(v, str) else v for k, v in given.items()}


def _guided(name: str, network: Any, given: HostGuideOptions) -> Any:
    cost = host_cost(name, network, given.cost, given.image_size)
    own = {key: getattr(given, key) for key in GuideOptions.model_fields}
    accepted = guide(network, cost, rng=np.random.default_rng(given.seed), **own)
    paths = f"{accepted.space.size():,} of {cost.space.size():,} paths"
    logger.info(f"guided_{name} draws from {paths}; {given.path_ratio:.0%} of each bucket are refused")
    return network


GUIDED = {f"guided_{name}": guided(name) for name in HOST_SPACES}
