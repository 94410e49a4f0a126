"""A found detector in the place of a network: `detector=RUN/detectors/RANK-COST` (an addition; not in the paper)."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..deploy.description import Described
from ..deploy.maps import DESCRIPTION
from ..errors import ConfigError
from .keys import MODULES, declared, names


def take_detector(config: dict[str, Any]) -> Described | None:
    """Write the network of the detector that a configuration names into it, to begin with its weights; None where it
    names none.

    ConfigError where a network is given too, or neither; WeightsError for what is no detector.
    """
    place, given = config.pop("detector", None), config.get("network")
    if place is None:
        if given is None and "network" in config:
            said = "no detector is given: detector=RUN/detectors/RANK-COST, or a network"
            raise ConfigError(said, key="detector", given=place)
        return None
    if not isinstance(place, str) or not place:
        raise ConfigError(key="detector", given=place, allowed="a folder RUN/detectors/RANK-COST, or a file in it")
    if given:
        said = f"detector brings its network, genotype and weights, and network ({', '.join(given)}) is given too"
        raise ConfigError(f"{said}: take conf/finetune.yaml, or leave one out", key="detector", given=place)
    found = Described.of(place)
    hparams, args = config.get("hparams"), config.get("args")
    seed = hparams.get("seed") if isinstance(hparams, dict) else None
    start = {"n_classes": None, "pretrained": str(found.weights), **({} if seed is None else {"seed": seed})}
    config["network"] = {name: {**options, **start} for name, options in found.said["network"].items()}
    if isinstance(hparams, dict) and isinstance(hparams.get("identity"), dict):
        hparams["identity"]["network"] = copy.deepcopy(config["network"])
    if isinstance(args, dict):
        args["search"] = False
    return found


def prepare_images(config: dict[str, Any], detector: Described) -> Iterator[str]:
    """Have the data set prepare images as the detector sees them; a line for each key that said otherwise."""
    own = {"image_size": detector.said["image_size"], "output_stride": detector.said["stride"]}
    for at in (config["dataloader"], (config["hparams"].get("identity") or {}).get("dataloader", {})):
        for name, options in at.items():
            known = names(declared(getattr(MODULES.get(name), "DataLoader", None)))
            for key, value in own.items():
                if key not in known:
                    continue
                if at is config["dataloader"] and (options or {}).get(key, value) != value:
                    yield f"dataloader.{name}.{key} is {options[key]}, and {value} is taken, which the detector has"
                at[name] = options = {**(options or {}), key: value}


def take_labels(config: dict[str, Any], options: dict[str, Any], loader: Any) -> str | None:
    """Write into the `options` of a network, and in the run's identity, which class of the data has which label in the
    detector that it starts from; a line for classes that begin anew or are left out, None where all are the same.

    What is not known to be a detector's file has the data's classes.
    """
    weights = options.get("pretrained")
    if config["args"]["search"] or not weights or not Path(weights).with_name(DESCRIPTION).is_file():
        return None
    if options.get("labels") is not None:
        return None  # somebody knows better
    own, classes = Described.of(weights).said["classes"], list(loader.classes)
    if classes == own:
        return None
    labels = [own.index(one) if one in own else None for one in classes]
    options["labels"] = labels
    for network in (config["hparams"].get("identity") or {}).get("network", {}).values():
        network["labels"] = labels
    kept = [one for one in classes if one in own]
    parts = {"kept": kept, "new": [one for one in classes if one not in own]}
    parts["left out"] = [one for one in own if one not in classes]
    said = "; ".join(f"{what}: {', '.join(map(str, some)) or 'none'}" for what, some in parts.items())
    return f"classes of the detector's heat map: {said}" + ("" if kept else ", so that this head is made new")
