"""Generated letters: 26 classes in faces of the fonts that Matplotlib ships, turned, slanted, coloured, with noise.

Harder than the digits, so that larger networks find more: the miniature of the paper's experiments (Section 4).
"""

from __future__ import annotations

import importlib.util
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import DataError
from ..options import Listed, Number, OneOf, Sides, Whole, share
from .dataset import LETTERS
from .generated import Picture, kept, write_devkit
from .scenes import Box, SceneOptions, as_bytes, background, cut, painted, photographs, place, require_visible

VERSION = 1  # of the pictures: raise it when the same options would give others
FOLDER = "mpl-data/fonts/ttf"  # of Matplotlib
FACES = (
    *("Sans", "Sans-Bold", "Sans-Oblique", "SansMono", "SansMono-Bold"),
    *("Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic", "Sans-BoldOblique"),
)
DRAWN = 96  # pixels of an em at which a letter is drawn, before it is turned and made smaller


class LettersOptions(SceneOptions):
    """Options of the letters' pictures.

    `classes` are the letters, named "A" to "Z" in the annotations; equally many objects of each are drawn. `faces` are
    those of the DejaVu fonts. A letter is turned by up to `rotation` degrees to either side and slanted by up to
    `shear` of its height; `colour` is by how much the parts of its colour differ, `noise` the standard deviation of
    every pixel (of 1).
    """

    classes: Annotated[
        Sequence[str], Listed(OneOf("letter", lambda: string.ascii_uppercase), least=1, different=True)
    ] = tuple(string.ascii_uppercase)
    n_train: Annotated[int, Whole()] = 12000
    n_test: Annotated[int, Whole()] = 1500
    image_size: Annotated[tuple[int, int], Sides(Whole(least=16))] = (64, 64)
    faces: Annotated[Sequence[str], Listed(OneOf("face", lambda: FACES), least=1, different=True)] = FACES[:8]
    rotation: Annotated[float, Number(least=0, most=180)] = 25.0
    shear: Annotated[float, share()] = 0.2
    colour: Annotated[float, share()] = 0.4
    noise: Annotated[float, share()] = 0.03


def generate(root: str | Path, options: LettersOptions) -> Path:
    """The data set of these `options` in a folder of its own below `root`, as `kept` keeps it: a VOCdevkit with the
    splits trainval and test of VOC2007."""
    require_visible(options, "letters")

    def write(made: Path) -> None:
        write_devkit(made, {"trainval": pictures(options, testing=False), "test": pictures(options, testing=True)})

    return kept(root, "letters", {"version": VERSION, **options.model_dump()}, write)


def pictures(options: LettersOptions, *, testing: bool) -> Iterator[Picture]:
    """All of a split; the other one has other parts of the photographs, and other random numbers."""
    glyphs, parts = drawn(options), photographs(testing=testing)
    rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(LETTERS, int(testing))))
    least, most = options.objects
    counts = rng.integers(least, most, size=options.n_test if testing else options.n_train, endpoint=True)
    waiting = in_equal_numbers(options.classes, int(counts.sum()), rng)
    for number, n in enumerate(counts.tolist()):
        own = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(LETTERS, int(testing), number)))
        yield picture(glyphs, parts, [waiting.pop() for _ in range(n)], options, own)


def in_equal_numbers(classes: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """So many of the classes, in random order; the numbers of two differ by one at most."""
    every = [*classes] * (n // len(classes)) + rng.permutation([*classes])[: n % len(classes)].tolist()
    return [every[i] for i in rng.permutation(n)]


def drawn(options: LettersOptions) -> dict[str, list[np.ndarray]]:
    """Opacities in 0..1 of each letter in each face, cut to the ink; DataError where the fonts are not there."""
    found: dict[str, list[np.ndarray]] = {letter: [] for letter in options.classes}
    for face in options.faces:
        font = _font(face)
        for letter, own in found.items():
            sheet = Image.new("L", (2 * DRAWN, 2 * DRAWN))
            ImageDraw.Draw(sheet).text((DRAWN // 2, DRAWN // 4), letter, fill=255, font=font)
            own.append(cut(np.asarray(sheet) / 255))
    return found


def _font(face: str) -> ImageFont.FreeTypeFont:
    spec = importlib.util.find_spec("matplotlib")
    for folder in (spec and spec.submodule_search_locations) or []:
        if (file := Path(folder) / FOLDER / f"DejaVu{face}.ttf").is_file():
            return ImageFont.truetype(str(file), DRAWN)
    raise DataError(f"the letters need DejaVu{face}.ttf, which Matplotlib ships; pip install matplotlib")


def picture(
    glyphs: dict[str, list[np.ndarray]],
    parts: list[np.ndarray],
    letters: Sequence[str],
    options: LettersOptions,
    rng: np.random.Generator,
) -> Picture:
    """These letters on a part of a photograph; one that finds no place is left out."""
    canvas = background(parts, options, rng)
    placed: dict[Box, str] = {}
    for letter in letters:
        opacity = _turned(glyphs[letter][rng.integers(len(options.faces))], options, rng)
        box = place(opacity.shape, options.image_size, placed, rng)
        if box is not None:
            x1, y1, x2, y2 = box
            under = canvas[y1:y2, x1:x2]
            canvas[y1:y2, x1:x2] = painted(under, opacity, options.contrast, rng, tint=options.colour)
            placed[box] = letter
    canvas += options.noise * rng.standard_normal(canvas.shape)
    return Picture(as_bytes(canvas), placed)


def _turned(opacity: np.ndarray, options: LettersOptions, rng: np.random.Generator) -> np.ndarray:
    """The letter turned, slanted and at its size in the picture, cut to its ink."""
    angle = np.radians(rng.uniform(-options.rotation, options.rotation))
    slant = rng.uniform(-options.shear, options.shear)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[1, slant], [0, 1]])
    height, width = opacity.shape
    around = np.abs(turn) @ [width, height]  # its bounding box, as large as drawn
    smallest, largest = options.scale
    side = min(options.image_size) * rng.uniform(smallest, largest)
    turn *= side / max(around)
    sides = np.ceil(around * side / max(around)).astype(int) + 4
    shift = (sides - 1) / 2 - turn @ [(width - 1) / 2, (height - 1) / 2]
    # what is made smaller is blurred first, or thin strokes are lost between pixels
    blur = max(0.0, 0.4 * max(around) / side - 0.4)
    soft = cv2.GaussianBlur(np.pad(opacity, 8), (0, 0), blur) if blur > 0 else np.pad(opacity, 8)
    matrix = np.column_stack([turn, shift - turn @ [8, 8]])
    small = cv2.warpAffine(soft, matrix, tuple(sides.tolist()), flags=cv2.INTER_LINEAR)
    rows, columns = options.image_size
    return cut(np.clip(1.5 * small, 0, 1))[:rows, :columns]
