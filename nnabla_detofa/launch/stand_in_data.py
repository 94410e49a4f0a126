"""The parts of a run that is only planned: blank images stand in for a data set that is not there (an addition)."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from ..errors import DataError
from ..host.quiet import quiet

with quiet():
    from nnabla_nas import dataset
    from nnabla_nas.utils.cli.args import Configuration


def parts_for_plan(
    config: Callable[[], dict[str, Any]], blank: Callable[[type], type | None], n_classes: int | None
) -> tuple[Configuration, DataError | None]:
    """The host's parts of `config()`, and what is wrong with the data where blank images had to stand in.

    `blank` gives the loader that stands in for another, or None. Raises the DataError where there is none, or the
    configuration does not say how many images and classes it expects.
    """
    try:
        return Configuration(config()), None
    except DataError as error:
        ((name, options),) = config()["dataloader"].items()
        module = vars(dataset)[name]
        loader, n_classes = blank(module.DataLoader), n_classes or options.get("classes_expected")
        if loader is None or n_classes is None or not options.get("images_expected"):
            raise
        setattr(dataset, name, SimpleNamespace(DataLoader=partial(loader, n_classes=n_classes)))
        try:
            return Configuration(config()), error
        finally:
            setattr(dataset, name, module)
