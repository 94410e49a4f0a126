"""What is typed behind the command, and the help on it (an addition; not in the paper)."""

from pathlib import Path

from ..errors import ConfigError
from .composition import find_config, shipped_configs

CONFIG_OPTIONS = ("-c", "--config")
HYDRA_CONFIG_OPTIONS = ("--config-name", "-cn")
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


def split_json(arguments: list[str]) -> tuple[Path | None, Path | None, list[str]]:
    """The file of `--json`, if it is given, and what `split_arguments` makes of the other arguments."""
    given, rest = taken(arguments, "--json")
    if len(given) > 1 or given == [""]:
        raise ConfigError("--json must be given with a file", key="--json", given=given)
    return Path(given[0]).expanduser() if given else None, *split_arguments(rest)
