"""Identity of a run: inputs of its first stage, by which a run folder is known (an addition; not in the paper)."""

from typing import Any

from ..storage.files import checksum
from .run import Run

# options of a data set that change no figure, or that its own digest tells better
IRRELEVANT = {
    *("workers", "prefetch", "cache_megabytes", "examine", "root", "data", "images_expected", "classes_expected"),
}


def run_identity(run: Run, *keys: str) -> dict[str, Any]:
    """These keys of the options, network, data set and optimizer."""
    options, train = run.options, run.data["train"]
    given = options.model_dump(mode="json", include=set(keys))
    ((name, dataloader),) = options.identity["dataloader"].items()
    dataloader = {key: value for key, value in dataloader.items() if key not in IRRELEVANT}
    network = options.identity["network"]
    if (transfer := run.model.transfer) is not None:  # a copy of the file is the same start, wherever it lies
        network = {key: {**own, "pretrained": checksum(transfer.file)} for key, own in network.items()}
    return {
        **{key: given[key] for key in keys},
        "n_buckets": len(run.budgets),
        "type_config": options.args.type_config,
        **options.identity,
        "network": network,
        "dataloader": {name: dataloader, "images": len(train.dataset), "digest": train.split_digest},
    }
