"""Names of a detector's maps, and what its file's reader and its writer agree on (an addition; not in the paper)."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..data.augment import NO_COLOUR_CHANGE, normalise
from ..errors import HostError

DESCRIPTION = "detector.json"
OUTPUTS = ("heatmap", "size", "offset")
BOXES = ("boxes", "scores", "labels")  # what an ONNX file answers
TOP = 100  # boxes of an image
INSTALL = "pip install 'nnabla-detofa[onnx]'"


def normalised(images: np.ndarray) -> np.ndarray:
    """Bytes (n, h, w, 3) RGB as a network takes them, (n, 3, h, w) float32."""
    out = np.empty((len(images), 3, *images.shape[1:3]), np.float32)
    for image, row in zip(images, out, strict=True):
        normalise(np.ascontiguousarray(image[..., ::-1]), NO_COLOUR_CHANGE, row)
    return out


@contextmanager
def extra() -> Iterator[None]:
    """HostError, in one line, where a package of the extra `onnx` is missing or cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "onnxruntime"):
            raise
        raise HostError(f"ONNX files need the package {error.name}: {INSTALL}") from error
    except ImportError as error:  # of another NumPy or protobuf than NNabla's
        reason = f"ONNX files need onnx and onnxruntime, which cannot be imported ({error})"
        raise HostError(f"{reason}; releases that go together: {INSTALL}") from error


def as_metadata(described: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of an ONNX file, a part of `detector.json`: texts, JSON where they are more."""
    keys = ("task", "classes", "category_ids", "genotype", "image_size", "stride", "version")
    texts = {key: described[key] for key in keys if key in described}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in texts.items()}
