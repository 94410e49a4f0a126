"""Commands as users start them, each in a process of its own.

    python -m experiments.benchmarks.workloads.commands STEPS EVERY ARGUMENT …

is `nnabla_nas ARGUMENT …` that ends behind so many steps of its first training; after each EVERY of them it says, as a
line of JSON, wall and CPU seconds and resident megabytes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DEMO = ["-m", "nnabla_detofa.cli", "-c", "detofa_demo"]
HYDRA = "import hydra; hydra.initialize_config_dir({!r}, version_base='1.3'); hydra.compose('detofa_demo')"
IMPORTS = "import hydra, nnabla.functions, nnabla.solvers, nnabla_nas.module, nnabla_nas.utils.estimator"
TINY = {  # a detector whose steps take milliseconds
    "network.ofa_resnet50_centernet.space.width_scale": 0.0625,
    "network.ofa_resnet50_centernet.space.base_depths": [1, 1, 1, 1],
    "network.ofa_resnet50_centernet.neck": [8, 8],
    "network.ofa_resnet50_centernet.head": 8,
    "dataloader.voc.image_size": 32,
}
LONG = {"hparams.warmup": 1000}
SHORT = {  # all stages in less than a minute
    "hparams.warmup": 1,
    "hparams.finetune": 1,
    "path_filter.paths_per_bucket": 4,
    "path_filter.bn_images": 16,
    "path_filter.validation_images": 16,
    "path_filter.evaluation_bn_images": 16,
    "path_filter.fit.epochs": 2,
    "pruning.paths_per_operation": 5,
    "search.generations": 3,
}


def prepared() -> tuple[tempfile.TemporaryDirectory, list[str]]:
    """An empty folder to start in, and arguments that let the demo find its pictures, which are made now."""
    folder = tempfile.TemporaryDirectory()
    pictures = f"dataloader.voc.root={folder.name}/pictures"
    _run(["-m", DEMO[1], "check", *DEMO[2:], pictures], folder.name)
    return folder, [pictures]


def _overrides(values: dict) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def _run(arguments: list[str], folder: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def starting(what: str):
    """The demo's command: its settings (`job`), its `plan`, or all up to the first `step`; or what these cannot do
    without, Hydra's own composition (`hydra`) and the packages' `imports`."""
    folder, pictures = prepared() if what in ("plan", "step") else (tempfile.TemporaryDirectory(), [])
    arguments = {
        "job": [*DEMO, "--cfg", "job"],
        "plan": [*DEMO, *pictures, "plan=true"],
        "step": ["-m", __name__, "1", "1", *DEMO[2:], *pictures],
        "hydra": ["-c", HYDRA.format(str(ROOT / "conf"))],
        "imports": ["-c", IMPORTS],
    }[what]
    turn = 0

    def run(keep=folder) -> None:  # noqa: ARG001 - the folder lives as long as the task
        nonlocal turn
        turn += 1
        own = Path(folder.name, str(turn))  # a run that is begun would be gone on with
        own.mkdir()
        _run(arguments, str(own))

    return run


@cache  # two rows look at it
def steps(n: int, every: int, *, tiny: bool = True) -> list[dict[str, float]]:
    """Times and memory of a training of n steps of the demo, or of the tiny detector, after each `every` of them."""
    folder, pictures = prepared()
    changed = _overrides((TINY if tiny else {}) | LONG)
    with folder:
        said = _run(["-m", __name__, str(n), str(every), *DEMO[2:], *pictures, *changed], folder.name)
    return [json.loads(line) for line in said.splitlines() if line.startswith('{"cpu"')]


def reporting(missing: bool):
    """The command of a tiny run that is done, whose page is `missing` and written again, or not."""
    folder, pictures = prepared()
    command = [*DEMO, *pictures, *_overrides(TINY | SHORT)]
    _run(command, folder.name)
    page = Path(folder.name, "log", "detofa_demo", "report.html")

    def run(keep=folder) -> None:  # noqa: ARG001
        if missing:
            page.unlink()
        _run(command, folder.name)
        assert page.is_file()

    return run


def watched(n: int, every: int, arguments: list[str]) -> None:
    """The command with these arguments, which ends behind n steps."""
    from nnabla_detofa.launch.cli import main
    from nnabla_detofa.training.trainer import Trainer

    from ..serve import cpu_seconds, megabytes

    train_step, seen = Trainer._train_step, 0

    def counted(self, *given) -> None:
        nonlocal seen
        train_step(self, *given)
        seen += 1
        if seen % every == 0:
            print(json.dumps({"cpu": cpu_seconds(), "wall": time.perf_counter(), **megabytes()}), flush=True)
        if seen == n:
            sys.stdout.flush()
            os._exit(0)  # no thread that makes images ahead is waited for

    Trainer._train_step = counted  # type: ignore[method-assign]
    sys.exit(main(arguments))


if __name__ == "__main__":
    watched(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
