"""How a run scales with its processes: images and paths a second, and the share of a step that the exchange takes.

    python -m experiments.scaling [--out FOLDER] [--repeats 3]

Each number of processes plans the demo, and the full network of `conf/detofa_voc.yaml` on blank images, as
`plan=true` does: a few steps and measured paths are timed, and the exchange of gradients by itself. Every process has a
core of its own (`mpirun --bind-to core`), and a step is of 16 images for each. What nobody here can measure is then
calculated, from the paper's V100 and from what links are known to carry.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CPU = ("args.context=cpu",)
# configuration: overrides, images that a process takes in a step, images that measure a path
RUNS = {
    "detofa_demo": (CPU, 16, 48 + 96),
    "detofa_voc": ((*CPU, "dataloader.voc.root=nowhere"), 16, 500 + 1000),
}
NUMBERS = (1, 2)
GRADIENTS = 4 * 57e6  # bytes: the full network's
IMAGES_A_SECOND = 35  # of one V100 in training, in the paper
# devices, bytes a second between neighbours in a ring of them, images that each takes in a step
ON_PAPER = {
    "8 V100, NVLink": (8, 100e9, 4),
    "8 V100, PCIe 3": (8, 8e9, 4),
    "4 nodes of 8, 100 Gbit/s a node": (32, 10e9, 4),
    "4 nodes of 8, 25 Gbit/s a node": (32, 2.5e9, 4),
    "4 nodes of 8, 100 Gbit/s, 16 images each": (32, 10e9, 16),
}


def measure(name: str, out: Path) -> int:
    """In one of the processes: the pace of the plan, which the first writes; the plan's exit code."""
    from nnabla_detofa.launch import cli
    from nnabla_detofa.report import plan

    timed = plan.measure_pace

    def measured(run, floats):
        pace = timed(run, floats)
        if run.processes.is_first:
            out.write_text(json.dumps(pace._asdict()))
        return pace

    plan.measure_pace = measured
    return cli.main(["-c", name, "plan=true", *RUNS[name][0]])


def pace_of(name: str, n: int) -> dict[str, float]:
    """Seconds as `Pace` has them, from n processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "pace.json")
        command = ["-n", str(n), "--bind-to", "core", sys.executable, "-m", "experiments.scaling", "--measure", name]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        launcher = Path(sys.executable).parent / "mpirun"
        done = subprocess.run([launcher, *command, "--out", out], env=environment, capture_output=True, check=False)
        if not out.exists():
            sys.exit(done.stderr.decode())
        return json.loads(out.read_text())


def measured_rows(repeats: int) -> Iterator[str]:
    """A row for each network and number of processes; medians of the repetitions, which take turns."""
    yield "| network | processes | images/s | paths/s | exchange, ms a step | share of a step |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, (_, batch, images) in RUNS.items():
        turns = [{n: pace_of(name, n) for n in NUMBERS} for _ in range(repeats)]
        for n in NUMBERS:
            pace = {key: statistics.median(turn[n][key] for turn in turns) for key in turns[0][n]}
            step = batch * pace["training"] + pace["exchange"]
            paths = n / (images * pace["forward"])
            exchange = f"{1e3 * pace['exchange']:.3g} | {pace['exchange'] / step:.2%}"
            yield f"| {name} | {n} | {n * batch / step:.3g} | {paths:.3g} | {exchange} |"


def calculated_rows() -> Iterator[str]:
    """On paper: one device's images/s times their number, if the exchange waits for the whole backward pass."""
    yield "| devices | images a step | computing, ms | exchange, ms | images/s | of ideal |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, (n, speed, images) in ON_PAPER.items():
        computing, exchange = images / IMAGES_A_SECOND, 2 * (n - 1) / n * GRADIENTS / speed
        rate, share = n * images / (computing + exchange), computing / (computing + exchange)
        yield f"| {name} | {n * images} | {1e3 * computing:.3g} | {1e3 * exchange:.3g} | {rate:,.0f} | {share:.0%} |"


def main() -> int:
    """The tables, on standard output and in `scaling.md` of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=RUNS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure(given.measure, given.out)
    load = os.getloadavg()[0]
    lines = [*measured_rows(given.repeats), "", *calculated_rows(), ""]
    lines.append(f"{len(os.sched_getaffinity(0))} cores; load before {load:.1f}, {given.repeats} turns each, medians")
    print("\n".join(lines))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "scaling.md").write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
