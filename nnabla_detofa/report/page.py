"""The page of a run: one file for a browser, which asks for nothing from elsewhere (an addition; not in the paper)."""

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import nnabla as nn

from ..storage import Kept
from ..storage.files import write_text
from ..training import Run
from .contents import contents, flat
from .lines import duration
from .links import PAGE, links
from .samples import sample_images

TEMPLATE = "report.html.j2"
PACKAGES = (
    "nnabla-detofa",
    "nnabla",
    "nnabla-nas",
    "numpy",
    "opencv-python-headless",
    "pycocotools",
    "onnx",
    "onnxruntime",
)


def write_page(run: Run, summary: Mapping[str, Any]) -> None:
    """`report.html`, of what the run's folder holds; a stage, so that it is written again when it is missing."""

    def work() -> None:
        if run.folder.writes:
            run.session.flush_curves()
            options = run.options.model_dump(mode="json", exclude={"args": {"comm", "event"}})
            settings = flat({**options.pop("identity"), **options})
            versions = {**installed(), "context": " ".join(map(str, nn.get_current_context().backend))}
            shown = sample_images(run, {name: path for path, name in ends(summary).items()})
            own = {"edges": run.budgets.edges.tolist(), "settings": settings, "versions": versions}
            text = page(run.folder.path, summary, samples=shown, **own)
            write_text(run.folder / PAGE, text)

    run.stages.run("page", {}, Kept([PAGE], lambda: None), work, rehearsed=lambda: None)


def page(
    folder: Path,
    summary: Mapping[str, Any],
    *,
    edges: Sequence[float],
    settings: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
    samples: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page's HTML, whose every text from data is escaped.

    Args:
        folder: of the run.
        summary: as `summary.json`.
        edges: of the buckets, in the cost's unit.
        settings: keys of the configuration and their values.
        versions: of what ran.
        samples: as `sample_images` gives them.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nnabla_detofa", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figures": _figures, "duration": duration, "links": partial(links, folder)}
    given = {"name": folder.name, "settings": settings, "versions": versions, "samples": samples}
    given["now"] = f"{datetime.now():%Y-%m-%d %H:%M}"
    return environment.get_template(TEMPLATE).render(**contents(folder, summary, edges=edges), **given)


def ends(summary: Mapping[str, Any]) -> dict[tuple[int, ...], str]:
    """The paths of the cheapest detector that was found and of the largest, with what they are called; one where both
    are the same."""
    cheapest = min(summary["pareto"], key=lambda row: row.get("cost", row["flops"]))
    paths = tuple(cheapest["path"]), tuple(summary["largest"]["path"])
    return dict(zip(paths, ("the smallest", "the largest"), strict=True))


def installed() -> dict[str, str]:
    """Versions of the packages that decide results, and of Python."""
    there = {one.metadata["Name"]: one.version for one in distributions()}
    return {"Python": platform.python_version(), **{name: there[name] for name in PACKAGES if name in there}}


def _figures(value: float | None, form: str = ",.4g") -> str:
    """A number as it is read; a dash where it is not known."""
    return "–" if value is None else format(value, form)
