"""The paper's tables and figures from one command: runs are made or found, and a page is written for each.

    python -m experiments.paper fig5 --scale mini --seeds 5
    python -m experiments.paper all --list

Exit code 0 where all runs are there, 2 for wrong input, 75 where it was interrupted: the same command goes on.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nnabla_detofa.errors import ConfigError, DetOFAError
from nnabla_detofa.report import figures
from nnabla_detofa.storage.files import write_bytes, write_text
from nnabla_detofa.storage.tables import as_csv

from .ablation import ablation
from .equal_cost import fronts_at_equal_cost
from .exhibits import Draw, costs, operation_scores
from .fronts import fronts
from .path_losses import path_losses
from .plan import EXHIBITS, METHODS, SCALES, methods_of
from .runs import Pace, Planned, Store, make_all, planned_jobs

RESULTS = Path(__file__).parents[1] / "results"
DRAWN: dict[str, tuple[str, Draw]] = {
    "table2": ("Table 2: the path filter without its parts", ablation),
    "table3": ("Table 3: the cost of sampling paths and training", costs),
    "fig5": ("Figure 5: AP under each budget", fronts_at_equal_cost),
    "fig6": ("Figure 6: paths drawn from each bucket", path_losses),
    "fig7": ("Figure 7: scores of operations behind the warm-up", operation_scores),
    "fig8": ("Figure 8: ways of pruning", fronts),
    "fig9": ("Figure 9: ratios of pruning", fronts),
}
COMPARED = {"fig5", "fig6", "fig8", "fig9"}  # with the first of their methods, without which there is no page
PAPER = {
    "table3": "GPU days on VOC / COCO: OFA with shrinking 1.150 / 14.41, OFA .383 / 4.804, CompOFA* .383 / 4.804,"
    " DetOFA .800 / 5.260, of which .414 / .456 sample paths.",
    "fig5": "DetOFA is on average .85 AP above OFA on VOC and .45 on COCO, and .5 and 1.0 below the largest path alone;"
    " CompOFA* does well for large budgets alone. Means of three runs, no intervals.",
    "fig6": "15 paths a bucket; the pruned space has more good ones for all budgets (AP, as a picture alone).",
    "fig7": "Behind warm-up on VOC the larger operations of a block score higher; behind ImageNet less so.",
    "fig8": "For operations, FLOPs & score (all) is best; for paths, scores beat chance but for the smallest budget.",
    "fig9": "Without path pruning all budgets lose, without operation pruning the smallest most; .4 is too much.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs and write the pages that the arguments ask for; returns the exit code."""
    given = _parser().parse_intermixed_args(arguments)
    try:
        names = [*EXHIBITS] if given.name == "all" else [given.name]
        store = Store(given.out or RESULTS / f"paper-{given.scale}" / "runs", Path.cwd() / "log")
        jobs = planned_jobs(given.scale, methods_of(names), given.seeds, given.overrides)
        ours = _ours(jobs, given.methods, _own(given.only, given.seeds))
        if given.list:
            print("\n".join(listed(store, ours)))
            return 0
        if given.plan:
            return plan(ours)
        code = 0 if given.pages_only else make_all(store, ours, lambda line: print(line, flush=True))
        for name in names:
            print(write_page(store, jobs, name, store.folder.parent), flush=True)
    except DetOFAError as error:
        print(f"paper: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return os.EX_TEMPFAIL
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="paper", description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[*EXHIBITS, "all"])
    parser.add_argument("overrides", nargs="*", help="of the configuration, for all methods")
    shown = ", ".join(one for one in SCALES if one != "tiny")
    parser.add_argument("--scale", choices=[*SCALES], default="mini", metavar="SCALE", help=shown)
    parser.add_argument("--seeds", type=_positive, default=5)
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="make the runs of these alone")
    several = "make the runs of these seeds alone, other processes the others: tasks of a cluster, or one a core"
    parser.add_argument("--only", type=int, nargs="+", metavar="SEED", help=several)
    parser.add_argument("--list", action="store_true", help="say what is there, missing and stale, and the hours")
    parser.add_argument("--plan", action="store_true", help="say the plan of one run by each method, timed here")
    parser.add_argument("--pages-only", action="store_true", help="write the pages of the runs that are there")
    parser.add_argument("--out", type=Path, help="the folder of kept runs; pages lie beside it")
    return parser


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError
    return value


def _ours(jobs: Sequence[Planned], methods: Sequence[str] | None, seeds: Sequence[int]) -> list[Planned]:
    """The runs that are made here, of these seeds and methods or all; ConfigError for a method that is not needed."""
    known = dict.fromkeys(one.job.method for one in jobs)
    for one in methods or ():
        if one not in known:
            raise ConfigError(key="--methods", given=one, allowed=", ".join(known))
    return [one for one in jobs if one.job.seed in seeds and one.job.method in (methods or known)]


