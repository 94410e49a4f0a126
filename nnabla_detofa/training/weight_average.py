"""The mean of a network's weights over the last steps of a training stage (an addition; not in the paper).

Weights at the end of a stage are those of its last steps' images and paths too; their mean is less so.
"""

from collections.abc import Mapping
from pathlib import Path

import nnabla as nn
import numpy as np

from ..errors import RunFolderError
from ..hdf5 import as_bytes, opened, read_arrays

COUNT = "steps"  # an attribute of the file


class WeightAverage:
    """Sums of parameters by name over `n` steps, in double precision: the mean depends on nothing but the weights."""

    def __init__(self) -> None:
        self.n = 0
        self._sums: dict[str, np.ndarray] = {}

    def add(self, parameters: Mapping[str, nn.Variable]) -> None:
        """Add the weights behind a step; what its path does not use counts as it stands."""
        self.n += 1
        for name, parameter in parameters.items():
            value = parameter.data.get_data("r")  # or a device would take it for changed
            if name in self._sums:
                self._sums[name] += value
            else:
                self._sums[name] = value.astype(np.float64)

    def put(self, parameters: Mapping[str, nn.Variable]) -> None:
        """Give the parameters their means; as they are where no step was added."""
        for name, total in self._sums.items():
            parameters[name].d = (total / self.n).astype(parameters[name].data.dtype)

    def as_bytes(self) -> bytes:
        """The content of a file that `load` reads."""
        return as_bytes(self._sums, **{COUNT: self.n})

    def load(self, file: Path, parameters: Mapping[str, nn.Variable]) -> None:
        """Go on from what `as_bytes` gave for the same parameters; RunFolderError for any other."""

        def refuse(reason: str) -> RunFolderError:
            return RunFolderError(
                f"{file} is no average of these weights ({reason}); delete {file.parent.parent} to train this stage"
                " anew"
            )

        with opened(file, refuse) as source:
            n, sums = int(source.attrs[COUNT]), read_arrays(source)
            shapes = {name: one.shape for name, one in (parameters if n else {}).items()}
            if {name: one.shape for name, one in sums.items()} != shapes:
                raise ValueError(f"of {len(sums)} arrays, not of {len(shapes)} or of other shapes")
        self.n, self._sums = n, {name: one.astype(np.float64) for name, one in sums.items()}
