"""ONNX Runtime on the CPU (an addition; not in the paper). Needs the extra `onnx`."""

from typing import Any

import onnxruntime


def session_of(content: bytes) -> Any:
    """A session of an ONNX file's content; whatever onnxruntime raises where it is none."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; what it warns of is no user's business
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
