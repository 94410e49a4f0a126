"""Results of the benchmarks: a page for people, and the figures as JSON."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from .growth import Curve
from .paired_timing import PYTHONS, ROOT
from .rows import Row

RESULTS = Path(__file__).parent / "results"


def state() -> str:
    """Commit and load of this moment, for the page: a run takes long enough for both to change."""
    changes = " with changes" if _output(["git", "status", "--porcelain", "--untracked-files=no"]) else ""
    load = " / ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{_output(['git', 'rev-parse', '--short', 'HEAD'])}{changes}, load {load}"


def write(rows: dict[str, Row], curves: Sequence[Curve], options: str, *, start: str) -> Path:
    """Write `<date>.md` and `latest.json`; rows of an earlier `latest.json` that were not measured now stay in it."""
    RESULTS.mkdir(exist_ok=True)
    latest = RESULTS / "latest.json"
    known = json.loads(latest.read_text()) if latest.is_file() else {}
    known |= {
        name: {"ours": row.ours, "peer": row.peer, "ratio": row.ratio, "unit": row.unit} for name, row in rows.items()
    }
    latest.write_text(json.dumps(known, indent=1) + "\n")
    page = RESULTS / f"{date.today().isoformat()}.md"
    page.write_text(
        "\n".join([*_head(options, start), *table(rows), *(line for curve in curves for line in _curve(curve))])
    )
    return page


def table(rows: dict[str, Row]) -> list[str]:
    """The rows as lines of a Markdown table."""
    lines = ["| row | ours | peer | ratio | unit | peer and conditions |", "|---|---:|---:|---:|---|---|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {row.ours:.4g} | {row.peer:.4g} | {row.ratio:.3g} | {row.unit} | {row.note} |")
    return lines


def _curve(curve: Curve) -> list[str]:
    head = [f"### {curve.title}", "", f"| | {' | '.join(curve.points)} |", f"|---|{'---:|' * len(curve.points)}"]
    return ["", *head, f"| {curve.unit} | {' | '.join(f'{value:.4g}' for value in curve.values)} |", ""]


def _head(options: str, start: str) -> list[str]:
    return [
        f"# Benchmarks, {date.today().isoformat()}",
        "",
        "Medians of runs in which both sides take turns; a ratio over 1 means that ours is faster.",
        "",
        f"- command: `make bench{options}`",
        f"- commit at the start: {start}",
        f"- commit at the end: {state()}",
        f"- machine: {_cpu()}, {len(os.sched_getaffinity(0))} cores",
        f"- ours: Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("nnabla", "nnabla-nas", "numpy")),
        f"- peers: {_peers()}",
        "",
    ]


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _peers() -> str:
    if not (ROOT / PYTHONS["peers"]).is_file():
        return "their environment is not built"
    ask = (
        "import platform, importlib.metadata as m; print('Python ' + platform.python_version(),"
        " *(f'{n} {m.version(n)}' for n in ('torch', 'ofa', 'numpy')), sep=', ')"
    )
    return _output([PYTHONS["peers"], "-c", ask])


def _output(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
