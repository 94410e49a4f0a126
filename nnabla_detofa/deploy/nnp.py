"""A detector as NNabla's own file, and its maps by NNabla's functions (an addition; not in the paper)."""

import io
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nnabla as nn
import numpy as np
from nnabla.logger import logger
from nnabla.utils.nnp_graph import NnpLoader
from nnabla.utils.save import save

from ..errors import WeightsError
from ..supernet import Supernet
from .maps import OUTPUTS, normalised

NAME, INPUT = "detector", "images"
CPU = nn.Context(["cpu:float"], "CpuCachedArray", "0")
EPOCH = (1980, 1, 1, 0, 0, 0)  # of a ZIP file's entries


def maps_of(network: Supernet, images: np.ndarray) -> list[np.ndarray]:
    """The outputs for bytes (n, h, w, 3) RGB, in single precision on the CPU."""
    network.apply(training=False)
    with nn.context_scope(CPU):
        return values_of(network, normalised(images))


def values_of(network: Any, images: np.ndarray) -> list[np.ndarray]:
    """The values of a network's outputs."""
    x = nn.Variable.from_numpy_array(images)
    outputs = network(x)
    nn.forward_all(list(outputs), clear_buffer=True)
    return [one.d.copy() for one in outputs]


def nnp_of(network: Supernet, *, sides: tuple[int, int]) -> bytes:
    """The network of NNabla's functions as an NNP file: normalised images in, its outputs by name out."""
    network.apply(training=False)
    with nn.context_scope(CPU), nn.parameter_scope("", OrderedDict(network.get_parameters())):
        x = nn.Variable((1, 3, *sides))
        outputs = dict(zip(network.task.outputs, network(x), strict=True))
        whole = {"name": NAME, "batch_size": 1, "outputs": outputs, "names": {INPUT: x}}
        runs = {"name": "runtime", "network": NAME, "data": [INPUT], "output": list(outputs)}
        with TemporaryDirectory(prefix="nnabla_detofa_") as folder:
            file = Path(folder, "detector.nnp")
            with _silent():
                save(str(file), {"networks": [whole], "executors": [runs]})
            return _timeless(file)


@contextmanager
def _silent() -> Iterator[None]:
    """NNabla tells of every file that it writes."""
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _timeless(file: Path) -> bytes:
    """The ZIP file with one date for all: the same network is the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(file) as given, zipfile.ZipFile(content, "w") as out:
        for name in sorted(given.namelist()):
            out.writestr(zipfile.ZipInfo(name, EPOCH), given.read(name))
    return content.getvalue()


class NnpMaps:
    """The maps, named as `outputs`, of an NNP file's network, of normalised images (n, 3, h, w); whatever NNabla raises
    for a file of another kind, and WeightsError for images of another size."""

    def __init__(self, file: Path, outputs: Sequence[str] = OUTPUTS) -> None:
        self._file, self._loader, self._outputs = file, NnpLoader(str(file)), outputs
        self._graphs: dict[int, tuple] = {}
        with nn.context_scope(CPU):
            self._graph(1)  # or it is no detector

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        with nn.context_scope(CPU):
            x, outputs = self._graph(len(images))
            if x.shape != images.shape:
                sizes = ["x".join(map(str, shape[2:])) for shape in (x.shape, images.shape)]
                raise WeightsError(
                    f"{self._file} takes images of {sizes[0]}, not of {sizes[1]} as its description says: they are of"
                    " two detectors, export it again"
                )
            x.d = images
            nn.forward_all(outputs, clear_buffer=True)
            return [one.d.copy() for one in outputs]

    def _graph(self, n: int) -> tuple[nn.Variable, list[nn.Variable]]:
        """Input and outputs for so many images; kept for the next ones."""
        if n not in self._graphs:
            network = self._loader.get_network(NAME, batch_size=n)
            self._graphs = {n: (network.inputs[INPUT], [network.outputs[name] for name in self._outputs])}
        return self._graphs[n]
