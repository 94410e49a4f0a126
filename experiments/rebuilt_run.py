"""A run of conf/*.yaml on VOC's form, rebuilt from its folder: its network with fresh weights, buckets and pictures."""

from pathlib import Path
from typing import Any

import numpy as np

from nnabla_detofa.data.voc import DataLoader
from nnabla_detofa.errors import ConfigError
from nnabla_detofa.space import Budgets
from nnabla_detofa.storage.files import read_json
from nnabla_detofa.supernet import network_of
from nnabla_detofa.training.measuring import FixedImages, PathMeasurer

GENERATED = ("generate", "letters")  # keys of options of pictures that are made


class RebuiltRun:
    """`stages` is stages.json, `settings` what the warm-up was made from."""

    def __init__(self, folder: Path):
        self.folder, self.stages = folder, read_json(folder / "stages.json")
        self.settings = self.stages["warmup"]["inputs"]
        self.network = network_of(self.settings["network"])
        self.cost = self.network.flops(self._data["image_size"])
        self.budgets = Budgets.equal_width(self.cost, n=self.settings["n_buckets"])

    @property
    def _data(self) -> dict[str, Any]:
        return self.settings["dataloader"]["voc"]

    def loader(
        self, batch_size: int, *, training: bool, generated: dict[str, Any] | None = None, **changed: Any
    ) -> DataLoader:
        """All of the training or the test split, with `changed` options, and those of its pictures in `generated`."""
        if generated:
            kind = next((key for key in GENERATED if self._data.get(key)), None)
            if kind is None:
                raise ConfigError(f"{self.folder} is not of generated pictures, of which new ones can be drawn")
            changed[kind] = {**self._data[kind], **generated}
        return DataLoader(False, training, batch_size, **{**self._data, "workers": 0, **changed})

    def measurer(self, bn: tuple[DataLoader, range], validation: tuple[DataLoader, range]) -> PathMeasurer:
        """Measures paths on the images of a loader that have these numbers."""
        images = {
            kind: FixedImages(loader, np.array(numbers))
            for kind, (loader, numbers) in {"bn_images": bn, "validation_images": validation}.items()
        }
        return PathMeasurer(self.network, self.settings["loss_weights"], **images)
