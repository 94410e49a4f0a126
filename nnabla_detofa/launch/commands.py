"""The commands beside a run: each takes its arguments and gives the exit code (additions; not in the paper)."""

from pathlib import Path

from ..errors import ConfigError
from ..processes import require_alone
from ..signals import held_back
from .arguments import split_json, taken
from .composition import compose, message_of, plain_part
from .sweeps import DONE, WRONG_INPUT, Ended, tell_and_end


def export(arguments: list[str]) -> int:
    """The files of a finished run's detectors."""
    from . import detectors

    detectors.export(arguments)
    return DONE


def detect(arguments: list[str]) -> int:
    """Boxes of a detector in pictures; those that cannot be read are told."""
    from . import detectors

    failures = [Ended(WRONG_INPUT, message_of(error)) for error in detectors.detect(arguments)]
    return tell_and_end(failures) if failures else DONE


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


def call(command: str, arguments: list[str]) -> int:
    """The named command; HostError where several processes would do the same."""
    if command != "device":  # which tells what each process would have
        require_alone(command)
    return COMMANDS[command](arguments)


COMMANDS = {
    "check": check,
    "compare": compare,
    "detect": detect,
    "device": device,
    "evaluate": evaluate,
    "export": export,
}
