"""Run one configuration as the host's own launcher does, on a CPU too (an addition; not in the paper).

`nnabla_nas.utils.cli.cli` checks nothing and has no `args.context: auto`, so its few lines are told again here; names
are looked up where it looks them up, so that it can run our configurations too, after `nnabla_detofa.register()`.
"""

import copy
import hashlib
import json
import random
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nnabla as nn
import numpy as np

from ..errors import ConfigError, DataError, RunFolderError, WeightsError, unknown
from ..host.communicator import require_same
from ..host.device import open_device
from ..host.job import live_job
from ..host.lock import read_holder, sole_session
from ..host.quiet import quiet
from ..host.repair import MissingModule
from .config_check import (
    Config,
    accepted,
    check_keywords,
    check_optimizers,
    only_entry,
    settle_batches,
    small_passes,
    without_effect,
)
from .given_detector import prepare_images, take_detector, take_labels
from .plugin import NotGeneratedError, nothing_generated, register, splits_shared, stand_in

with quiet():
    from nnabla_nas import contrib, dataset, runner
    from nnabla_nas.utils import estimator
    from nnabla_nas.utils.cli.args import Configuration
    from nnabla_nas.utils.helper import get_output_path

PACKAGES = ("nnabla-detofa", "nnabla", "nnabla-nas", "numpy")
FOLDER_SECONDS = 40  # in which a shared disk shows a new file to all, as NFS does after 30
LOADER_KEYS = ("searching", "training", "batch_size", "communicator")  # the host's Configuration gives these


def launch(config: dict[str, Any], *, plan: bool = False, action: str = "run", folder: Path | None = None) -> Path:
    """Open the device, build data, optimizers and network, and run `args.algorithm`, or only say its `plan`.

    `action`: the method of the runner that is called, of one of ours. `folder`: of the run, where no Hydra job is live.

    `config` is plain data with the host's groups `args`, `hparams`, `network`, `dataloader` and `optimizer`; it is not
    changed. Returns the run's folder: that of the Hydra job that is live, else log/NAME below the current folder.
    Raises ConfigError for what the configuration may not hold, HostError for a device that is not there, and
    RunFolderError where another process runs in the same folder. A plan is said without the data set too, if the
    configuration tells how many images it expects; DataError follows then.
    """
    register()
    config = copy.deepcopy(config)
    detector = take_detector(config)
    Config.of("", config)
    said = [] if detector is None else list(prepare_images(config, detector))
    args, hparams = config["args"], config["hparams"]
    algorithm = _named("args.algorithm", args["algorithm"], runner)
    if plan and not hasattr(algorithm, "plan"):
        raise ConfigError(f"args.algorithm is '{args['algorithm']}', which makes no plan; leave plan=true out")
    network, network_options = _network(config)
    _check_dataloader(config)
    check_optimizers(config["optimizer"])
    for name, options in (config.get("regularizer") or {}).items():
        check_keywords(f"regularizer.{name}", options or {}, *accepted(_named("regularizer", name, estimator)))

    args["comm"], args["event"] = open_device(
        **{key: args[key] for key in ("context", "device_id", "type_config") if key in args}
    )
    settle_batches(hparams, args["comm"].n_procs, validates=not hasattr(algorithm, "plan"))
    said += filter(None, [small_passes(hparams, args["comm"].n_procs)])
    _require_same_start(config)
    _seed(hparams.get("seed"))
    with ExitStack() as held:
        held.enter_context(live_job(config, kept=not plan, folder=folder))
        folder = Path(get_output_path()) / args["output_path"]
        if args["comm"].rank == 0:
            held.enter_context(sole_session(folder))
        if not plan:
            _require_same_folder(args["comm"], folder)
        if plan:
            held.enter_context(nothing_generated())
        held.enter_context(splits_shared())
        parts, missing = _parts(config, network_options.get("n_classes"), plan=plan)  # data first, then the rest
        _require_same_data(args["comm"], parts.dataloader)
        _settle_classes(config, network_options, parts.dataloader["train"])
        _settle_image_size(config)
        said += filter(None, [take_labels(config, network_options, parts.dataloader["train"])])
        model = network(**network_options)
        _require_same_weights(args["comm"], model)
        run = algorithm(
            model,
            optimizer=parts.optimizer,
            regularizer=parts.regularizer,
            dataloader=parts.dataloader,
            hparams=hparams,
            args=args,
        )
        if hasattr(run, "say"):  # one of ours
            for line in (*said, *without_effect(config)):
                run.say(line)
        getattr(run, "plan" if plan else action)()
        if missing is not None:
            raise missing
    return folder


def _require_same_start(config: dict[str, Any]) -> None:
    """HostError, ConfigError: processes of other packages, or that were given another configuration."""
    communicator = config["args"]["comm"]
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    require_same(communicator, "versions", versions, f"all need the same as here, {versions}")
    given = {**config, "args": {key: value for key, value in config["args"].items() if key not in ("comm", "event")}}
    same = json.dumps(given, sort_keys=True, default=str)
    require_same(communicator, "settings", same, "all need the same configuration and overrides", ConfigError)


