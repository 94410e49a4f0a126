"""CenterNet's augmentation and test warp (supplement to 4.1: scale, crop, flip, colour, lighting)."""

from collections.abc import Sequence
from typing import Annotated

import cv2
import numpy as np

from ..detection import affine, fitting_zoom, letterbox
from ..options import Flag, Listed, Number, Options, Whole, ratio, share

# ImageNet statistics of RGB in 0..1: the backbone is pre-trained with them.
MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])
# Principal components of ImageNet's RGB (Krizhevsky et al., 2012, section 4.1); one component a column.
PCA_VALUES = np.array([0.2175, 0.0188, 0.0045])
PCA_VECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
LUMINANCE = np.array([0.299, 0.587, 0.114])
NO_COLOUR_CHANGE = np.eye(3, 4)


class Variation(Options):
    """Variation of training images of any task, beyond where they are cut. Digits and letters want `flip=0`.

    `flip` is a probability, `colour` the greatest relative change of brightness, contrast and saturation, `lighting`
    the standard deviation of the shift along ImageNet's colour components.
    """

    flip: Annotated[float, share()] = 0.5
    colour: Annotated[float, ratio()] = 0.4
    lighting: Annotated[float, Number(least=0)] = 0.1


class Augmentation(Variation):
    """CenterNet's cut of a training image, and its variation.

    A crop has the aspect of what the network sees. With `crop`, it is the smallest that holds the image, times one of
    `scales`, and its centre keeps `border` pixels (halved until it fits) from the image's edge; without, sides and
    centre are jittered by the standard deviations `zoom` and `shift` (cut off at one and two of them).
    """

    crop: Annotated[bool, Flag()] = True
    scales: Annotated[Sequence[float], Listed(Number(above=0), least=1)] = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
    border: Annotated[int, Whole(least=0)] = 128
    shift: Annotated[float, ratio()] = 0.1
    zoom: Annotated[float, ratio()] = 0.4


def centred_warp(size: tuple[int, int], image_size: tuple[int, int]) -> np.ndarray:
    """The centred warp (2, 3) of an image of `size` (width, height) into `image_size` (height, width), aspect kept."""
    width, height = np.array(size)
    return letterbox(width, height, image_size)


def random_warp(
    size: tuple[int, int], image_size: tuple[int, int], augmentation: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """A random crop (2, 3) of an image of `size` (width, height) into `image_size` (height, width), pixels counted from
    0; perhaps mirrored."""
    (width, height), (rows, columns) = size, image_size
    if augmentation.crop:
        scale = rng.choice(augmentation.scales)
        low = np.array([_border(augmentation.border, one) for one in size])
        centre = rng.integers(low, size - low).astype(np.float64)
    else:
        zoom, shift = augmentation.zoom, augmentation.shift
        scale = np.clip(1 + zoom * rng.standard_normal(), 1 - zoom, 1 + zoom)
        around = np.array([max(width, height * columns / rows), max(height, width * rows / columns)])
        centre = np.array(size) / 2 + around * np.clip(shift * rng.standard_normal(2), -2 * shift, 2 * shift)
    fitting = fitting_zoom(width * scale, height * scale, image_size)
    return affine(centre, fitting, image_size, flip=rng.random() < augmentation.flip)


def _border(border: int, size: int) -> int:
    """`border` halved until a stretch of `size` has something between its two borders."""
    while 2 * border >= size and border:
        border //= 2
    return border


def random_colour(mean: np.ndarray, augmentation: Variation, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation changed in random order, then lighting: one affine map (3, 4) of RGB in 0..1.

    Each step is affine in the pixel, given the `mean` (3,) RGB of the warped image, hence so is the whole: one pass
    over the pixels instead of five. As in CenterNet, grey is that of the image before all steps.
    """
    factors = 1 + rng.uniform(-augmentation.colour, augmentation.colour, size=3)
    colour = NO_COLOUR_CHANGE.copy()
    for step in rng.permutation(3):
        factor = factors[step]
        colour *= factor
        if step == 1:  # contrast: towards the mean grey
            colour[:, 3] += (1 - factor) * (LUMINANCE @ mean)
        elif step == 2:  # saturation: towards the pixel's grey
            colour[:, :3] += (1 - factor) * LUMINANCE
    colour[:, 3] += PCA_VECTORS @ (PCA_VALUES * augmentation.lighting * rng.standard_normal(3))
    return colour


def warp(pixels: np.ndarray, matrix: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """`pixels` (h, w, 3) uint8 under the warp (2, 3): (*image_size, 3), bilinear, black outside."""
    return cv2.warpAffine(pixels, matrix, image_size[::-1], flags=cv2.INTER_LINEAR)


def mean_rgb(pixels: np.ndarray) -> np.ndarray:
    """The mean colour (3,) in 0..1 of BGR bytes."""
    return np.array(cv2.mean(pixels)[2::-1]) / 255


def normalise(pixels: np.ndarray, colour: np.ndarray, out: np.ndarray) -> None:
    """Write BGR bytes (h, w, 3) into `out` (3, h, w) float32: RGB under `colour`, in ImageNet's standard units.

    The change of channel order and of layout is part of one compiled pass.
    """
    from .colouring import colour as write  # Numba takes half a second to import, which only training needs

    linear = (colour[:, 2::-1] / 255 / DEVIATION[:, None]).astype(np.float32)
    constant = ((colour[:, 3] - MEAN) / DEVIATION).astype(np.float32)
    planes = cv2.split(np.ascontiguousarray(pixels))
    write(*(plane.reshape(-1) for plane in planes), linear, constant, out.reshape(3, -1))
