"""What users wait for: rows beside the part of the work that nobody could leave out, or alone."""

from collections.abc import Callable
from functools import partial

from .paired_timing import Workload, measured
from .rows import Row
from .workloads import commands


def waited(tasks: list[Workload], repetitions: int, note: str, *, unit: str = "s", scale: float = 1.0) -> Row:
    """A row of seconds per unit of work, times `scale`, whose note says the CPU time too; one task has no peer."""
    ours, *others = measured(tasks, repetitions, warm_up=0 if repetitions < 3 else 1)
    cpu = " and ".join(f"{scale * one.cpu:.3g}" for one in (ours, *others))
    note = f"{note}; CPU time {cpu} s, at most {ours.peak:.0f} MB more than its imports"
    if not others:
        return Row(scale * ours.seconds, None, None, unit, note)
    return Row(scale * ours.seconds, scale * others[0].seconds, others[0].seconds / ours.seconds, unit, note)


def start(what: str, floor: str, note: str, quick: bool) -> Row:
    """From the command to its answer."""
    tasks = [Workload("workloads.commands", "starting", {"what": one}) for one in (what, floor)]
    return waited(tasks, 1 if quick else 3, note)


def check(quick: bool) -> Row:
    n = 500 if quick else 10_000
    tasks = [Workload("workloads.pictures", "checking", {"n": n, "by": by}) for by in ("ours", "opencv")]
    note = f"OpenCV's decoding alone, two threads both; {n:,} JPEGs of 512 px as a COCO set, scaled to 10,000"
    return waited(tasks, 1, note, scale=10_000)


def coco_reading(quick: bool) -> Row:
    n = 5000 if quick else 118_287
    tasks = [Workload("workloads.coco", "reading", {"n": n, "by": by}) for by in ("ours", "pycocotools")]
    return waited(tasks, 1, f"pycocotools' index, without a check; {n:,} images, 7.27 objects each")


def decoding(quick: bool) -> Row:
    task = Workload("workloads.coco", "decoding", {"n": 20 if quick else 200})
    return waited([task], 1 if quick else 5, "boxes from maps of 80 × 128 × 128, scaled to 5,000 images", scale=5000)


def coco_precision(quick: bool) -> Row:
    n = 200 if quick else 5000
    tasks = [Workload("workloads.coco", "precision", {"n": n, "by": by}) for by in ("ours", "pycocotools")]
    note = f"pycocotools, its twelve figures; {n:,} images, 100 detections each, 80 classes, annotations read anew"
    return waited(tasks, 1, note)


def export(kind: str, quick: bool) -> Row:
    task = Workload("workloads.exporting", "exporting", {"kind": kind, "size": 128 if quick else 384})
    return waited([task], 1 if quick else 5, "the paper's largest detector, from the supernet to a file's bytes")


def report(quick: bool) -> Row:  # noqa: ARG001 - every row takes it
    tasks = [Workload("workloads.commands", "reporting", {"missing": missing}) for missing in (True, False)]
    return waited(tasks, 1, "the same command of a finished tiny run when its page is not missing")


def steps(what: str, quick: bool) -> Row:
    """Whether a training of many steps slows down, or keeps what it has used: its end beside its beginning."""
    n, every = (200, 50) if quick else (5000, 500)
    said = commands.steps(n, every)
    if what == "memory":
        ours, peer, unit = said[-1]["resident"], said[0]["resident"], "MB"
    else:
        ours, peer = ((said[i]["cpu"] - said[i - 1]["cpu"]) / every for i in (-1, 1))
        unit = "CPU s/step"
    part = f"steps {n - every + 1:,} to {n:,}" if what == "time" else f"resident after {n:,} steps"
    return Row(ours, peer, peer / ours, unit, f"{part} beside those after {every}; every step another path, tiny net")


def step_whole(quick: bool) -> Row:
    """A step as a run has it, beside its network alone: what images, losses and the update add."""
    n, every = (16, 8) if quick else (256, 64)
    said = commands.steps(n, every, tiny=False)
    ours = (said[-1]["wall"] - said[0]["wall"]) / (n - every)
    (peer,) = measured([Workload("workloads.supernet", "demo", {"n_paths": 16, "batch": 16})], 2 if quick else 16)
    note = (
        "the same network forwards and backwards alone; the demo's training, batch 16: images, losses, update as well"
    )
    return Row(ours, peer.seconds, peer.seconds / ours, "s/step", note)


WAITING: dict[str, Callable[[bool], Row]] = {
    "start_job": partial(start, "job", "hydra", "Hydra's own composition; the demo's command with --cfg job"),
    "start_plan": partial(start, "plan", "imports", "importing nnabla, nnabla-nas, hydra; the demo with plan=true"),
    "start_step": partial(start, "step", "imports", "the same imports; the demo up to its first training step"),
    "check": check,
    "coco_reading": coco_reading,
    "coco_decoding": decoding,
    "coco_ap": coco_precision,
    **{f"export_{kind}": partial(export, kind) for kind in ("nnp", "onnx")},
    "report": report,
    "step_whole": step_whole,
    **{f"steps_{what}": partial(steps, what) for what in ("memory", "time")},
}
