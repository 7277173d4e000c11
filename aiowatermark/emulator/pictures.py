"""Pictures made on the spot, for the demo, the tests and links with reserved names: photographs, marks, comparisons."""

from __future__ import annotations

import cv2
import numpy as np

from .restoration.edge_evidence import overlap
from .restoration.pixels import VISIBLE, Mark, Pixels, Reals, decode, decode_mark, encode, encode_as

_FONT = cv2.FONT_HERSHEY_DUPLEX
_BAR = 34


def sample_photo(width: int = 640, height: int = 480, seed: int = 0, format: str = "jpeg") -> bytes:  # noqa: A002
    """A made-up landscape that passes for a photograph: sky, clouds, a sun, hills, grain; another one for each seed.

    Width and height in pixels; format: jpeg, png, bmp, webp or tiff. The same arguments give the same bytes.
    """
    return encode_as(landscape(width, height, seed), format)


def landscape(width: int, height: int, seed: int = 0) -> Pixels:
    """The pixels of `sample_photo`: (height, width, 3), BGR, 8 bits."""
    chance = np.random.default_rng(seed)
    scene = _sky(width, height, chance)
    for depth in range(4):
        _hill(scene, depth / 3, chance)
    scene += chance.normal(0, 1.6, scene.shape[:2]).astype(np.float32)[..., None]
    return np.clip(scene, 0, 255).astype(np.uint8)


