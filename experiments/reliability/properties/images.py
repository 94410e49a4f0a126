"""Image files and lists of images as they should not be."""

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image as Pillow

from nnabla_detofa.data.image_folder import read_image_folder
from nnabla_detofa.data.images import MAX_PIXELS, read_image

from .answers import Property, answer
from .mutations import ODD_TEXTS, mutated

WIDTH, HEIGHT = 24, 18


@cache
def picture(kind: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    """A small valid image file."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    file = BytesIO()
    Pillow.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def write(file: Path, content: bytes | str) -> Path:
    """The file with this content, its folder made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return file


PICTURES = [
    *(picture(mode=mode) for mode in ("RGB", "L", "CMYK")),
    picture(progressive=True),
    picture(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    *(picture("PNG", mode) for mode in ("RGB", "L", "P", "RGBA", "1", "I;16")),
    *(picture(kind) for kind in ("BMP", "WEBP", "TIFF")),
    picture("TIFF", compression="tiff_lzw"),
]


def read_picture(data: bytes, folder: Path) -> str:
    """Decoded, or refused; never more pixels than are allowed."""
    file = write(folder / "a.jpg", data)
    found: list[np.ndarray] = []
    said = answer(lambda: found.append(read_image(file)))
    for pixels in found:
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
        assert pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS
    answer(lambda: read_image(file, (WIDTH, HEIGHT)))
    return said


def rarely(draw: Any, odd: st.SearchStrategy, usual: st.SearchStrategy) -> st.SearchStrategy:
    """One in ten is odd, so that documents with many parts have a chance to be sound."""
    return odd if draw(st.integers(0, 9)) == 9 else usual


FILES = [f"{number}.jpg" for number in range(9)]
LETTERS = st.text("abc ", max_size=3)


@st.composite
def lines(draw: Any, usual: list[str], odd: list[str], labels: st.SearchStrategy[str]) -> str:
    """A list of names, with labels; now and then a name or label is odd."""
    some = draw(st.integers(0, 5))
    parts = [
        draw(rarely(draw, st.sampled_from([*odd, *ODD_TEXTS]), st.sampled_from(usual)))
        + draw(rarely(draw, st.sampled_from(ODD_TEXTS), labels))
        for _ in range(some)
    ]
    return draw(st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", "\x85"])).join(parts)


def names() -> st.SearchStrategy[str]:
    """A split's names."""
    odd = ["../secret", "./0", "../VOC2007/0", "0/../0", "//0", "JPEGImages", "../JPEGImages/0"]
    return lines([name[0] for name in FILES], odd, st.sampled_from(["", "", " ", "\t"]))


def read_list(content: str, folder: Path) -> str:
    """The list of an image folder's images; nothing outside is opened."""
    if not (folder / "train").exists():
        for name in FILES:
            write(folder / "train" / "cat" / name, picture())
        write(folder / "secret.jpg", picture())
    listed = write(folder / "list.txt", content)

    def read() -> None:
        dataset = read_image_folder(folder, "train", listed=listed)
        for index in range(len(dataset)):
            assert folder / "train" in dataset.file(index).resolve().parents
            read_image(dataset.file(index))

    return answer(read)


def listed_files() -> st.SearchStrategy[str]:
    """Lines of file and class."""
    odd = ["cat", "cat/", "../secret.jpg", "cat/../cat/0.jpg", "cat/\0", "\0/0.jpg", "cat//0.jpg", "./cat/0.jpg"]
    return lines([f"cat/{name}" for name in FILES], odd, LETTERS.map(lambda label: label and f" {label}"))


PROPERTIES = {
    "images": Property(mutated(PICTURES), read_picture),
    "image_folder_list": Property(listed_files(), read_list),
}
