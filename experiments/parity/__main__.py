"""Our detector beside CenterNet on MIT's OFA-ResNet50 in PyTorch: the same weights, the same batches, and what differs.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m experiments.parity --voc VOCDEVKIT --out FOLDER

Writes full.md, quarter.md, training.md, curves.csv and curves.png into FOLDER. The reference (`reference.py`) runs in
the peers' environment, which `make .venv-peers/stamp` builds. All differences are ‖ours − theirs‖ / ‖theirs‖ of whole
tensors, theirs in double precision.
"""

import argparse
import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from nnabla_detofa.supernet import reestimate

from . import ours
from .exchange import Arrays, ask, from_torch, group, prefixed, to_torch

RANDOM_PATHS, STEPS = 5, 3
RATE = 1.25e-4  # CenterNet's
LIMITS = {"gradient": 1e-4, "change": 1e-3}
STATISTICS = "running_"

FULL = ours.Settings(n_classes=3)
QUARTER = ours.Settings(n_classes=3, neck=(64, 64, 64), width_scale=0.25, channel_divisor=1)  # no two choices are equal


def difference(found: np.ndarray, truth: np.ndarray) -> float:
    """‖found − truth‖ / ‖truth‖; 0 where both are 0, infinite where the truth alone is."""
    found, truth = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    distance, size = np.linalg.norm(found - truth), np.linalg.norm(truth)
    return float(distance and (distance / size if size else np.inf))


