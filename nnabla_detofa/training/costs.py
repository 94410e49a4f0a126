"""What buckets, pruning and search go by: FLOPs (Section 3.1.1), or another cost of the network (an addition)."""

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..space import CostModel
from .latency import AGREEMENT, latency_model
from .session import RunSession
from .settings import require_count, require_keys, require_name

FLOPS = {"name": "flops"}  # where a configuration says nothing
LATENCY = {
    "batch": 1,
    "repetitions": 1,
    "warm_up": 0,
    "check_paths": 0,
}  # the counts that it needs, and the least of each
OPTIONS = {"flops": (), "parameters": (), "memory": (), "latency": ("table", *LATENCY)}


def check_cost(options: Mapping[str, Any]) -> None:
    """ConfigError for a cost that there is not, or an option of it that cannot be."""
    require_keys("cost", options, {"name", *OPTIONS["latency"]}, needed=["name"])
    require_name("cost", options["name"], OPTIONS)
    own = OPTIONS[options["name"]]
    require_keys(f"cost '{options['name']}'", options, ["name", *own], needed=own)
    if options["name"] == "latency":
        for key, least in LATENCY.items():
            require_count(f"cost.{key}", options[key], least=least)
        if not isinstance(options["table"], str | None):
            raise ConfigError(f"cost.table is {options['table']!r}; it must name a CSV file, or be null")


def cost_model(run: RunSession, image_size: int, options: Mapping[str, Any]) -> CostModel:
    """The cost that `options` name, for paths of `run`'s network; layers are timed where that is needed."""
    if options["name"] == "latency":
        return latency_model(run, image_size, dict(options))
    return CostModel.of(run.model.network_layers(image_size), options["name"])


def cost_summary(run: RunSession, cost: CostModel) -> dict[str, Any]:
    """Name and unit for `summary.json`, and how well a table of latency predicts whole networks, if that is known."""
    known = {"name": cost.name, "unit": cost.unit}
    checked = cost.name == "latency" and (run.folder / AGREEMENT).is_file()
    return {**known, "prediction": run.folder.read(AGREEMENT)} if checked else known
