"""The comparisons: each row is a function that measures both sides alternately."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from .genotypes import genotypes
from .paired_timing import Workload, alternate

PATHS = 16  # different paths that a comparison of steps goes through


class Row(NamedTuple):
    """`ours` and `peer` in `unit`; ratio > 1 says that ours is faster. `note`: who the peer is, and what was scaled.

    Without a peer both are None.
    """

    ours: float
    peer: float | None
    ratio: float | None
    unit: str
    note: str


def seconds(tasks: list[Workload], repetitions: int, unit: str, note: str, *, scale: float = 1.0) -> Row:
    """A row in seconds per unit of work, times `scale`."""
    ours, peer = alternate(tasks, repetitions)
    return Row(scale * ours, scale * peer, peer / ours, unit, note)


def rate(tasks: list[Workload], repetitions: int, unit: str, note: str) -> Row:
    """A row in units of work per second."""
    ours, peer = alternate(tasks, repetitions)
    return Row(1 / ours, 1 / peer, peer / ours, unit, note)


def backbone(size: int) -> Workload:
    return Workload("workloads.supernet", "backbone", {"size": size, "genotypes": genotypes(PATHS)})


def step_host(size: int, quick: bool) -> Row:
    """A step of the backbone alone against the host's elastic layers."""
    peer = Workload("workloads.supernet", "host", {"size": size, "genotypes": genotypes(PATHS)}, blas_threads=2)
    note = f"NNablaNAS' elastic layers; {size} px, batch 8, full width"
    return seconds([backbone(size), peer], 2 if quick else 4, "s/step", note)