def _own(only: Sequence[int] | None, seeds: int) -> Sequence[int]:
    """The seeds whose runs are made here; ConfigError for one that there is not."""
    for seed in only or ():
        if seed not in range(seeds):
            raise ConfigError(key="--only", given=seed, allowed=f"seeds from 0 to {seeds - 1}; --seeds asks for more")
    return range(seeds) if only is None else only


def listed(store: Store, jobs: Sequence[Planned]) -> list[str]:
    """A line for each method, and the hours that are left."""
    lines, waiting = [f"{'method':<24} {'done':>5} {'stale':>6} {'missing':>8}   seeds that are not done"], []
    for method in dict.fromkeys(one.job.method for one in jobs):
        own = {one: store.state(one) for one in jobs if one.job.method == method}
        states = [*own.values()]
        open_ = [one for one, state in own.items() if state != "done"]
        waiting += open_
        counts = f"{states.count('done'):>5} {states.count('stale'):>6} {states.count('missing'):>8}"
        lines.append(f"{method:<24} {counts}   {', '.join(str(one.job.seed) for one in open_)}".rstrip())
    pace, scale = Pace(store, jobs), SCALES[jobs[0].job.scale]
    source = "as the runs here took" if pace.measured else scale.machine
    return [*lines, f"{len(waiting)} runs to do, about {pace.hours(waiting):.3g} h ({source})"]


def plan(jobs: Sequence[Planned]) -> int:
    """The plan of each method's first run, from a few timed steps. A data set that is not there is told behind each,
    and is the exit code, but holds up none."""
    code = 0
    for one in (one for one in jobs if one.job.seed == 0):
        print(f"{METHODS[one.job.method].label}:", flush=True)
        command = [sys.executable, "-m", "nnabla_detofa.cli", "-c", SCALES[one.job.scale].config]
        ended = subprocess.run([*command, *one.job.arguments, "plan=true"], check=False).returncode
        if ended not in (0, 2):
            return ended
        code = max(code, ended)
    return code


def write_page(store: Store, jobs: Sequence[Planned], name: str, out: Path) -> str:
    """NAME.csv, NAME.md and NAME.png of the runs that are done; a line that says so, or why there are none."""
    labels = {method: own or METHODS[method].label for method, own in EXHIBITS[name].items()}
    wanted = [one for one in jobs if one.job.method in labels]
    done = [one for one in wanted if store.state(one) == "done"]
    runs = {
        method: {one.job.seed: store.run(one) for one in done if one.job.method == method}
        for method in labels
        if any(one.job.method == method for one in done)
    }
    needed = [next(iter(labels))] if name in COMPARED else [*labels]
    if not runs.keys() & {*needed}:
        return f"{name}: no page, since no run of {' or '.join(labels[one] for one in needed)} is done"
    title, draw = DRAWN[name]
    exhibit = draw(runs, labels)
    write_text(out / f"{name}.csv", as_csv(exhibit.rows, exhibit.rows[0]))
    pictures = {name: exhibit.figure} | ({f"{name}_gains": exhibit.gains} if exhibit.gains else {})
    for one, figure in pictures.items():
        write_bytes(out / f"{one}.png", figures.as_png(figure))
    shown = [line for one in pictures for line in (f"![{one}]({one}.png)", "")]
    lines = [f"# {title}", "", *_missing(store, wanted, labels), *shown, *exhibit.lines, ""]
    scale = wanted[0].job.scale
    lines += [f"The paper: {PAPER[name]}", ""] if name in PAPER else []
    seeds = f"--seeds {1 + max(one.job.seed for one in wanted)}"
    lines += [
        f"`python -m experiments.paper {name} --scale {scale} {seeds}`; in brackets 95 % intervals by Student's t"
    ]
    lines[-1] += " over seeds, differences by pairs of the same seed."
    write_text(out / f"{name}.md", "\n".join(lines) + "\n")
    return f"{name}: {out / name}.md of {len(done)} runs"


def _missing(store: Store, wanted: Sequence[Planned], labels: dict[str, str]) -> list[str]:
    """Lines that name the seeds without a run, and those whose run is of other settings or another version."""
    lines = []
    for method, label in labels.items():
        own = {one.job.seed: store.state(one) for one in wanted if one.job.method == method}
        seeds = [f"{seed}{' (stale)' * (state == 'stale')}" for seed, state in own.items() if state != "done"]
        lines += [f"- {label}: seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"] if seeds else []
    return ["Missing runs, so that this page is not the last word:", "", *lines, ""] if lines else []


if __name__ == "__main__":
    sys.exit(main())
