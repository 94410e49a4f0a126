"""Export stage: a folder for each detector that a run found (an addition; not in the paper)."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import HostError
from ..ranking import FOLDER, Ranked
from ..search_stages import Detector
from ..storage import Kept
from ..training import Run
from .folder import FORMATS, write_detector
from .front import LAST, Front
from .maps import extra


def available() -> tuple[list[str], HostError | None]:
    """The formats that can be written here, and what keeps the others from it."""
    try:
        with extra():
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
    except HostError as error:
        return [name for name in FORMATS if name != "onnx"], error
    return list(FORMATS), None


def export(run: Run, detectors: Sequence[Detector]) -> None:
    """`detectors/<rank>-<cost>/` of each distinct detector; without ONNX files, and a line that says why, where there
    can be none."""

    def work() -> None:
        if not run.folder.writes:
            return
        front, place = Front.of(run, detectors), run.folder / FOLDER
        shutil.rmtree(place, ignore_errors=True)  # of a stage that was interrupted
        place.mkdir()
        formats, lacking = available()
        for one in run.session.progress(front.rows, "export"):
            lacking = _write(front, one, place, formats) or lacking
        if lacking is not None:
            run.say(f"export: detector.onnx is left out: {lacking}; then: nnabla_detofa export {run.folder.path}")
        run.say(f"export: {len(front.rows)} detectors in {place}")

    kept: Kept[None] = Kept([FOLDER], lambda: None)
    run.stages.run("export", {}, kept, work, rehearsed=lambda: None, after=[LAST])


def _write(front: Front, one: Ranked, place: Path, formats: Sequence[str]) -> HostError | None:
    """The detector's folder, and why it has no ONNX file: hours of training do not end with that."""
    try:
        write_detector(front, one, place, formats)
    except HostError as error:
        write_detector(front, one, place, [name for name in formats if name != "onnx"])
        return error
    return None
