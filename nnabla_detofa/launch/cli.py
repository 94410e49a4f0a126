"""The command: `-c FILE` and Hydra's overrides to `launch/run.py` (an addition; not in the paper).

What a user can get wrong is answered with one line and exit code 2; anything else keeps its traceback.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from .. import processes
from ..errors import ConfigError, refusals_of_the_disk
from ..signals import Stopped, handled_by, held_back
from .composition import (
    INPUT_ERRORS,
    SHIPPED,
    ShippedConfigs,
    compose,
    composing,
    find_config,
    message_of,
    plain,
    plain_part,
    shipped_configs,
)
from .overrides import options_first, with_known_keys
from .sweeps import BROKEN, DONE, GO_ON, INTERRUPTED, WRONG_INPUT, Ended, collected, end_of, tell_and_end

CONFIG_OPTIONS = ("-c", "--config")
HYDRA_CONFIG_OPTIONS = ("--config-name", "-cn")
DETECTORS = (["export"], ["detect"])
WITHOUT_FILES = ["hydra.output_subdir=null", "hydra/job_logging=disabled", "hydra/hydra_logging=disabled"]
PLAN = "plan"  # an override of ours, which no configuration holds

USAGE = """usage: nnabla_detofa -c FILE [OVERRIDE ...] [HYDRA OPTION ...]    (nnabla_nas is the same command)

  -c, --config FILE   a configuration file, or the name of a shipped one: {shipped}
  OVERRIDE            GROUP=OPTION or KEY=VALUE, e.g. pruning=flops pruning.path_ratio=0.4 name=trial
  plan=true           say steps, costs, memory and time, from a few timed steps; train nothing, keep nothing
  --cfg job           print the composed configuration and stop; --info and --resolve likewise
  -m, --multirun      run every combination of comma-separated overrides
  --hydra-help        Hydra's other options

usage: nnabla_detofa check -c FILE [OVERRIDE ...] [--json FILE]    reads the whole data set and trains nothing
       nnabla_detofa check --policy                                says what is done about each flaw

