"""The networks that configurations name: a family of spaces under a task (an addition; not in the paper)."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Annotated, Any

import numpy as np
from pydantic import create_model

from ..errors import ConfigError, unknown
from ..options import Listed, Options, Text, Whole
from ..space import SearchSpace
from ..tasks import CenterNet, Classification, Segmentation, Task
from .network import NetworkOptions, Supernet
from .weights import transfer_weights

Spaces = dict[str, Callable[..., SearchSpace]]

# by the name that networks begin with, those of their spaces; the first is what a network has unless it is said
FAMILIES: dict[str, Spaces] = {
    "ofa_resnet50": {"ofa_resnet50": SearchSpace.ofa_resnet50, "comp_ofa": SearchSpace.comp_ofa},
    "ofa_mbv3": {"ofa_mbv3": SearchSpace.ofa_mbv3},
    "ofa_xception": {"ofa_xception": SearchSpace.ofa_xception},
}


class SearchOptions(NetworkOptions):
    """Options of a network that a configuration names.

    space: name and options of the search space.
    pretrained: weights file by the host's names, of whatever task; see `transfer_weights`.
    seed: of the initial weights.
    """

    space: Any = None
    pretrained: Annotated[str | None, Text("the name of a weights file", null=True)] = None
    seed: Annotated[int, Whole(least=0)] = 0


class TrainOptions(SearchOptions):
    """Options of one path as a network of its own.

    genotype: of `args.search: false` alone, which needs it: the host's {"d", "e", "w"}.
    labels: likewise, for each class its label in `pretrained`, null for a new one; null: they are the same.
    """

    genotype: Any
    labels: Annotated[tuple[int | None, ...] | None, Listed(Whole(least=0, null=True), null=True)] = None


class NamedNetwork(Supernet):
    """A network as the host builds it from a configuration; `declared` says what its keywords may be."""

    declared: type[SearchOptions]
    known_as: str
    spaces: Spaces
    task_of: type[Task]

    def __init__(self, n_classes: int, **options: Any) -> None:
        given = self.declared.of(f"network.{self.known_as}", {"n_classes": n_classes, **options})
        space, genotype = search_space(given.space, self.spaces), getattr(given, "genotype", None)
        super().__init__(
            space,
            self.task_of(**_fields(given, self.task_of)),
            only=None if genotype is None else space.from_genotype(genotype),
            rng=np.random.default_rng(given.seed),
            **_fields(given, NetworkOptions),
        )
        if given.pretrained:
            self.transfer = transfer_weights(self, given.pretrained, labels=getattr(given, "labels", None))


def _fields(given: Options, of: type[Options]) -> dict[str, Any]:
    return {name: getattr(given, name) for name in of.model_fields}


def search_space(options: Mapping | None, spaces: Spaces) -> SearchSpace:
    """The space of that "name", the first where there is none, with the other options; ConfigError for unknown ones."""
    if not isinstance(options or {}, Mapping):
        raise ConfigError(key="space", given=options, allowed=f"a name and options, as {{name: {next(iter(spaces))}}}")
    options = {"name": next(iter(spaces)), **(options or {})}
    if (name := options.pop("name")) not in list(spaces):  # a list may be given, which no dictionary looks up
        raise unknown("search space", name, spaces)
    return spaces[name](**options)


def networks(name: str, spaces: Spaces, task: type[Task]) -> ModuleType:
    """The module that the host looks up by a network's name: `SearchNet` is the supernet, `TrainNet` one path of it."""
    module = ModuleType(name, f"The spaces {', '.join(spaces)} under the task {task.__name__}.")
    for kind, own in (("SearchNet", SearchOptions), ("TrainNet", TrainOptions)):
        declared = create_model(kind, __base__=(own, task), __doc__=f"{task.__doc__}\n\n{own.__doc__}")
        members = {"declared": declared, "known_as": name, "spaces": spaces, "task_of": task}
        setattr(module, kind, type(kind, (NamedNetwork,), {**members, "__doc__": declared.__doc__}))
    return module


TASKS: dict[str, type[Task]] = {"centernet": CenterNet, "classifier": Classification, "segmenter": Segmentation}
NETWORKS = {
    f"{family}_{name}": networks(f"{family}_{name}", spaces, task)
    for family, spaces in FAMILIES.items()
    for name, task in TASKS.items()
}


def network_of(described: Mapping[str, Mapping[str, Any]]) -> Supernet:
    """The network that a file describes as a configuration would, {NAME: options}: one path where they say which."""
    ((name, options),) = described.items()
    return getattr(NETWORKS[name], "TrainNet" if "genotype" in options else "SearchNet")(**options)
