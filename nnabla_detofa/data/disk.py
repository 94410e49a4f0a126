"""Data sets on disk, of any task: what their options and their loaders share (4.1)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .options import from_mapping, require_classes, require_root
from .report import before_training


@dataclass(frozen=True, kw_only=True)
class DiskOptions:
    """To be mixed into the options of a task.

    `root` is the folder that holds the data set. `classes` selects, and gives the labels their order: objects of other
    classes are left out; null means those that the training split has.
    """

    where: ClassVar[str]  # what a configuration calls these options
    root: str | Path = ""
    classes: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        require_root(self.where, self.root)
        require_classes(self.classes)

    def listed_by(self, split: str) -> str | None:
        """The option that adds a class to those of the training split, for whoever reads another `split` by them."""
        return f"{self.where}.classes" if split != "train" and self.classes is None else None

    @abstractmethod
    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> Any:
        """The data set of the `split`, "train" or "test"; one that is not `strict` holds what could be read of it."""


class DiskLoader:
    """To be mixed into the loader of a task: built from the keywords of its `kind` of options, as the host does."""

    kind: ClassVar[type[Any]]

    def __init__(
        self, searching: bool, training: bool, batch_size: int, *, communicator: Any = None, **options: Any
    ) -> None:
        chosen = from_mapping(self.kind, options, self.kind.where)
        testing, classes = not searching and not training, chosen.classes
        if testing and classes is None:
            classes = chosen.read("train", None).classes
        super().__init__(  # type: ignore[call-arg]
            chosen.read("test" if testing else "train", classes),
            searching=searching,
            training=training,
            batch_size=batch_size,
            options=chosen,
            communicator=communicator,
        )

    def examined(self, known: Any, digests: Sequence[str] = ()) -> dict[str, Any]:
        """As `before_training`, of the training and the test split; an empty record where the options say so."""
        options: Any = self.options  # type: ignore[attr-defined]
        return before_training(options, known, digests) if options.examine else {}
