"""Channel numbers of every elastic choice (Table 1, rounded as in OFA); supernet and cost model read them here."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

STEM = 64
STAGES = (256, 512, 1024, 2048)


class Channels(NamedTuple):
    """Channel numbers by choice index, ascending as the choices are.

    stem_mid[w1] feeds the stem's second half, stem_out[w2] leaves it; stage_out[stage][w]; middle[stage][w][e] is the
    width inside a bottleneck.
    """

    stem_mid: tuple[int, ...]
    stem_out: tuple[int, ...]
    stage_out: tuple[tuple[int, ...], ...]
    middle: tuple[tuple[tuple[int, ...], ...], ...]


class Canonical(NamedTuple):
    """By choice index the choice that stands for all with the same channels: the largest of them.

    stem_mid, stem_out (W,); stage_out (stages, W); middle (stages, W, E).
    """

    stem_mid: np.ndarray
    stem_out: np.ndarray
    stage_out: np.ndarray
    middle: np.ndarray


def canonical_choices(channels: Channels, *, merge: bool) -> Canonical:
    """Which choices are one where equal ones are merged; without `merge` each stands for itself."""

    def stands_for(table: Iterable) -> np.ndarray:
        numbers = np.array(table)
        own = np.broadcast_to(np.arange(numbers.shape[-1]), numbers.shape)
        equal = numbers[..., None, :] == numbers[..., None]
        return np.where(equal, own[..., None, :], -1).max(axis=-1) if merge else own

    return Canonical(*map(stands_for, channels))


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `value`, one higher where that would lose more than a tenth of it."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * value else nearest + divisor


def channel_table(
    widths: Iterable[float], expands: Iterable[float], *, width_scale: float = 1.0, divisor: int = 8
) -> Channels:
    """Channels of the stem and of the four stages for each W and E, all stages narrowed by `width_scale`."""
    widths, expands = tuple(widths), tuple(expands)
    stem_out = tuple(make_divisible(STEM * w * width_scale, divisor) for w in widths)
    stage_out = tuple(tuple(make_divisible(base * w * width_scale, divisor) for w in widths) for base in STAGES)
    return Channels(
        stem_mid=tuple(make_divisible(out // 2, divisor) for out in stem_out),
        stem_out=stem_out,
        stage_out=stage_out,
        middle=tuple(
            tuple(tuple(make_divisible(round(out * e), divisor) for e in expands) for out in outs) for outs in stage_out
        ),
    )


def coinciding_choices(channels: Channels, widths: tuple[float, ...], expands: tuple[float, ...]) -> list[str]:
    """One line for each pair of neighbouring choices that rounding gives the same channels."""
    rows = [
        ("stem, first width", "W", widths, channels.stem_mid),
        ("stem, second width", "W", widths, channels.stem_out),
    ]
    for stage, (outs, middles) in enumerate(zip(channels.stage_out, channels.middle, strict=True)):
        rows.append((f"stage {stage}", "W", widths, outs))
        rows += [(f"stage {stage}, W {w}", "E", expands, middle) for w, middle in zip(widths, middles, strict=True)]
    return [
        f"{place}: {letter} {choices[i]} and {choices[i + 1]} both give {numbers[i]} channels"
        for place, letter, choices, numbers in rows
        for i in range(len(numbers) - 1)
        if numbers[i] == numbers[i + 1]
    ]
