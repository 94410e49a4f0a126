"""The command: `-c FILE` and Hydra's overrides to `host/launch.py` (an addition; not in the paper).

Hydra composes FILE, which may stand in any folder, from its own folder and from the shipped groups. What a user can get
wrong is answered with one line and exit code 2; anything else keeps its traceback.
"""

import logging
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.main import get_args_parser
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from .errors import ConfigError, DetOFAError, refusals_of_the_disk, unknown
from .errors import one_line as printable

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 75
STOP = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
SHIPPED = Path(str(files("nnabla_detofa.conf")))
CONFIG_OPTIONS = ("-c", "--config")
HYDRA_CONFIG_OPTIONS = ("--config-name", "-cn")
PLAN = "plan"  # an override of ours, which no configuration holds
# values that name a file or folder, relative to where the command was started
PATH_KEYS = ("root", "pretrained", "table", "train_list", "val_list")
INPUT_ERRORS = (DetOFAError, HydraException, OmegaConfBaseException, YAMLError)

USAGE = """usage: nnabla_detofa -c FILE [OVERRIDE ...] [HYDRA OPTION ...]    (nnabla_nas is the same command)

  -c, --config FILE   a configuration file, or the name of a shipped one: {shipped}
  OVERRIDE            GROUP=OPTION or KEY=VALUE, e.g. pruning=flops pruning.path_ratio=0.4 name=trial
  plan=true           say steps, costs, memory and time, from a few timed steps; train nothing, keep nothing
  --cfg job           print the composed configuration and stop; --info and --resolve likewise
  -m, --multirun      run every combination of comma-separated overrides
  --hydra-help        Hydra's other options

usage: nnabla_detofa check -c FILE [OVERRIDE ...] [--json FILE]    reads the whole data set and trains nothing
       nnabla_detofa check --policy                                says what is done about each flaw

Exit codes of check: 0 clean, 1 flaws that training mends, 2 unusable.

Results go to log/NAME in the folder where the command is started. Exit codes: 0 done, 2 wrong input,
75 interrupted: the same command goes on from the last checkpoint."""


