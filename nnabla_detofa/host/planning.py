"""The parts of a run that is only planned: blank images stand in for a data set that is not there (an addition)."""

from collections.abc import Callable
from typing import Any

from ..errors import DataError
from .quiet import quiet

with quiet():
    from nnabla_nas import dataset
    from nnabla_nas.utils.cli.args import Configuration

Blank = Callable[[type], type | None]  # the loader that stands in for one; None where there is none


class _WithoutData(Configuration):
    """The host's parts, with loaders of another class."""

    def __init__(self, config: dict[str, Any], loader: Callable[..., Any]) -> None:
        self._loader = loader
        super().__init__(config)

    def get_dataloader(self, conf: dict[str, Any]) -> dict[str, Any]:
        """The three loaders as the host builds them."""
        (options,) = conf["dataloader"].values()
        hparams, search = conf["hparams"], conf["args"]["search"]
        parts = {"train": (search, True, "train"), "valid": (search, False, "valid"), "test": (False, False, "valid")}
        return {
            name: self._loader(
                searching=searching,
                training=training,
                batch_size=hparams[f"mini_batch_{batch}"],
                communicator=conf["args"]["comm"],
                **options,
            )
            for name, (searching, training, batch) in parts.items()
        }


def parts_for_plan(
    config: Callable[[], dict[str, Any]], blank: Blank, n_classes: int | None
) -> tuple[Configuration, DataError | None]:
    """The host's parts of `config()`, and what is wrong with the data where blank images had to stand in.

    Raises the DataError where the configuration does not say how many images and classes it expects.
    """
    try:
        return Configuration(config()), None
    except DataError as error:
        ((name, options),) = config()["dataloader"].items()
        loader, n_classes = blank(vars(dataset)[name].DataLoader), n_classes or options.get("classes_expected")
        if loader is None or n_classes is None or not options.get("images_expected"):
            raise
        return _WithoutData(config(), lambda **own: loader(n_classes=n_classes, **own)), error
