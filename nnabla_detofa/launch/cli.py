"""The command: `-c FILE` and Hydra's overrides to `launch/run.py` (an addition; not in the paper).

What a user can get wrong is answered with one line and exit code 2; anything else keeps its traceback.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from .. import processes
from ..errors import RunFolderError, refusals_of_the_disk, unknown
from ..signals import Stopped, handled_by, held_back, let_through
from .arguments import USAGE, split_arguments, split_plan
from .commands import COMMANDS, call
from .composition import (
    INPUT_ERRORS,
    SHIPPED,
    ShippedConfigs,
    composing,
    message_of,
    plain,
    shipped_configs,
)
from .overrides import options_first, with_known_keys
from .sweeps import BROKEN, DONE, GO_ON, INTERRUPTED, WRONG_INPUT, Ended, collected, end_of, tell_and_end

WITHOUT_FILES = ["hydra.output_subdir=null", "hydra/job_logging=disabled", "hydra/hydra_logging=disabled"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code. Without `arguments` it ends the process, which ignores signals then."""
    afterwards = signal.SIG_IGN if arguments is None else None
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print(USAGE.format(shipped=", ".join(shipped_configs())))
        return DONE
    logging.getLogger("nnabla").setLevel(logging.WARNING)
    try:
        with handled_by(signal.default_int_handler, afterwards), let_through(), as_before():
            require_folder()
            if arguments and arguments[0] in COMMANDS:
                return call(arguments[0], arguments[1:])
            require_no_word(arguments)
            ends = run_or_plan(arguments)
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


def require_folder() -> None:
    """RunFolderError where the current folder has been deleted, to which all other places are relative."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise RunFolderError("the folder where the command was started is gone; change to one that is there") from None


def require_no_word(arguments: list[str]) -> None:
    """ConfigError where they begin with what is neither an option nor an override: a command's name is meant."""
    if arguments and "=" not in arguments[0] and arguments[0][:1] not in ("-", "~"):
        raise unknown("command", arguments[0], [*COMMANDS, "-c FILE"])


def run_or_plan(arguments: list[str]) -> list[Ended]:
    """A run, or several, or a plan; returns how jobs ended that did not end well."""
    file, hydra_arguments = split_arguments(arguments)
    plan, hydra_arguments = split_plan(hydra_arguments)
    with output_folder(kept=not plan) as where:
        return run_hydra(file, [*hydra_arguments, *where], plan=plan)


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
        with let_through(), refusals_of_the_disk():
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

    # Hydra takes an interrupt for something wrong with the configuration, or swallows it; of several runs it waits for
    # the jobs, too
    heard = nullcontext() if {"-m", "--multirun"} & {*options} else held_back()
    with heard, refusals_of_the_disk(), composing(begun), collected(begun, ends):
        with_known_keys(once, overrides)
    return ends


def launch(config: dict[str, Any], *, plan: bool = False) -> Path:
    """`run.launch`, imported late: printing a configuration does not need nnabla."""
    with held_back():  # a process that has half of nnabla crashes at its end
        from .run import launch as launch_run
    return launch_run(config, plan=plan)


if __name__ == "__main__":
    sys.exit(main())