class ShippedConfigs(SearchPathPlugin):
    """Lets a configuration in any folder use the shipped groups."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Look in the shipped folder last, so that a user's own file of the same name wins."""
        search_path.append("nnabla_detofa", SHIPPED.as_uri())


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code. Without `arguments` it ends the process, which ignores signals then."""
    afterwards = signal.SIG_IGN if arguments is None else None
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print(USAGE.format(shipped=", ".join(shipped_configs())))
        return DONE
    logging.getLogger("nnabla").setLevel(logging.WARNING)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy loads it; see supernet/parallel.py
    try:
        with interrupted_by_signals(afterwards):
            if arguments[:1] == ["check"]:
                return check(arguments[1:])
            file, hydra_arguments = split_arguments(arguments)
            plan, hydra_arguments = split_plan(hydra_arguments)
            with output_folder(kept=not plan) as where:
                failures = run_hydra(file, [*hydra_arguments, *where], plan=plan)
    except INPUT_ERRORS as error:
        failures = [error]
    except KeyboardInterrupt:
        tell("interrupted; run the same command again to go on")
        return INTERRUPTED
    for failure in failures:
        tell(one_line(failure))
    return WRONG_INPUT if failures else DONE


@contextmanager
def interrupted_by_signals(afterwards: signal.Handlers | None) -> Iterator[None]:
    """All end what lies inside as Ctrl-C does, until a training takes them over to finish its step first."""
    before = {one: signal.signal(one, signal.default_int_handler) for one in STOP}
    try:
        yield
    finally:
        with signals_held_back():
            for one, handler in before.items():
                signal.signal(one, afterwards or handler)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Those that come inside are delivered behind it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tell(message: str) -> None:
    """One line on standard error."""
    print(f"nnabla_detofa: {message}", file=sys.stderr)


def shipped_configs() -> list[str]:
    """File names of the configurations that come with the package; those without `_` are parts of them."""
    return sorted(file.name for file in SHIPPED.glob("*_*.yaml"))


def split_arguments(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """Our `-c FILE`, resolved, and what is left for Hydra. (Hydra's own `-c` is spelt `--cfg` here.)

    FILE is None where Hydra's own option names the configuration.
    """
    given: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, value = argument.partition("=")
        if option not in CONFIG_OPTIONS:
            rest.append(argument)
        elif (value := value if equals else next(waiting, "")) and not given:
            given.append(value)
        else:
            raise ConfigError(f"{option} must be given once, with one file")
    if given:
        return find_config(given[0]), rest
    if any(argument.partition("=")[0] in HYDRA_CONFIG_OPTIONS for argument in rest):
        return None, rest
    raise ConfigError(f"no configuration given: -c FILE; shipped: {', '.join(shipped_configs())}")


def split_plan(arguments: list[str]) -> tuple[bool, list[str]]:
    """Whether `plan=true` is among the overrides, and the others: where a run writes is settled before it is read."""
    values = [argument.split("=", 1)[1] for argument in arguments if argument.startswith(f"{PLAN}=")]
    for value in values:
        if value not in ("true", "false"):
            raise ConfigError(f"{PLAN} is '{value}'; it must be true or false")
    return values[-1:] == ["true"], [argument for argument in arguments if not argument.startswith(f"{PLAN}=")]


@contextmanager
def output_folder(*, kept: bool) -> Iterator[list[str]]:
    """No overrides, or those that have Hydra write into a folder which is removed afterwards."""
    if kept:
        yield []
        return
    with TemporaryDirectory(prefix="nnabla_detofa_plan_") as folder:
        yield [f"hydra.{kind}.dir='{folder}'" for kind in ("run", "sweep")]


def find_config(given: str) -> Path:
    """The file that `-c` means: below the current folder first, then among the shipped ones (`conf/` may precede)."""
    name = given if given.endswith(".yaml") else f"{given}.yaml"
    if (file := Path(name).expanduser().absolute()).is_file():
        return file
    shipped = SHIPPED / Path(name).name
    if Path(name).parent in (Path(), Path("conf")) and shipped.is_file():
        return shipped
    raise unknown("configuration", given, shipped_configs())


def run_hydra(file: Path | None, arguments: list[str], *, plan: bool = False) -> list[Exception]:
    """Compose and run, or plan; returns the input errors of the jobs (several with --multirun)."""
    failures: list[Exception] = []
    begun: list[str] = []

    def job(config: DictConfig) -> None:
        begun.append(str(config.get("name")))
        try:
            run(config, plan=plan)
        except INPUT_ERRORS as error:  # kept from Hydra, which would print its own lines about it
            failures.append(error)

    (parser := get_args_parser()).error = refuse  # type: ignore[method-assign]
    parser.parse_args(arguments)  # as Hydra will
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what is wrong instead of printing it and leaving
    Plugins.instance().register(ShippedConfigs)
    sys.argv = [sys.argv[0], *arguments]  # the only place where Hydra reads them
    folder, name = (file.parent, file.stem) if file else (SHIPPED, None)
    with refusals_of_the_disk(), composing(begun):
        hydra.main(version_base="1.3", config_path=str(folder), config_name=name)(job)()
    return failures


def refuse(message: str) -> NoReturn:
    """In the place of a usage of many lines."""
    raise ConfigError(f"{message}; -h lists the options")


@contextmanager
def composing(begun: Collection) -> Iterator[None]:
    """ConfigError for what Hydra raises bare about overrides, as long as nothing has `begun`."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, RecursionError, FileNotFoundError) as error:
        if begun or isinstance(error, INPUT_ERRORS):
            raise
        raise ConfigError(f"the configuration cannot be composed: {error}") from error


def check(arguments: list[str]) -> int:
    """The data doctor on the data set of a composed configuration; returns its exit code."""
    from .data import doctor

    if arguments == ["--policy"]:
        print("\n".join(doctor.policy_table()))
        return DONE
    file, rest = split_arguments(arguments)
    json_file = option(rest, "--json")
    if file is None or any(argument.startswith("-") for argument in rest):
        raise ConfigError("check takes -c FILE, --json FILE and overrides, or --policy alone")
    Plugins.instance().register(ShippedConfigs)
    with composing([]), hydra.initialize_config_dir(version_base="1.3", config_dir=str(file.parent)):
        config = hydra.compose(file.stem, rest)
    if "dataloader" not in config:
        raise ConfigError("the configuration lacks dataloader")
    dataloader = OmegaConf.to_container(config.dataloader, resolve=True, throw_on_missing=True)
    return doctor.check(absolute_paths(dataloader, Path.cwd()), Path(json_file) if json_file else None)


def option(arguments: list[str], name: str) -> str | None:
    """The value of `name VALUE` or `name=VALUE`, taken out of the `arguments`; None where it is not there."""
    for place, argument in enumerate(arguments):
        given, equals, value = argument.partition("=")
        if given == name:
            taken = arguments[place : place + (1 if equals else 2)]
            del arguments[place : place + len(taken)]
            if value := value or "".join(taken[1:]):
                return value
            raise ConfigError(f"{name} must be given with a file")
    return None


def run(config: DictConfig, *, plan: bool = False) -> None:
    """Hand a composed configuration on as plain data; nothing behind this line sees Hydra."""
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    plain = absolute_paths(plain, Path(hydra.utils.get_original_cwd()))
    with refusals_of_the_disk():
        launch(plain, plan=True) if plan else launch(plain)


def launch(config: dict[str, Any], *, plan: bool = False) -> None:
    """`host.launch`, imported late: printing a configuration does not need nnabla."""
    with signals_held_back():  # a process that has half of nnabla crashes at its end
        from .host.launch import launch as launch_on_host

    launch_on_host(config, plan=plan)


def absolute_paths(config: Any, start: Path) -> Any:
    """`config` with every relative `root` and `pretrained` made absolute: runs change into their own folder."""
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


def one_line(error: Exception) -> str:
    """What is wrong and what is allowed, in one line."""
    cause = error.__cause__ or error
    message: object = error
    if isinstance(error, MissingConfigException):
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if known := error.options or ([] if group else shipped_configs()):
            message = unknown(group or "configuration", option, known)
    elif isinstance(error, OverrideParseException):
        message = f"cannot read the override '{error.override}': {error.message.splitlines()[0]}"
    elif isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and isinstance(cause.parent_node, DictConfig):
        prefix = str(cause.full_key).removesuffix(str(cause.key))
        message = unknown("key", cause.full_key, [prefix + str(key) for key in cause.parent_node if key != "hydra"])
    elif isinstance(cause, OmegaConfBaseException) and cause.msg:
        message = f"{cause.full_key or 'configuration'}: {cause.msg.splitlines()[0]}"
    return printable(" ".join(str(message).split()))


if __name__ == "__main__":
    sys.exit(main())
