"""3×3 convolutions of stride 1 with 2.25 times fewer products: minimal filtering F(2×2, 3×3) (Lavin and Gray, 2016).

A map is cut into tiles of 4×4 pixels, two apart. Each of the 16 points of the transformed tiles is one matrix product
over channels, and 16 points give 2×2 pixels of the output: Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)] A (their Equation 12).
Points of maps are (16, C, h·w·B): with the batch last, a row of tiles is one run in memory.
"""

import numpy as np

from .parallel import over

_CHUNK_BYTES = 1 << 22  # of a map's points at a time: they stay in the caches until the product has read them
_BLOCK_FLOATS = 1 << 16  # of a map's points that are made at a time
_MACS_A_FLOAT = 16  # as in `convolution`
_LEAST_CHANNELS = 40  # with fewer, transforming the map costs more than the products that are saved

_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
_G_BOTH = np.kron(_G, _G)  # (16, 9): along rows and columns at once
_TURNED = np.array([4 * i + j for i in (3, 1, 2, 0) for j in (3, 1, 2, 0)])  # the points of a filter turned by 180°


def pays(matrix: np.ndarray, n_pixels: int) -> bool:
    """Whether this is faster, for filters (o, i·9) and a map's pixels over the batch, fewer of which than channels
    would make transforming the filters the larger part."""
    fewest, most = sorted((len(matrix), matrix.shape[1] // 9))
    return fewest >= _LEAST_CHANNELS and most <= n_pixels


def correlate(matrix: np.ndarray, x: np.ndarray, out: np.ndarray, *, add: bool = False) -> None:
    """Write or add the filters `matrix` (o, i·9) over x (i, B, H, W), padded by one pixel, to out (o, B, H, W)."""
    _apply(_filter_points(matrix), x, out, add)


def spread(matrix: np.ndarray, y: np.ndarray, out: np.ndarray, *, add: bool = False) -> None:
    """The adjoint of `correlate` in its map: out (i, B, H, W) from y (o, B, H, W)."""
    _apply(_filter_points(matrix)[_TURNED].swapaxes(1, 2), y, out, add)


def add_product(matrix: np.ndarray, y: np.ndarray, x: np.ndarray) -> None:
    """The adjoint of `correlate` in its filters, added to `matrix` (o, i·9); y (o, B, H, W), x (i, B, H, W).

    The threads share the channels of x, so no two write to one place and every sum has one order.
    """
    batch = x.shape[1]
    images_a_chunk = max(1, _CHUNK_BYTES * batch // (16 * max(x.size, y.size)))
    total = np.zeros((16, len(y), len(x)), np.float32)
    for start in range(0, batch, images_a_chunk):
        images = slice(start, min(start + images_a_chunk, batch))
        points = np.empty((16, len(y), _n_tiles(y[:, images])), np.float32)

        def of_gradient(part: slice, chunk=y[:, images], points=points) -> None:
            _gradient_points(chunk[part], points[:, part])

        def by_channels(part: slice, chunk=x[:, images], points=points) -> None:
            total[:, :, part] += points @ _map_points(chunk[part]).swapaxes(1, 2)

        over(len(y), of_gradient, work=4 * y.size)
        over(len(x), by_channels, work=points[0].size * len(x) // _MACS_A_FLOAT)

    def to_filters(part: slice) -> None:
        filters = np.tensordot(_G_BOTH, total[:, part], axes=(0, 0)).reshape(9, -1, len(x))
        corner = matrix[part].reshape(-1, len(x), 9)
        corner += filters.transpose(1, 2, 0)

    over(len(matrix), to_filters, work=matrix.size)


def _apply(points: np.ndarray, x: np.ndarray, out: np.ndarray, add: bool) -> None:
    """Filters given by their points (16, o, i) over x (i, B, H, W)."""
    batch = x.shape[1]

    def by_images(images: slice) -> None:
        _to_map(points @ _map_points(x[:, images]), out[:, images], add)

    most = _CHUNK_BYTES * batch // (16 * max(x.size, out.size))
    over(batch, by_images, work=points[0].size * x[0].size // _MACS_A_FLOAT, most=most)


def _n_tiles(x: np.ndarray) -> int:
    """Tiles of a map (C, B, H, W) over all its images."""
    return x.shape[1] * _half(x.shape[2]) * _half(x.shape[3])


def _half(side: int) -> int:
    return (side + 1) // 2


def _filter_points(matrix: np.ndarray) -> np.ndarray:
    """G g Gᵀ of filters (o, i·9): (16, o, i)."""
    points = np.empty((16, len(matrix), matrix.shape[1] // 9), np.float32)

    def work(part: slice) -> None:
        points[:, part] = np.tensordot(_G_BOTH, matrix[part].reshape(-1, points.shape[2], 9), axes=(1, 2))

    over(len(matrix), work, work=points.size)
    return points


def _map_points(x: np.ndarray) -> np.ndarray:
    """Bᵀ d B of every tile of x (C, B, H, W), padded by one pixel: (16, C, h·w·B)."""
    channels, batch, height, width = x.shape
    h, w = _half(height), _half(width)
    out = np.empty((4, 4, channels, h, w, batch), np.float32)
    block = min(channels, max(1, _BLOCK_FLOATS // (4 * h * w * batch)))
    padded = np.zeros((block, 2, h + 1, 2, w + 1, batch), np.float32)  # even rows and columns apart from odd ones
    columns = np.empty((4, block, 2, h + 1, w, batch), np.float32)
    for start in range(0, channels, block):
        n = min(block, channels - start)
        pixels = x[start : start + n].transpose(0, 2, 3, 1)
        for i in range(2):
            for j in range(2):  # the padding makes the first row and column odd ones
                odd = pixels[:, i::2, j::2]
                padded[:n, 1 - i, i : i + odd.shape[1], 1 - j, j : j + odd.shape[2]] = odd
        _bt([padded[:n, :, :, j % 2, j // 2 : j // 2 + w] for j in range(4)], columns[:, :n])
        _bt([columns[:, :n, i % 2, i // 2 : i // 2 + h] for i in range(4)], out[:, :, start : start + n])
    return out.reshape(16, channels, -1)


def _bt(d: list[np.ndarray], out: np.ndarray) -> None:
    """Bᵀ d along one axis of the tiles."""
    np.subtract(d[0], d[2], out=out[0])
    np.add(d[1], d[2], out=out[1])
    np.subtract(d[2], d[1], out=out[2])
    np.subtract(d[1], d[3], out=out[3])


def _to_map(points: np.ndarray, out: np.ndarray, add: bool) -> None:
    """Aᵀ m A of every tile, written or added to out (C, B, H, W)."""
    channels, batch, height, width = out.shape
    tiles = points.reshape(4, 4, channels, _half(height), _half(width), batch)
    for i, rows in enumerate(_at(tiles)):
        for j, pixels in enumerate(_at(rows)):
            to = out[:, :, i::2, j::2]
            part = pixels.transpose(0, 3, 1, 2)[:, :, : to.shape[2], : to.shape[3]]
            np.add(to, part, out=to) if add else np.copyto(to, part)


def _at(m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Aᵀ m along the first axis."""
    first = m[0] + m[1]
    first += m[2]
    second = m[1] - m[2]
    second -= m[3]
    return first, second


def _gradient_points(y: np.ndarray, out: np.ndarray) -> None:
    """The adjoint of `_to_map`: A y Aᵀ of every 2×2 pixels of y (C, B, H, W), written to out (16, C, h·w·B)."""
    channels, batch, height, width = y.shape
    h, w = _half(height), _half(width)
    pixels = np.zeros((2, 2, channels, h, w, batch), np.float32)
    for i in range(2):
        for j in range(2):
            part = y[:, :, i::2, j::2].transpose(0, 2, 3, 1)
            pixels[i, j, :, : part.shape[1], : part.shape[2]] = part
    columns = np.empty((4, 2, channels, h, w, batch), np.float32)
    _a(pixels.swapaxes(0, 1), columns)
    _a(columns.swapaxes(0, 1), out.reshape(4, 4, channels, h, w, batch))


def _a(y: np.ndarray, out: np.ndarray) -> None:
    """A y along one axis of the tiles."""
    out[0] = y[0]
    np.add(y[0], y[1], out=out[1])
    np.subtract(y[0], y[1], out=out[2])
    np.negative(y[1], out=out[3])
