"""Results of the benchmarks: a page for people, and the figures as JSON."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

from .growth import Curve
from .paired_timing import PYTHONS, ROOT
from .rows import Row

UNITS = ("s", "MB")
RESULTS = Path(__file__).parent / "results"


def state() -> str:
    """Commit and load of this moment, for the page: a run takes long enough for both to change."""
    changes = " with changes" if _output(["git", "status", "--porcelain", "--untracked-files=no"]) else ""
    load = " / ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{_output(['git', 'rev-parse', '--short', 'HEAD'])}{changes}, load {load}"


def write(rows: dict[str, Row], curves: dict[str, Curve], options: str, *, start: str) -> Path:
    """Write `<date>.md` and `latest.json`; rows of an earlier `latest.json` that were not measured now stay in it."""
    RESULTS.mkdir(exist_ok=True)
    latest = RESULTS / "latest.json"
    known = json.loads(latest.read_text()) if latest.is_file() else {}
    known |= {
        name: {"ours": row.ours, "peer": row.peer, "ratio": row.ratio, "unit": row.unit} for name, row in rows.items()
    }
    known |= {f"{name}_{what}": entry for name, curve in curves.items() for what, entry in _entries(curve)}
    latest.write_text(json.dumps(known, indent=1) + "\n")
    page = RESULTS / f"{date.today().isoformat()}.md"
    page.write_text("\n".join([*_head(options, start), *table(rows), "", *growth(curves), ""]))
    return page


def table(rows: dict[str, Row]) -> list[str]:
    """The rows as lines of a Markdown table."""
    lines = ["| row | ours | peer | ratio | unit | peer and conditions |", "|---|---:|---:|---:|---|---|"]
    for name, row in rows.items():
        peer, ratio = ("–" if value is None else f"{value:.{n}g}" for value, n in ((row.peer, 4), (row.ratio, 3)))
        lines.append(f"| {name} | {row.ours:.4g} | {peer} | {ratio} | {row.unit} | {row.note} |")
    return lines


def growth(curves: dict[str, Curve]) -> list[str]:
    """The curves as lines of a Markdown table: two a curve, its seconds and its megabytes."""
    lines = ["| growth | unit | by | exponent |", "|---|---|---|---:|"] if curves else []
    for curve in curves.values():
        for unit, values, exponent in zip(UNITS, (curve.seconds, curve.megabytes), curve.exponents, strict=True):
            points = ", ".join(f"{point:,}: {value:.3g}" for point, value in zip(curve.points, values, strict=True))
            lines.append(f"| {curve.title} | {unit} | {points} | {exponent:.2f} |")
    return lines


def _entries(curve: Curve) -> Iterator[tuple[str, dict]]:
    """Of `latest.json`: the exponents, whose peer is none, with the figures that they were fitted to."""
    for name, unit, exponent in zip(("time", "memory"), UNITS, curve.exponents, strict=True):
        values = curve.seconds if name == "time" else curve.megabytes
        fitted = {"points": curve.points, "values": values, "of": unit}
        yield name, {"ours": exponent, "peer": None, "ratio": None, "unit": "exponent", **fitted}


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
