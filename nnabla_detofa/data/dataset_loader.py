"""Loaders of data sets on disk, of any task, as the host builds them (4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .dataset_options import DatasetOptions
from .examination import before_training
from .sharing import read_split


class DatasetLoader:
    """To be mixed into the loader of a task: built from the keywords of its `declared` options."""

    declared: ClassVar[type[DatasetOptions]]

    def __init__(
        self, searching: bool, training: bool, batch_size: int, *, communicator: Any = None, **options: Any
    ) -> None:
        chosen = self.declared.of(self.declared.where, options)
        super().__init__(  # type: ignore[call-arg]
            self._read(chosen, testing=not searching and not training),
            searching=searching,
            training=training,
            batch_size=batch_size,
            options=chosen,
            communicator=communicator,
        )

    def _read(self, options: Any, *, testing: bool) -> Any:
        classes = options.classes
        if testing and classes is None:
            classes = options.trained_classes()
        return read_split(options, "test" if testing else "train", classes)

    def examined(self, known: Any, digests: Sequence[str] = ()) -> dict[str, Any]:
        """As `before_training`, of the training and the test split; an empty record unless the options ask for it."""
        options: Any = self.options  # type: ignore[attr-defined]
        return before_training(options, known, digests) if options.examine else {}
