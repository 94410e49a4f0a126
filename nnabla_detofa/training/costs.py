"""The cost that buckets, pruning and search go by: FLOPs (Section 3.1.1), or another one (an addition)."""

from typing import Any

from ..run_options import CostOptions
from ..space import CostModel
from ..storage import Stages
from ..storage.files import checksum, read_json
from .latency import AGREEMENT, TABLE, latency_model


def cost_model(
    model: Any, flops: CostModel, image_size: tuple[int, int], options: CostOptions, **own: Any
) -> CostModel:
    """The cost that `options` name, for paths of the network; layers are timed where that is needed, see
    `latency_model` for `own`."""
    if options.name == "flops":
        return flops
    if options.name == "latency":
        return latency_model(model, image_size, options, **own)
    return CostModel.of(model.network_layers(image_size), options.name)


def cost_inputs(cost: CostModel, folder: Stages) -> dict[str, str]:
    """Identity of a cost: its name and, since clocks differ, the table of a latency."""
    timed = {"table": checksum(folder / TABLE)} if cost.name == "latency" else {}
    return {"name": cost.name, **timed}


def cost_summary(cost: CostModel, folder: Stages) -> dict[str, Any]:
    """Name and unit for `summary.json`, and how well a table of latency predicts whole networks, if that is known."""
    known = {"name": cost.name, "unit": cost.unit}
    checked = cost.name == "latency" and (folder / AGREEMENT).is_file()
    return {**known, "prediction": read_json(folder / AGREEMENT)} if checked else known