usage: nnabla_detofa export RUN [--budget B | --rank N | --all] [--format onnx,nnp,h5] [--raw] [--out DIR]
       nnabla_detofa detect DETECTOR IMAGE|FOLDER ... [--out DIR] [--threshold T] [--json FILE]
       nnabla_detofa evaluate DETECTOR -c FILE [OVERRIDE ...] [--json FILE]

  RUN                 the folder of a finished run, log/NAME; files go to its detectors/RANK-COST unless --out is given
  --budget B          the best detector of at most that cost; --rank N the N-th by cost; otherwise all
  --raw               ONNX with heat map, sizes and offsets as outputs instead of boxes, scores and labels
  DETECTOR            a folder detectors/RANK-COST, or a file in it; drawings go to detections/ unless --out is given
  --threshold T       only scores above it; without it 0.3 for drawings, and everything in FILE (COCO's results)
  -c FILE             a configuration as above: its test split and metric say AP, and one image is timed here

usage: nnabla_detofa compare RUN|NAME=RUN,RUN,...|MULTIRUN ... [--out DIR]    finished runs side by side
       RUN: a run's folder. NAME=RUN,RUN: runs of one method, with other seeds. MULTIRUN: a folder of runs, or log/NAME
       of log/NAME-0, log/NAME-1, ... Without --out the page, table and picture are in log/compared.

usage: nnabla_detofa device    what a run finds on this machine: GPUs, libraries, processes; and what mends each lack

Exit codes of check: 0 clean, 1 flaws that training mends, 2 unusable.

Results go to log/NAME in the folder where the command is started. Exit codes: 0 done, 2 wrong input,
75 interrupted: the same command goes on from the last checkpoint."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code. Without `arguments` it ends the process, which ignores signals then."""
    afterwards = signal.SIG_IGN if arguments is None else None
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print(USAGE.format(shipped=", ".join(shipped_configs())))
        return DONE
    logging.getLogger("nnabla").setLevel(logging.WARNING)
    try:
        with handled_by(signal.default_int_handler, afterwards), as_before():
            if arguments[:1] == ["check"]:
                return check(arguments[1:])
            if arguments[:1] == ["compare"]:
                return compare(arguments[1:])
            if arguments[:1] == ["evaluate"]:
                return evaluate(arguments[1:])
            if arguments[:1] == ["device"]:
                return device(arguments[1:])
            ends = of_detectors(arguments) if arguments[:1] in DETECTORS else run_or_plan(arguments)
    except INPUT_ERRORS as error:
        ends = [Ended(WRONG_INPUT, message_of(error))]
    except Stopped:  # on all processes
        if processes.rank() == 0:
            Ended(INTERRUPTED, GO_ON).tell()
        return INTERRUPTED
    except KeyboardInterrupt:
        ends = [Ended(INTERRUPTED, GO_ON)]
    except Exception:
        if processes.started() > 1:
            if processes.may_tell():
                traceback.print_exc()
            processes.end_all(BROKEN)
        raise
    return tell_and_end(ends) if ends else DONE


def run_or_plan(arguments: list[str]) -> list[Ended]:
    """A run, or several, or a plan; returns how jobs ended that did not end well."""
    file, hydra_arguments = split_arguments(arguments)
    plan, hydra_arguments = split_plan(hydra_arguments)
    with output_folder(kept=not plan) as where:
        return run_hydra(file, [*hydra_arguments, *where], plan=plan)


def of_detectors(arguments: list[str]) -> list[Ended]:
    """`export` or `detect`; returns what was wrong with some of what was given."""
    from . import detectors

    command, *rest = arguments
    if command == "detect":
        return [Ended(WRONG_INPUT, message_of(error)) for error in detectors.detect(rest)]
    detectors.export(rest)
    return []


@contextmanager
def as_before() -> Iterator[None]:
    """The scope behind which whatever Hydra reads of the process or leaves there is the caller's again."""
    given, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    job: Any = HydraConfig.instance()  # which Hydra leaves behind a job as if it were live
    before = job.cfg
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what is wrong instead of printing it and leaving
    try:
        yield
    finally:
        sys.argv, job.cfg = given, before
        os.environ.pop("HYDRA_FULL_ERROR")
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def taken(arguments: list[str], *options: str) -> tuple[list[str], list[str]]:
    """The values of the `options`, given as `--option VALUE` or `option=VALUE`, and the other arguments."""
    values: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, value = argument.partition("=")
        if option in options and (equals or option.startswith("-")):
            values.append(value if equals else next(waiting, ""))
        else:
            rest.append(argument)
    return values, rest


def split_arguments(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """Our `-c FILE`, resolved, and what is left for Hydra. (Hydra's own `-c` is spelt `--cfg` here.)

    FILE is None where Hydra's own option names the configuration.
    """
    given, rest = taken(arguments, *CONFIG_OPTIONS)
    if len(given) > 1 or given == [""]:
        raise ConfigError("-c must be given once, with one file", key="-c", given=given)
    if given:
        return find_config(given[0]), rest
    if any(argument.partition("=")[0] in HYDRA_CONFIG_OPTIONS for argument in rest):
        return None, rest
    raise ConfigError(f"no configuration given: -c FILE; shipped: {', '.join(shipped_configs())}")


def split_plan(arguments: list[str]) -> tuple[bool, list[str]]:
    """Whether `plan=true` is among the overrides, and the others: where a run writes is settled before it is read."""
    values, rest = taken(arguments, PLAN)
    for value in values:
        if value not in ("true", "false"):
            raise ConfigError(key=PLAN, given=value, allowed="true or false")
    return values[-1:] == ["true"], rest


@contextmanager
def output_folder(*, kept: bool) -> Iterator[list[str]]:
    """No overrides, or those that have Hydra write into a folder which is removed afterwards, or not at all."""
    if kept:
        yield [] if processes.rank() == 0 else WITHOUT_FILES
        return
    with TemporaryDirectory(prefix="nnabla_detofa_plan_") as folder:
        yield [f"hydra.{kind}.dir='{folder}'" for kind in ("run", "sweep")]


def run_hydra(file: Path | None, arguments: list[str], *, plan: bool = False) -> list[Ended]:
    """Compose and run, or plan; returns how jobs ended that did not end well (several with --multirun)."""
    ends: list[Ended] = []
    begun: list[str] = []

    def work(config: DictConfig) -> None:
        logging.getLogger("nnabla").setLevel(logging.WARNING)
        given = plain(config, Path(hydra.utils.get_original_cwd()))
        with refusals_of_the_disk():
            launch(given, plan=plan)

    def job(config: DictConfig) -> Ended | None:
        begun.append(str(config.get("name")))
        end = end_of(lambda: work(config))  # an error would be Hydra's, which prints its own lines about it
        ends.extend([end] if end else [])
        return end

    options, overrides = options_first(arguments)
    Plugins.instance().register(ShippedConfigs)
    folder, name = (file.parent, file.stem) if file else (SHIPPED, None)

    def once(given: list[str]) -> None:
        sys.argv = [sys.argv[0], *options, *given]  # the only place where Hydra reads them
        hydra.main(version_base="1.3", config_path=str(folder), config_name=name)(job)()

    with refusals_of_the_disk(), composing(begun), collected(begun, ends):
        with_known_keys(once, overrides)
    return ends


def check(arguments: list[str]) -> int:
    """The check of the data set of a composed configuration; returns its exit code."""
    from ..data import data_check

    if arguments == ["--policy"]:
        print("\n".join(data_check.policy_table()))
        return DONE
    place, file, rest = split_json(arguments)
    if file is None or any(argument.startswith("-") for argument in rest):
        raise ConfigError("check takes -c FILE, --json FILE and overrides, or --policy alone")
    return data_check.check(plain_part(compose(file, rest), "dataloader", Path.cwd()), place)


def evaluate(arguments: list[str]) -> int:
    """The AP of a detector on the test split of a composed configuration."""
    from . import detectors

    place, file, rest = split_json(arguments)
    detector, *overrides = rest or [""]
    wrong = [one for one in overrides if "=" not in one and one[:1] != "~"]
    if file is None or not detector or wrong or any(one.startswith("-") for one in rest):
        raise ConfigError("evaluate takes one DETECTOR, -c FILE, overrides and --json FILE; -h shows how")
    config = compose(file, overrides)
    dataloader, hparams = (plain_part(config, group, Path.cwd()) for group in ("dataloader", "hparams"))
    detectors.evaluate(detector, dataloader, (hparams or {}).get("metric"), place)
    return DONE


def split_json(arguments: list[str]) -> tuple[Path | None, Path | None, list[str]]:
    """The file of `--json`, if it is given, and what `split_arguments` makes of the other arguments."""
    given, rest = taken(arguments, "--json")
    if len(given) > 1 or given == [""]:
        raise ConfigError("--json must be given with a file", key="--json", given=given)
    return Path(given[0]).expanduser() if given else None, *split_arguments(rest)


def compare(arguments: list[str]) -> int:
    """Finished runs side by side."""
    given, runs = taken(arguments, "--out")
    if len(given) > 1 or given == [""]:
        raise ConfigError("--out must be given once, with a folder", key="--out", given=given)
    if not runs or any(one.startswith("-") for one in runs):
        raise ConfigError("compare takes folders of runs, or NAME=FOLDER, and --out FOLDER; -h shows how")
    from ..report.comparison_files import compare as compare_runs

    print("\n".join(compare_runs(runs, Path(given[0] if given else "log/compared"))))
    return DONE


def device(arguments: list[str]) -> int:
    """The device, the libraries and the processes that a run started here would have."""
    if arguments:
        raise ConfigError("device takes nothing")
    with held_back():  # see `launch`
        from ..host.device_report import device_lines
    for line in device_lines():
        print(line)
    return DONE


def launch(config: dict[str, Any], *, plan: bool = False) -> Path:
    """`run.launch`, imported late: printing a configuration does not need nnabla."""
    with held_back():  # a process that has half of nnabla crashes at its end
        from .run import launch as launch_run
    return launch_run(config, plan=plan)


if __name__ == "__main__":
    sys.exit(main())
