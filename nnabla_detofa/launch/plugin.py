"""Put our network, runner and data sets where the host looks its own up (an addition; not in the paper).

nnabla-nas has no registry: its launcher takes `contrib.__dict__[name]`, `runner.__dict__[name]` and
`dataset.__dict__[name]`, so a plugin sets attributes on these packages.
"""

from types import ModuleType
from typing import Any

from ..data import coco, coco_masks, image_folder, voc, voc_masks, yolo
from ..data.blank_data import stand_in
from ..data.generated import NotGeneratedError, nothing_generated
from ..data.sharing import splits_shared
from ..errors import HostError
from ..host.cpu import repair_launcher
from ..host.quiet import quiet
from ..host.repair import MissingModule
from ..searcher import DetOFASearcher, OFAPretrainer
from ..supernet import NETWORKS, host_classifier
from .guided_networks import GUIDED

with quiet():
    from nnabla_nas import contrib, dataset, runner

__all__ = ["NotGeneratedError", "nothing_generated", "register", "splits_shared", "stand_in"]

COMPONENTS: tuple[tuple[ModuleType, str, Any], ...] = (
    *((contrib, name, module) for name, module in {**NETWORKS, **GUIDED}.items()),
    (runner, "DetOFASearcher", DetOFASearcher),
    (runner, "OFAPretrainer", OFAPretrainer),
    (dataset, "voc", voc),
    (dataset, "coco", coco),
    (dataset, "yolo", yolo),
    (dataset, "image_folder", image_folder),
    (dataset, "voc_masks", voc_masks),
    (dataset, "coco_masks", coco_masks),
)

# what stands in for a network that the installed host lacks; a complete host keeps its own
SUBSTITUTES: tuple[tuple[ModuleType, str, Any], ...] = ((contrib, "ofa_resnet50", host_classifier),)


def register() -> None:
    """Register everything; idempotent. Raises HostError, and registers nothing, where a name is someone else's.

    The host's own launcher starts on a CPU too afterwards.
    """
    for package, name, ours in COMPONENTS:
        _check_free(package, name, ours)
    for package, name, ours in COMPONENTS:
        setattr(package, name, ours)
    for package, name, ours in SUBSTITUTES:
        if isinstance(vars(package).get(name), MissingModule):
            setattr(package, name, ours)
    with quiet():
        repair_launcher()


def _check_free(package: ModuleType, name: str, ours: Any) -> None:
    present = vars(package).get(name)
    if present is not None and present is not ours and not isinstance(present, MissingModule):
        raise HostError(
            f"{package.__name__} already has a '{name}' that is not ours: {present!r};"
            " another plugin or a newer nnabla-nas brought it, and it is not overwritten"
        )
