"""Links of a run's page to the files of its detectors, which later exports add to (an addition; not in the paper)."""

import re
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote

from ..storage import restamp
from ..storage.files import write_text

PAGE = "report.html"
FORMATS = (".onnx", ".nnp", ".h5", ".json")
CELL = re.compile(r'<td class="files" data-of="([^"]*)">.*?</td>')


def links(folder: Path, file: str | None) -> str:
    """The cell of a table, as HTML: the files that a detector has in `file`, a folder inside that of the run."""
    place = folder / (file or "")
    inside = bool(file) and place.resolve().is_relative_to(folder.resolve())
    there = [one for one in place.glob("detector.*") if one.suffix in FORMATS] if inside else []
    there.sort(key=lambda one: FORMATS.index(one.suffix))
    found = [f'<a href="{quote(one.relative_to(folder).as_posix())}">{one.suffix[1:]}</a>' for one in there]
    return f'<td class="files" data-of="{escape(file or "")}">{" ".join(found) or "–"}</td>'


def renew_links(folder: Path) -> None:
    """Write those of the page anew, if the run has one; RunFolderError where the disk refuses."""
    page = folder / PAGE
    if page.is_file():
        text = page.read_text("utf-8")
        write_text(page, CELL.sub(lambda found: links(folder, unescape(found[1])), text))
        restamp(folder, PAGE)