def _require_same_folder(communicator: Any, folder: Path) -> None:
    """RunFolderError: a process that does not see the lock which the first one holds."""
    if communicator.n_procs == 1:
        return
    seen = read_holder(folder) if communicator.rank == 0 else ""
    communicator.comm.barrier()
    until = time.monotonic() + FOLDER_SECONDS
    while communicator.rank and not (seen := read_holder(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    remedy = f"all need {folder} on a disk that they share, and the same name=NAME"
    require_same(communicator, "files in its run folder", seen, remedy, RunFolderError)


def _require_same_data(communicator: Any, loaders: Mapping[str, Any]) -> None:
    """DataError: processes whose data sets differ, as far as the loaders tell that."""
    digests = json.dumps([getattr(loaders[split], "split_digest", None) for split in ("train", "valid", "test")])
    require_same(communicator, "data", digests, "all need the same images and annotations", DataError)


def _require_same_weights(communicator: Any, model: Any) -> None:
    """WeightsError: processes that start from other weights, of another file or drawn from another seed."""
    if communicator.n_procs == 1:
        return
    found = hashlib.sha256()
    for _, parameter in sorted(model.get_parameters().items()):
        found.update(parameter.d.tobytes())
    remedy = "all need an hparams.seed, and the same file where weights are read from one"
    require_same(communicator, "weights", found.hexdigest(), remedy, WeightsError)


def _parts(config: dict[str, Any], n_classes: int | None, *, plan: bool) -> tuple[Configuration, DataError | None]:
    """Loaders and optimizers. In a plan blank images stand in for pictures that a run would generate, and for a data
    set that is not there, if the configuration says how many images and classes it expects: that error comes second."""
    try:
        return Configuration(_for_the_host(config)), None
    except DataError as error:
        name, options = only_entry(config["dataloader"])
        module = vars(dataset)[name]
        blank = stand_in(module.DataLoader, options, error, n_classes) if plan else None
        if blank is None:
            raise
        setattr(dataset, name, SimpleNamespace(DataLoader=blank))
        try:
            return Configuration(_for_the_host(config)), None if isinstance(error, NotGeneratedError) else error
        finally:
            setattr(dataset, name, module)


def _settle_classes(config: dict[str, Any], options: dict[str, Any], loader: Any) -> None:
    """Write what the data have for `n_classes: null` of a network, among its `options` and in the run's identity."""
    if "n_classes" in options and options["n_classes"] is None:
        settled = {"n_classes": loader.n_classes}
        options.update(settled)
        for own in (config["hparams"].get("identity") or {}).get("network", {}).values():
            own.update(settled)


def _settle_image_size(config: dict[str, Any]) -> None:
    """Write a data set's `image_size: [S, S]` as S into the run's identity: it is the same run."""
    for own in (config["hparams"].get("identity") or {}).get("dataloader", {}).values():
        for options in filter(None, (own, *((own or {}).get(key) for key in ("generate", "letters")))):
            match options.get("image_size"):
                case [height, width] if height == width:
                    options["image_size"] = height


def _named(what: str, name: str, module: ModuleType) -> type:
    """The class of that name in a module of the host."""
    known = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    if name not in known:
        raise unknown(what, name, known)
    return known[name]


def _network(config: dict[str, Any]) -> tuple[type, dict[str, Any]]:
    """The class that the configuration names, for search or for training, and its options."""
    name, options = only_entry(config["network"])
    if name not in (known := _modules(contrib, "SearchNet", "TrainNet")):
        raise unknown("network", name, known)
    kind = "SearchNet" if config["args"]["search"] else "TrainNet"
    network = getattr(vars(contrib)[name], kind, None)
    if network is None:
        raise ConfigError(f"network.{name} has no {kind}; args.search is {config['args']['search']}, try the other")
    if (declared := getattr(network, "declared", None)) is not None:
        later = {"n_classes": 1} if options.get("n_classes", 1) is None else {}  # as many as the data have
        declared.of(f"network.{name}", {**options, **later})
    else:
        check_keywords(f"network.{name}", options, *accepted(network))
    return network, options


def _check_dataloader(config: dict[str, Any]) -> None:
    name, options = only_entry(config["dataloader"])
    if name not in (known := _modules(dataset, "DataLoader")):
        raise unknown("dataloader", name, known)
    check_keywords(f"dataloader.{name}", options, *accepted(vars(dataset)[name].DataLoader, *LOADER_KEYS))


def _modules(package: ModuleType, *classes: str) -> list[str]:
    """Names of the modules of a host's package that hold one of `classes`; stand-ins too, which raise on use."""
    return [
        name
        for name, value in vars(package).items()
        if isinstance(value, MissingModule)
        or (isinstance(value, ModuleType) and any(each in vars(value) for each in classes))
    ]


def _seed(seed: int | None) -> None:
    """Seed the global generators that the host's initializers and runners draw from; our own code uses none of them."""
    if seed is not None:
        nn.seed(int(seed))
        np.random.seed(seed)  # noqa: NPY002
        random.seed(int(seed))


def _for_the_host(config: dict[str, Any]) -> dict[str, Any]:
    """A copy for the host's Configuration, which writes into it and takes `lr_scheduler: null` for a name."""
    optimizer = {
        name: {key: value for key, value in options.items() if (key, value) != ("lr_scheduler", None)}
        for name, options in config["optimizer"].items()
    }
    dataloader = dict([only_entry(config["dataloader"])])
    return {**config, "optimizer": optimizer, "dataloader": dataloader}