def step_ofa(size: int, quick: bool) -> Row:
    """A step of the backbone alone against the original."""
    peer = Workload("peers.ofa_tasks", "backbone", {"size": size, "genotypes": genotypes(PATHS)}, "peers", 2)
    note = f"OFA in PyTorch, 2 threads; {size} px, batch 8, full width"
    return seconds([backbone(size), peer], 4 if quick else PATHS // 2, "s/step", note)


def step_detector(size: int, quick: bool) -> Row:
    """A step of the whole detector, our kernels against NNabla's functions."""
    options = {"size": size, "genotypes": genotypes(PATHS)}
    tasks = [
        Workload("workloads.supernet", "detector", {**options, "kernels": kernels}) for kernels in ("numpy", "nnabla")
    ]
    note = f"the same network from NNabla's functions; neck and heads, {size} px, batch 8"
    return seconds(tasks, 2 if quick else 3, "s/step", note)


def step_small(batch: int, quick: bool) -> Row:
    """A step of the demo's detector."""
    from .workloads.supernet import demo_layers  # with nnabla, which no other row needs here

    full, paths = demo_layers(PATHS)
    peer = {"full": full, "paths": paths, "size": 64, "batch": batch}
    tasks = [
        Workload("workloads.supernet", "demo", {"n_paths": PATHS, "batch": batch}),
        Workload("peers.detector", "elastic", peer, "peers", 2),
    ]
    note = f"the same elastic layers in PyTorch, 2 threads; the demo's detector, 64 px, batch {batch}"
    return seconds(tasks, 4 if quick else PATHS, "s/step", note)


def flops(family: str, quick: bool) -> Row:
    n = 20 if quick else 200
    tasks = [
        Workload("workloads.paths", "flops", {"n": 100_000, "family": family}),
        Workload("peers.ofa_tasks", "flops", {"n": n, "family": family}, "peers"),
    ]
    return rate(tasks, 5, "paths/s", "OFA's own FLOPs model's get_efficiency, which takes one path at a time")


def top_bucket(family: str, quick: bool) -> Row:
    bound = 2 if quick else 5
    tasks = [
        Workload("workloads.paths", "top_bucket", {"n": 10_000, "family": family}),
        Workload("workloads.paths", "rejection", {"seconds": bound, "family": family}),
    ]
    note = f"vectorised rejection from uniform draws, {bound} s a run, 1 counted where none fits; our tables are built"
    return rate(tasks, 3, "draws/s", note)


def score(threads: int, quick: bool, batch: int = 100) -> Row:
    n = 400 if quick else 4000
    options = {"n": n, "batch": batch, "threads": threads}
    tasks = [
        Workload("workloads.paths", "score", options),
        Workload("peers.encoder", "score", options, "peers", threads),
    ]
    note = f"nn.TransformerEncoder of the same shape, 22 tokens; {threads} thread{'s' * (threads > 1)}, batch {batch}"
    return rate(tasks, 5, "paths/s", note)


def fit(quick: bool) -> Row:
    """A fit of the path filter, in fewer epochs than the shipped 100."""
    options = {"n": 2000, "epochs": 1 if quick else 3}
    tasks = [Workload("workloads.paths", "fit", options), Workload("peers.encoder", "fit", options, "peers")]
    note = f"a plain PyTorch fit; 2,000 paths of 27 tokens, one thread; scaled to 100 epochs from {options['epochs']}"
    return seconds(tasks, 2 if quick else 3, "s", note, scale=100)


def search(quick: bool) -> Row:
    ours, peer = (25, 5) if quick else (500, 25)
    tasks = [
        Workload("workloads.paths", "search", {"n_limits": 5, "generations": ours}),
        Workload("peers.ofa_tasks", "search", {"limit": 2000, "generations": peer}, "peers", 2),
    ]
    note = (
        f"OFA's EvolutionFinder (2,000 MMACs, 224 px, random predictor); scaled to 500 generations from {peer}; "
        f"ours {ours}, with a path filter, five budgets at once"
    )
    return seconds(tasks, 1 if quick else 2, "s a budget", note, scale=500)


def pruning_share(quick: bool) -> Row:
    n = 200 if quick else 1000
    step = {"size": 64, "genotypes": genotypes(PATHS)}
    batched, one_by_one, training = alternate(
        [
            Workload("workloads.paths", "accepted", {"n": n, "batch": 256}),
            Workload("workloads.paths", "accepted", {"n": n // 10, "batch": 1}),
            Workload("workloads.supernet", "backbone", step),
        ],
        5,
    )
    note = "seconds per accepted path / seconds per step (backbone, 64 px, batch 8); the peer draws one by one"
    return Row(batched / training, one_by_one / training, one_by_one / batched, "share", note)


def loader(workers: int, quick: bool) -> Row:
    n = 16 if quick else 64
    tasks = [
        Workload("workloads.images", "loader", {"n": n, "workers": workers}),
        Workload("workloads.images", "plain", {"n": n}),
    ]
    ours = f"ours with {workers} workers" if workers else "both on one thread"
    note = f"a plain loop in the reference's steps; 512 px, full augmentation; {ours}"
    return rate(tasks, 5, "images/s", note)


def measure_path(quick: bool) -> Row:
    tasks = [Workload("workloads.measuring", "measure", {"kernels": kernels}) for kernels in ("numpy", "nnabla")]
    note = "NNabla's functions; the demo's supernet, 48 images for BN, 96 for the loss"
    return seconds(tasks, 2 if quick else 8, "s/path", note)


def deployed(path: str, quick: bool) -> Row:
    """One image by an exported detector."""
    size = 128 if quick else 384
    tasks = [
        Workload("workloads.deployed", "answer", {"runtime": one, "path": path, "size": size}, one_core=True)
        for one in ("onnx", "nnp", "kernels")
    ]
    ours, peer, kernels = alternate(tasks, 3 if quick else 7)
    note = f"ONNX Runtime beside NNabla's functions (our kernels: {kernels:.3g} s); {path} path"
    return Row(ours, peer, peer / ours, "s/image", f"{note}, {size} px, one image to boxes, one thread")


ROWS: dict[str, Callable[[bool], Row]] = {
    **{f"step_{size}_host": partial(step_host, size) for size in (64, 128, 224)},
    **{f"step_{size}_ofa": partial(step_ofa, size) for size in (64, 128, 224)},
    **{f"step_detector_{size}": partial(step_detector, size) for size in (64, 128)},
    **{f"step_small_{batch}": partial(step_small, batch) for batch in (16, 64)},
    "flops": partial(flops, "ofa_resnet50"),
    "flops_mbv3": partial(flops, "ofa_mbv3"),
    "top_bucket": partial(top_bucket, "ofa_resnet50"),
    "top_bucket_mbv3": partial(top_bucket, "ofa_mbv3"),
    "score": partial(score, 1),
    "score_2_threads": partial(score, 2),
    "fit": fit,
    "search": search,
    "pruning_share": pruning_share,
    "loader": partial(loader, 0),
    "loader_2_threads": partial(loader, 2),
    "measure_path": measure_path,
    **{f"deployed_{path}": partial(deployed, path) for path in ("smallest", "largest")},
}
