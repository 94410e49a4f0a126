"""Channel numbers of every elastic choice of OFA-ResNet50 (Table 1), rounded as in OFA."""

from collections.abc import Sequence
from typing import Any, NamedTuple

STEM_CHANNELS = 64
STAGES = (256, 512, 1024, 2048)


class Channels(NamedTuple):
    """Channel numbers, or other arrays of that form, by choice index, ascending as the choices are.

    stem_mid[w1] feeds the stem's second half, stem_out[w2] leaves it; stage_out[stage][w]; middle[stage][w][e] is the
    width inside a bottleneck.
    """

    stem_mid: Any
    stem_out: Any
    stage_out: Any
    middle: Any


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `value`, one higher where that would lose more than a tenth of it."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * value else nearest + divisor


def channel_table(widths: Sequence[float], expands: Sequence[float], *, width_scale: float, divisor: int) -> Channels:
    """Channels of the stem and of the four stages for each W and E, all stages narrowed by `width_scale`."""

    def narrowed(base: int) -> tuple[int, ...]:
        return tuple(make_divisible(base * w * width_scale, divisor) for w in widths)

    stem_out, stage_out = narrowed(STEM_CHANNELS), tuple(map(narrowed, STAGES))
    middle = [[[make_divisible(round(out * e), divisor) for e in expands] for out in outs] for outs in stage_out]
    return Channels(
        stem_mid=tuple(make_divisible(out // 2, divisor) for out in stem_out),
        stem_out=stem_out,
        stage_out=stage_out,
        middle=tuple(tuple(map(tuple, of_stage)) for of_stage in middle),
    )