def differences(found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> dict[str, float]:
    """By name, the largest first; ValueError unless both have the same names."""
    if found.keys() != truth.keys():
        raise ValueError(f"only one side has {sorted(found.keys() ^ truth.keys())[:4]}")
    each = {name: difference(value, truth[name]) for name, value in found.items()}
    return dict(sorted(each.items(), key=lambda pair: -pair[1]))


class Row(NamedTuple):
    """Differences by tensor of one side on one path; what was not compared is empty."""

    path: str
    side: str
    maps: dict[str, float]
    losses: dict[str, float]
    gradient: dict[str, float]
    change: dict[str, float]
    statistics: dict[str, float]
    held_gradient: dict[str, float]
    held_change: dict[str, float]
    solver: dict[str, float]
    corrected_solver: dict[str, float]


def named_paths(space) -> dict[str, np.ndarray]:
    """The largest, the smallest and random ones."""
    drawn = space.sample(RANDOM_PATHS, np.random.default_rng(0))
    return {"largest": space.largest(), "smallest": space.smallest()} | {
        f"random {i}": path for i, path in enumerate(drawn, 1)
    }


def settled(weights: Arrays) -> Arrays:
    """The weights with normalisations as training leaves them: they differ, and the last scales of blocks are small.

    Fresh residual blocks under scales of 1 amplify rounding by orders of magnitude, in PyTorch as here.
    """
    rng, changed = np.random.default_rng(1), dict(weights)
    for name, value in weights.items():
        if name.endswith("_gamma"):
            scale = 0.2 if "/conv3/" in name else 1.0
            changed[name] = (scale * rng.uniform(0.5, 1.5, value.shape)).astype(np.float32)
        elif name.endswith("_beta"):
            changed[name] = rng.normal(0, 0.3, value.shape).astype(np.float32)
    return changed


def compare_steps(
    settings: ours.Settings, weights: Arrays, images: np.ndarray, targets: Sequence[np.ndarray], paths: Mapping
) -> Iterable[Row]:
    """Maps, losses, gradient and three steps of Adam: PyTorch's float32 and both of our kernels."""
    batch = {"images": images, **prefixed("targets", dict(zip("01234", targets, strict=True)))}
    given = {**batch, **prefixed("weights", to_torch(weights))}
    for name, path in paths.items():
        options = {"network": settings._asdict(), "genotype": settings.space().genotype(path)}
        options |= {"steps": STEPS, "rate": RATE}
        answer = ask("steps", given, options)
        truth = group(answer, "float64")
        yield row(name, "PyTorch float32", truth, group(answer, "float32"))
        for kernels in ours.KERNELS:
            found = ours.steps(ours.network(settings, kernels, weights), path, images, targets, rate=RATE, n=STEPS)
            held = ask("held", {**given, **found.kinks}, options)
            yield row(name, f"ours, {kernels}", truth, found.first, held, found.gradients)


def row(path: str, side: str, truth: Arrays, found: Arrays, held: Arrays | None = None, gradients=()) -> Row:
    """The differences of what a side `found`; `held` and its `gradients` where there are."""

    def alone(*, corrected: bool) -> dict[str, float]:
        names = gradients[0] if gradients else ()
        change = {name: ours.adam([one[name] for one in gradients], RATE, corrected=corrected) for name in names}
        return differences({name: found[f"change/{name}"] for name in names}, change)

    def compared(kind: str, truth: Arrays, *, statistics: bool = False) -> dict[str, float]:
        one, other = (
            {name: value for name, value in group(arrays, kind).items() if (STATISTICS in name) == statistics}
            for arrays in (found, truth)
        )
        return differences(one, other)

    return Row(
        path=path,
        side=side,
        maps=compared("maps", truth),
        losses=compared("losses", truth),
        gradient=compared("gradient", truth),
        change=compared("change", truth),
        statistics=compared("change", truth, statistics=True),
        held_gradient=compared("gradient", held) if held else {},
        held_change=compared("change", held) if held else {},
        solver=alone(corrected=False),
        corrected_solver=alone(corrected=True),
    )


def worst(each: Mapping[str, float]) -> str:
    return f"{max(each.values()):.1e}" if each else "–"


def spread(each: Mapping[str, float], limit: float) -> str:
    """The largest, the median, and how many are above the limit of those that are not 0 on both sides."""
    values = [value for value in each.values() if value]
    if not values:
        return "–"
    return f"{max(values):.1e} ({np.median(values):.1e}; {sum(v > limit for v in values)} of {len(values)})"


def steps_table(rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table, and the worst tensors of each of our kernels."""
    heads = ("path", "side", "maps", "losses", "gradient", "kinks held", "3 steps of Adam", "kinks, ε held")
    heads += ("solver alone", "solver, PyTorch's ε", "running statistics")
    lines = [f"| {' | '.join(heads)} |", "|---|---" + "|---:" * 9 + "|"]
    for one in rows:
        cells = [one.path, one.side, worst(one.maps), worst(one.losses)]
        cells += [spread(each, LIMITS["gradient"]) for each in (one.gradient, one.held_gradient)]
        cells += [spread(each, LIMITS["change"]) for each in (one.change, one.held_change)]
        cells += [worst(each) for each in (one.solver, one.corrected_solver, one.statistics)]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for kernels in ours.KERNELS:
        for field in ("gradient", "held_gradient", "change", "held_change", "solver", "corrected_solver"):
            found = [
                (value, one.path, name)
                for one in rows
                if one.side.endswith(kernels)
                for name, value in getattr(one, field).items()
            ]
            told = ", ".join(f"{name} {value:.1e} ({path})" for value, path, name in sorted(found, reverse=True)[:3])
            lines.append(f"- {kernels}, {field.replace('_', ' ')}, worst tensors: {told}")
    return lines


# -- two hundred steps ------------------------------------------------------------------------------------------------


def compare_curves(settings: ours.Settings, train, *, n: int, rate: float) -> dict[str, np.ndarray]:
    """Losses (n, 3) from either initialisation on either side."""
    space = settings.space()
    paths = space.sample(n, np.random.default_rng(2))
    batches = [train.next() for _ in range(n)]
    images = np.stack([batch["inputs"][0] for batch in batches])
    targets = [np.stack(each) for each in zip(*(batch["targets"] for batch in batches), strict=True)]
    options = {"network": settings._asdict(), "genotypes": [space.genotype(path) for path in paths], "rate": rate}
    fresh = ours.weights_of(ours.network(settings))
    upstream = ask("initial", {}, {**options, "seed": 0})
    starts = {"ours": fresh, "upstream's": from_torch(upstream, {name: value.shape for name, value in fresh.items()})}
    curves = {}
    for start, weights in starts.items():
        training = ours.Training(ours.network(settings, "numpy", weights), rate)
        steps = [training.step(*step)["losses"] for step in zip(paths, images, zip(*targets, strict=True), strict=True)]
        curves[f"initialised as {start}, nnabla_detofa"] = np.array([[float(x) for x in one.values()] for one in steps])
        given = {"images": images, **prefixed("targets", dict(zip("01234", targets, strict=True)))}
        answer = ask("curve", {**given, **prefixed("weights", to_torch(weights))}, options)
        curves[f"initialised as {start}, PyTorch"] = answer["losses"]
    return curves


def total(losses: np.ndarray) -> np.ndarray:
    return losses @ [1.0, 0.1, 1.0]


def write_curves(curves: Mapping[str, np.ndarray], out: Path) -> list[str]:
    """curves.csv and curves.png; lines of a Markdown table of means over stretches of steps."""
    with (out / "curves.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["step", *(f"{name}, {term}" for name in curves for term in ("heatmap", "size", "offset"))])
        for step, values in enumerate(np.concatenate(list(curves.values()), axis=1), 1):
            table.writerow([step, *(f"{value:.6g}" for value in values)])
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    for axis, start in zip(axes, ("ours", "upstream's"), strict=True):
        for side, style in (("nnabla_detofa", "-"), ("PyTorch", "--")):
            axis.plot(
                np.arange(1, len(next(iter(curves.values()))) + 1),
                total(curves[f"initialised as {start}, {side}"]),
                style,
                lw=1,
                label=side,
            )
        axis.set(title=f"initialised as {start}", xlabel="step", yscale="log")
        axis.legend()
    axes[0].set_ylabel("loss")
    figure.savefig(out / "curves.png", dpi=110)
    n = len(next(iter(curves.values())))
    stretches = [(a, b) for a, b in pairwise((0, 1, 10, 50, 100, 150, 200)) if b <= n]
    lines = [
        "| mean loss of steps | " + " | ".join(f"{a + 1}–{b}" for a, b in stretches) + " |",
        "|---" + "|---:" * len(stretches) + "|",
    ]
    lines += [
        f"| {name} | " + " | ".join(f"{total(values)[a:b].mean():.4f}" for a, b in stretches) + " |"
        for name, values in curves.items()
    ]
    for start in ("ours", "upstream's"):
        one, other = (total(curves[f"initialised as {start}, {side}"]) for side in ("nnabla_detofa", "PyTorch"))
        apart = np.abs(one / other - 1)
        lines.append(
            f"\nInitialised as {start}, the two sides' losses differ by {apart[0]:.1e} at step 1,"
            f" {apart[:10].max():.1e} within 10 and {apart.max():.1e} within {len(apart)} (relative)."
        )
    return lines


# -- detections -------------------------------------------------------------------------------------------------------


def trained(settings: ours.Settings, train, *, n: int, rate: float) -> Arrays:
    """Weights after n steps on random paths, from blocks that start as the identity: those learn soonest."""
    start = ours.weights_of(ours.network(settings))
    for name, value in start.items():
        if name.endswith("_gamma") and "/conv3/" in name:
            value[:] = 0
    training = ours.Training(ours.network(settings, "numpy", start), rate)
    for path in settings.space().sample(n, np.random.default_rng(3)):
        batch = train.next()
        training.step(path, batch["inputs"][0], batch["targets"])
    return ours.weights_of(training.network)


def compare_detections(settings: ours.Settings, weights: Arrays, paths: Mapping, train, test) -> list[str]:
    """Lines of a Markdown table: maps with running statistics, decoded boxes and AP of the test split."""
    asked = ours.ask_of(test)
    n_images, calibration = len(asked["images"]), train.images(np.arange(128))
    lines = [
        "| path | maps | same maps: equal rows | own maps: equal rows | boxes, px | scores | AP, ours | AP, theirs |",
        "|---" + "|---:" * 7 + "|",
    ]
    for name, path in paths.items():
        detector = ours.network(settings, "numpy", weights)
        detector.activate(path)
        reestimate(detector, np.split(calibration, 4))
        found = ours.evaluation(detector, test)
        options = {"network": settings._asdict(), "genotype": settings.space().genotype(path), "batch": 16}
        given = {
            **asked,
            **prefixed("given", found["maps"]),
            **prefixed("weights", to_torch(ours.weights_of(detector))),
        }
        answer = ask("detect", given, options)
        decoded, theirs = ours.decoded(found["maps"]), group(answer, "given")
        exact = np.mean((decoded["label"] == theirs["label"]) & (decoded["box"] == theirs["box"]).all(axis=2))
        own, other = found["detections"], group(answer, "detections")
        apart = np.abs(own["box"] - other["box"]).max(axis=1)
        same = (own["image"] == other["image"]) & (own["label"] == other["label"]) & (apart < 0.1)
        scores = np.abs(own["score"] - other["score"])[same].max()
        maps = differences(found["maps"], group(answer, "maps"))
        lines.append(
            f"| {name} | {worst(maps)} | {exact:.2%} | {same.mean():.2%} | {apart[same].max():.1e} | {scores:.1e}"
            f" | {found['ap']:.6f} | {answer['ap'].mean():.6f} |"
        )
    return [*lines, "", f"{n_images} test images, 100 rows each."]


def full(voc: str, out: Path) -> list[str]:  # noqa: ARG001 - as `training`
    """Steps at full width."""
    return ["## Steps at full width, settled weights", "", *steps_of(FULL, voc, image_size=64, change=settled)]


def quarter(voc: str, out: Path) -> list[str]:  # noqa: ARG001
    """Steps at a quarter of the width."""
    return [
        "## Steps at a quarter of the width, fresh weights",
        "",
        *steps_of(QUARTER, voc, image_size=128, change=dict),
    ]


def steps_of(settings: ours.Settings, voc: str, *, image_size: int, change) -> list[str]:
    batch = ours.loader(voc, training=True, batch=4, image_size=image_size).next()
    weights = change(ours.weights_of(ours.network(settings)))
    paths = named_paths(settings.space())
    return steps_table(list(compare_steps(settings, weights, batch["inputs"][0], batch["targets"], paths)))


def training(voc: str, out: Path, *, n: int = 200) -> list[str]:
    """Loss curves, and what the trained weights find."""
    train = ours.loader(voc, training=True, batch=8, image_size=128)
    test = ours.loader(voc, training=False, batch=16, image_size=128)
    curves = write_curves(compare_curves(QUARTER, train, n=n, rate=2e-3), out)
    weights = trained(QUARTER, train, n=2 * n, rate=2e-3)
    found = compare_detections(QUARTER, weights, named_paths(QUARTER.space()), train, test)
    return ["## Training", "", *curves, "", "## Detections", "", *found]


PARTS = {"full": full, "quarter": quarter, "training": training}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voc", required=True, help="a VOCdevkit of three classes, for instance BCCD's")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is found")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else PARTS:
        lines = PARTS[name](options.voc, options.out)
        (options.out / f"{name}.md").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
