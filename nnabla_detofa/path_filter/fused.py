"""The path filter's weights as they are computed with, and slopes of those as slopes of the stored ones.

What is linear in the weights is done to them once and not to each token: the first layer projects the input table; a
layer norm's mean is taken from the matrices before it; the attention's 1 / √width sits in the query; the value's bias,
which the softmax hands through unchanged, sits in the bias behind it.
"""

import numpy as np

from .encoding import Embedded, input_rows, input_slopes
from .network import Design

Weights = dict[str, np.ndarray]


def fuse(weights: Weights, design: Design, fixed: Embedded) -> Weights:
    """`weights` with the input table, its projection, and three projections in one; `fixed` is the table's own part."""
    table, scale = _input_table(weights, fixed), _query_scale(design)
    fused = {name: value for name, value in weights.items() if name.startswith(("head/", "main"))}
    for layer in range(design.layers):
        own = under(weights, layer)
        query, key, value = (own[f"{name}/W"] for name in ("query", "key", "value"))
        own |= {
            "qkv/W": np.concatenate([query * scale, key, value], axis=1),
            "query/b": own["query/b"] * scale,
            "attention/W": _centred(own["attention/W"]),
            "attention/b": _centred(own["attention/b"] + own["value/b"] @ own["attention/W"]),
            "forward/W": _centred(own["forward/W"]),
            "forward/b": _centred(own["forward/b"]),
        }
        fused |= {f"layer{layer}/{name}": value for name, value in own.items()}
    projected = table @ fused["layer0/qkv/W"]
    projected[:, : design.dim] += fused["layer0/query/b"]
    return fused | {"table": _centred(table), "projected": projected}


def unfuse(slopes: Weights, weights: Weights, fused: Weights, design: Design, fixed: Embedded) -> Weights:
    """Slopes of the stored `weights` from those of `fused`, by name."""
    projected, scale = slopes["projected"], _query_scale(design)
    slopes["layer0/qkv/W"] = _input_table(weights, fixed).T @ projected
    slopes["layer0/query/b"] = projected[:, : design.dim].sum(axis=0)
    table = _centred(slopes["table"]) + projected @ fused["layer0/qkv/W"].T
    tokens = len(fixed.positions) * len(weights["token"])
    token, value = input_slopes(table[:tokens], fixed)
    found = {"token": token, "value": value, "budget": table[tokens:]}
    found |= {name: value for name, value in slopes.items() if name.startswith(("head/", "main"))}
    for layer in range(design.layers):
        own, stored = under(slopes, layer), under(weights, layer)
        query, key, value = np.split(own.pop("qkv/W"), 3, axis=1)
        bias = _centred(own["attention/b"])
        own |= {
            "query/W": query * scale,
            "query/b": own["query/b"] * scale,
            "key/W": key,
            "value/W": value,
            "value/b": stored["attention/W"] @ bias,
            "attention/W": _centred(own["attention/W"]) + np.outer(stored["value/b"], bias),
            "attention/b": bias,
            "forward/W": _centred(own["forward/W"]),
            "forward/b": _centred(own["forward/b"]),
        }
        found |= {f"layer{layer}/{name}": value for name, value in own.items()}
    return {name: found[name] for name in weights}


def under(weights: Weights, layer: int) -> Weights:
    """A layer's own weights, by their name in it."""
    prefix = f"layer{layer}/"
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _input_table(weights: Weights, fixed: Embedded) -> np.ndarray:
    """(L · vocabulary [+ n_buckets], dim), in the order of `encoding.table_rows`."""
    tokens = input_rows(weights["token"], weights.get("value"), fixed)
    return np.concatenate([tokens, weights["budget"]]) if "budget" in weights else tokens


def _query_scale(design: Design) -> float:
    return float((design.dim // design.heads) ** -0.5)


def _centred(x: np.ndarray) -> np.ndarray:
    """x (…, dim) without the mean over the dimensions: the same map takes slopes back."""
    return x - x.mean(axis=-1, keepdims=True)