def sample_mark(text: str = "aiowatermark", width: int = 240) -> bytes:
    """A logo, as a PNG with alpha, `width` pixels wide: a drop on a ring, and the text beside it."""
    big = 4
    (wide, high), _ = cv2.getTextSize(text, _FONT, big, 3 * big)
    side = round(high * 1.9)
    alpha = np.zeros((side + 2 * big, side + wide + 6 * big), np.uint8)
    centre, radius = side // 2 + big, side // 2 - 2 * big
    cv2.circle(alpha, (centre, centre), radius, (255,), round(radius * 0.16), cv2.LINE_AA)
    cv2.fillPoly(alpha, [_drop(centre, radius * 0.62)], (255,), cv2.LINE_AA)
    cv2.putText(alpha, text, (side + 3 * big, centre + high // 2), _FONT, big, (255,), 3 * big, cv2.LINE_AA)
    small = cv2.resize(
        alpha, (width, max(8, round(width * alpha.shape[0] / alpha.shape[1]))), interpolation=cv2.INTER_AREA
    )
    return encode_as(np.dstack([np.full((*small.shape, 3), 255, np.uint8), small]), "png")


def sample_mask(width: int, height: int) -> bytes:
    """A mask PNG, width by height pixels, black with a white area shaped like a line of text."""
    mask = np.zeros((height, width), np.uint8)
    line = decode_mark(sample_mark(width=max(8, width // 2))).alpha
    line = line[: max(1, height - 2), : max(1, width - 2)]
    top, left = (height - line.shape[0]) * 2 // 3, (width - line.shape[1]) // 2
    mask[top : top + line.shape[0], left : left + line.shape[1]] = np.where(line > 0.02, 255, 0)
    return encode_as(mask, "png")


def stamp(
    picture: bytes, mark: bytes, *, opacity: float = 0.45, position: tuple[int, int] | None = None
) -> tuple[bytes, bytes]:
    """The picture with the mark blended in (same format), and the mask PNG, white where the mark is.

    `opacity` 0..1 is multiplied with the mark's alpha; `position` is its upper left corner, x and y in pixels, by
    default low on the right. A mark larger than the picture is scaled down to fit. Raises ValueError for what is no
    picture, or a mark without alpha.
    """
    pixels = decode(picture)
    logo = fitted(decode_mark(mark), pixels.shape[1], pixels.shape[0])
    x, y = position or tuple(left * 4 // 5 for left in (pixels.shape[1] - logo.size[0], pixels.shape[0] - logo.size[1]))
    white = blend(pixels, logo, opacity, x, y)
    return encode(pixels, picture), encode_as(white, "png")


def fitted(mark: Mark, width: int, height: int) -> Mark:
    """The mark, scaled down to a size in pixels if it is larger."""
    scale = min(1.0, width / mark.size[0], height / mark.size[1])
    return mark.resize(*(max(1, round(side * scale)) for side in mark.size)) if scale < 1 else mark


def blend(pixels: Pixels, mark: Mark, opacity: float, x: int, y: int) -> Pixels:
    """Blends a mark into pixels in place, its upper left corner at (x, y); gives the mask of where it is."""
    white = np.zeros(pixels.shape[:2], np.uint8)
    patch, part = overlap(pixels, mark, x, y)
    colours, deep = (patch if patch.ndim == 2 else patch[..., :3]), 257 if pixels.dtype == np.uint16 else 1
    alpha = part.alpha * np.float32(opacity)
    logo: Reals = part.colour if patch.ndim == 3 else cv2.cvtColor(part.colour / 255, cv2.COLOR_BGR2GRAY) * 255
    weight = alpha[..., None] if patch.ndim == 3 else alpha
    colours[...] = np.round(colours * (1 - weight) + logo * deep * weight).astype(pixels.dtype)
    overlap(white, mark, x, y)[0][alpha > VISIBLE] = 255
    return white


def psnr(a: bytes, b: bytes) -> float:
    """How near two pictures of one size are, in dB; infinity when equal. Raises ValueError when the sizes differ."""
    first, second = (_shown(picture).astype(np.float64) for picture in (a, b))
    if first.shape != second.shape:
        raise ValueError(f"The pictures are {first.shape[1::-1]} and {second.shape[1::-1]}: give equal sizes.")
    error = float(np.mean((first - second) ** 2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def side_by_side(before: bytes, after: bytes, captions: tuple[str, str] = ("before", "after")) -> bytes:
    """A PNG of two pictures of one height next to one another, each under its caption.

    Raises ValueError when the heights differ.
    """
    halves = [_captioned(_shown(picture), caption) for picture, caption in zip((before, after), captions, strict=True)]
    if halves[0].shape[0] != halves[1].shape[0]:
        raise ValueError("The pictures differ in height: they cannot stand side by side.")
    gap = np.full((halves[0].shape[0], 12, 3), 255, np.uint8)
    return encode_as(np.hstack([halves[0], gap, halves[1]]), "png")


def _captioned(pixels: Pixels, caption: str) -> Pixels:
    bar = np.full((_BAR, pixels.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, caption, (4, _BAR - 11), _FONT, 0.7, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([bar, pixels])


def _shown(picture: bytes) -> Pixels:
    pixels = decode(picture)
    pixels = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else pixels[..., :3]


def _noise(width: int, height: int, chance: np.random.Generator, cells: tuple[int, int], keep: float = 0.5) -> Reals:
    """Fractal noise, about -1..1, (height, width): cells across and down, each octave twice as fine and fainter."""
    sheet = np.zeros((height, width), np.float32)
    for octave in range(7):
        grid = chance.uniform(-1, 1, (cells[1] << octave, cells[0] << octave)).astype(np.float32)
        sheet += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(keep**octave)
    return sheet


def _sky(width: int, height: int, chance: np.random.Generator) -> Reals:
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    above, below = chance.uniform((150, 80, 30), (220, 140, 90)), chance.uniform((150, 170, 200), (190, 210, 250))
    sky = (above * (1 - down) + below * down).astype(np.float32) * np.ones((1, width, 1), np.float32)
    clouds = np.clip(_noise(width, height, chance, (3, 6)) * 0.7 - 0.1, 0, 0.8)[..., None]
    sky += (np.float32(240) - sky) * clouds
    x, y = chance.uniform(0.15, 0.85) * width, chance.uniform(0.12, 0.4) * height
    away = np.hypot(np.arange(width)[None] - x, np.arange(height)[:, None] - y).astype(np.float32) / min(width, height)
    glow = (np.exp(-away * 7) * 0.7 + (away < 0.05))[..., None].clip(0, 1)
    sky += (np.array([190, 235, 255], np.float32) - sky) * glow
    return sky


def _hill(scene: Reals, depth: float, chance: np.random.Generator) -> None:
    """Lays a range of hills over the scene; depth 0 is far and pale, 1 near, dark and rough."""
    height, width = scene.shape[:2]
    ridge = _noise(width, 1, chance, (4, 1))[0] * (0.06 + 0.05 * depth) + 0.52 + 0.15 * depth
    below = np.arange(height, dtype=np.float32)[:, None] - ridge * height
    cover = np.clip(below + 0.5, 0, 1)[..., None]
    green = chance.uniform((40, 70, 40), (70, 120, 90)) * (1 - 0.45 * depth) + (1 - depth) * np.array([90, 60, 45])
    rough = _noise(width, height, chance, (12, 12), 0.75)[..., None] * np.float32(4 + 10 * depth)
    scene += (green.astype(np.float32) + rough - scene) * cover


def _drop(centre: int, size: float) -> Pixels:
    turn = np.linspace(0, 2 * np.pi, 60)
    x, y = np.sin(turn) * np.sin(turn / 2) ** 1.5 * 0.75, -np.cos(turn)
    return np.round(np.stack([centre + size * x, centre - size * y * -1], axis=1)).astype(np.int32)
