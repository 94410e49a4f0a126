"""Make an incomplete `nnabla_nas` importable (an addition; not in the paper).

The wheel of nnabla-nas 0.15.0 lacks the folder `contrib/classification/ofa/networks`, so that `nnabla_nas.contrib`
and `nnabla_nas.runner` fail to import. Where the folder is really missing, stand-ins take its modules' places in
`sys.modules`; a complete install is left as it is.

nnabla 1.39.0 looks for modules `nnabla.nnabla` and `nnabla.nnabla_ext.cpu`, which do not exist, at every access to a
variable's data, before it turns to `nnabla` and `nnabla_ext.cpu`: some 2,600 searches of the file system in a training
step of a small supernet. The modules that it finds in the end answer under those names too.

Two functions of scikit-learn are for the host's own data sets and its predictor of latencies, which nothing here uses;
importing them takes a quarter of the time in which a run starts. The host gets them when it calls them.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import HostError

PACKAGE = "nnabla_nas.contrib.classification.ofa.networks"
NETWORKS = ("ofa_mbv3", "ofa_xception", "ofa_resnet50")
SKLEARN = {"sklearn.neural_network": "MLPRegressor", "sklearn.model_selection": "train_test_split"}
NEVER_THERE = ("nnabla", "nnabla_ext")  # that nnabla's modules look for in `nnabla` first


class MissingModule(ModuleType):
    """Stands in for a module that the installed host lacks: it imports, and raises HostError when it is used."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):  # what `hasattr`, `inspect` and the import system ask of every module
            raise AttributeError(name)
        raise HostError(
            f"{self.__name__}.{name} is not available: the installed nnabla-nas lacks that module;"
            " a complete nnabla-nas, installed from its git repository, has it"
        )


class OtherName(ModuleType):
    """A module under another name, and no package: what is in it by its own name is never imported twice."""

    def __init__(self, name: str, module: ModuleType) -> None:
        super().__init__(name)
        self._module = module

    def __getattr__(self, name: str) -> object:
        if name == "__path__":
            raise AttributeError(name)
        return getattr(self._module, name)


def repair() -> bool:
    """Put the stand-ins in place where the host lacks its OFA networks; returns whether it lacks them.

    Raises HostError where nnabla-nas is not installed at all.
    """
    for name in NEVER_THERE:
        sys.modules.setdefault(f"nnabla.{name}", OtherName(f"nnabla.{name}", importlib.import_module(name)))
    sys.modules.setdefault("nnabla.nnabla_ext.cpu", importlib.import_module("nnabla_ext.cpu"))
    if PACKAGE not in sys.modules:
        if not _is_missing():
            return False
        _stand_in(PACKAGE).__path__ = []  # a package, so that its modules are looked for in sys.modules
        for network in NETWORKS:
            setattr(sys.modules[PACKAGE], network, _stand_in(f"{PACKAGE}.{network}"))
    return isinstance(sys.modules[PACKAGE], MissingModule)


@contextmanager
def without_sklearn() -> Iterator[None]:
    """The scope in which the host is imported: what it takes from scikit-learn is imported when it is called."""
    absent = {name: call for name, call in SKLEARN.items() if name not in sys.modules}
    for name, call in absent.items():
        sys.modules[name] = later = ModuleType(name)
        setattr(later, call, _later(name, call))
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def _later(module: str, name: str) -> Callable[..., Any]:
    return lambda *given, **options: getattr(importlib.import_module(module), name)(*given, **options)


def _is_missing() -> bool:
    """Whether the host is installed without the folder; looks at the files only and imports nothing."""
    host = importlib.util.find_spec("nnabla_nas")
    if host is None or not host.submodule_search_locations:
        raise HostError("nnabla-nas is not installed; install it with 'pip install nnabla-nas==0.15.0'")
    below = PACKAGE.split(".")[1:]
    return not any(Path(place, *below).is_dir() for place in host.submodule_search_locations)


def _stand_in(name: str) -> MissingModule:
    sys.modules[name] = module = MissingModule(name)
    return module
