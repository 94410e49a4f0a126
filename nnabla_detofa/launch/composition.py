"""Configurations from files, names or mappings, composed by Hydra (an addition; not in the paper).

A configuration may stand in any folder and use the shipped groups. What a user can get wrong about it is a ConfigError
of one line.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..errors import REFUSED, ConfigError, DetOFAError, one_line, refusals_of_the_disk, unknown
from .overrides import ambiguous, is_missing_key, unreadable, with_known_keys

SHIPPED = Path(str(files("nnabla_detofa.conf")))
PART = "run"
# values that name a file or folder, relative to where the command was started
PATH_KEYS = ("detector", "root", "data", "pretrained", "table", "train_list", "val_list")
INPUT_ERRORS = (DetOFAError, HydraException, OmegaConfBaseException, YAMLError)
# what Hydra raises bare about overrides
BARE = (ValueError, TypeError, AttributeError, RecursionError, FileNotFoundError)
# what it says of an override with commas
SEVERAL = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'")
SUBMITIT = "pip install 'nnabla-detofa[slurm]' brings it"
GIVEN = "nnabla_detofa_mapping"  # the name of a mapping where Hydra looks for files
# groups that `hparams` repeats
REPEATED = ("pruning", "path_filter", "search", "sampler", "cost")
IDENTITY = ("network", "dataloader", "optimizer")


class ShippedConfigs(SearchPathPlugin):
    """Lets a configuration in any folder use the shipped groups."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Look in the shipped folder last, so that a user's own file of the same name wins."""
        search_path.append("nnabla_detofa", f"file://{SHIPPED}")  # Hydra takes what follows as it stands


def shipped_configs() -> list[str]:
    """File names of the configurations that come with the package; PART is a part of them."""
    return sorted(file.name for file in SHIPPED.glob("*.yaml") if file.stem != PART)


def find_config(given: str) -> Path:
    """The file that is meant: below the current folder first, then among the shipped ones (`conf/` may precede)."""
    name = given if given.endswith(".yaml") else f"{given}.yaml"
    if (file := Path(name).expanduser().absolute()).is_file():
        return file
    shipped = SHIPPED / Path(name).name
    if Path(name).parent in (Path(), Path("conf")) and shipped.is_file():
        return shipped
    raise unknown("configuration", given, shipped_configs())


def compose(config: str | Path | Mapping[str, Any], overrides: Sequence[str]) -> DictConfig:
    """The composed configuration, with Hydra's own part of it.

    `config` is a file, the name of a shipped one, or a mapping, which may have a `defaults` list as a file has. Of
    Hydra nothing that was there before is changed. Raises ConfigError.
    """
    if isinstance(config, Mapping):
        folder, name = SHIPPED, GIVEN
    else:
        file = find_config(str(config))
        folder, name = file.parent, file.stem
    with composing(), _own_hydra():
        if name is GIVEN:
            ConfigStore.instance().store(GIVEN, _as_file(config))
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(folder), job_name="nnabla_detofa"):
            return with_known_keys(
                lambda some: hydra.compose(name, some, return_hydra_config=True), [str(one) for one in overrides]
            )


@contextmanager
def _own_hydra() -> Iterator[None]:
    """A fresh Hydra, that knows the shipped groups; someone else's is there again afterwards."""
    Plugins.instance().register(ShippedConfigs)
    state = GlobalHydra.instance()
    before, state.hydra = state.hydra, None
    try:
        yield
    finally:
        GlobalHydra.set_instance(state)
        state.hydra = before
        ConfigStore.instance().repo.pop(f"{GIVEN}.yaml", None)


def _as_file(config: Any) -> DictConfig:
    """A mapping as a file would say it.

    One without `defaults` is taken for a composed one: it gets what every configuration has, and `hparams` repeats its
    groups again, so that overrides of them reach the run.
    """
    file = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    given: Any = OmegaConf.to_container(file, resolve=False)
    if "defaults" in given:
        return OmegaConf.create(given)
    for place, groups in (("hparams", REPEATED), ("hparams.identity", IDENTITY)):
        own: Any = given
        for name in place.split("."):
            own = own.get(name) if isinstance(own, dict) else None
        for group in groups if isinstance(own, dict) else ():
            if isinstance(own.get(group), dict) and group in given:
                own[group] = f"${{{group}}}"
    return OmegaConf.create({"defaults": [PART, "_self_"], **given})


@contextmanager
def composing(begun: Collection = ()) -> Iterator[None]:
    """ConfigError for whatever Hydra raises about a configuration, as long as nothing has `begun`."""
    try:
        yield
    except DetOFAError:
        raise
    except INPUT_ERRORS as error:
        raise ConfigError(message_of(error)) from error
    except BARE as error:
        if begun:
            raise
        if isinstance(cause := error.__cause__, OSError) and cause.errno in REFUSED:  # of a log's file that it opens
            with refusals_of_the_disk():
                raise cause from None
        raise ConfigError(f"the configuration cannot be composed: {error}") from error


def plain(config: DictConfig, start: Path) -> dict[str, Any]:
    """A composed configuration as plain data; its paths are relative to `start`. Nothing behind it sees Hydra."""
    with composing():
        return absolute_paths(OmegaConf.to_container(config, resolve=True, throw_on_missing=True), start)


def plain_part(config: DictConfig, group: str, start: Path) -> Any:
    """A group of a composed configuration, as `plain` gives the whole; ConfigError where it has no such group."""
    if group not in config:
        raise ConfigError(f"the configuration lacks {group}", key=group)
    with composing():
        return plain(config[group], start)


def absolute_paths(config: Any, start: Path) -> Any:
    """`config` with the relative paths of `PATH_KEYS` made absolute: runs change into their own folder."""
    if isinstance(config, list):
        return [absolute_paths(value, start) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        key: str(start / Path(value).expanduser())
        if key in PATH_KEYS and isinstance(value, str) and value
        else absolute_paths(value, start)
        for key, value in config.items()
    }


def message_of(error: Exception) -> str:
    """The message of one line: what is wrong and what is allowed."""
    cause = error.__cause__ or error
    message: object = error
    if isinstance(error, MissingConfigException):
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if known := error.options or ([] if group else shipped_configs()):
            message = unknown(group or "configuration", option, known)
            message = f"{message}; {SUBMITIT}" if option.startswith("submitit_") else message
    elif isinstance(error, OverrideParseException):
        message = unreadable(error)
    elif several := SEVERAL.match(str(error)):
        message = ambiguous(several[1])
    elif is_missing_key(cause):
        prefix = str(cause.full_key).removesuffix(str(cause.key))
        message = unknown("key", cause.full_key, [prefix + str(key) for key in cause.parent_node if key != "hydra"])
    elif isinstance(cause, OmegaConfBaseException) and cause.msg:
        message = f"{cause.full_key or 'configuration'}: {cause.msg.splitlines()[0]}"
    return one_line(" ".join(str(message).split()))
