"""Synthetic images for the demo, the tests and links with reserved names: photos, watermarks, masks, comparisons."""

from __future__ import annotations

import cv2
import numpy as np

from .restoration.edge_evidence import overlap
from .restoration.pixels import VISIBLE, Mark, Pixels, Reals, decode, decode_mark, encode, encode_as

_FONT = cv2.FONT_HERSHEY_DUPLEX
_CAPTION_HEIGHT = 34


def sample_photo(width: int = 640, height: int = 480, seed: int = 0, format: str = "jpeg") -> bytes:  # noqa: A002
    """Return a synthetic landscape photo: sky, clouds, sun, hills and grain; each seed gives a different one.

    `width` and `height` in pixels; `format`: jpeg, png, bmp, webp or tiff. The same arguments give the same bytes.
    """
    return encode_as(landscape(width, height, seed), format)


def landscape(width: int, height: int, seed: int = 0) -> Pixels:
    """Return the pixels of `sample_photo`: shape (height, width, 3), BGR, 8 bits."""
    rng = np.random.default_rng(seed)
    scene = _sky(width, height, rng)
    for layer in range(4):
        _draw_hills(scene, layer / 3, rng)
    # sensor noise: without it the gradients are smoother than in any real photo
    scene += rng.normal(0, 1.6, scene.shape[:2]).astype(np.float32)[..., None]
    return np.clip(scene, 0, 255).astype(np.uint8)


def sample_mark(text: str = "aiowatermark", width: int = 240) -> bytes:
    """Return a watermark, as a PNG with alpha, `width` pixels wide: a drop in a ring, and `text` beside it."""
    # drawn four times as large as the font and scaled down at the end, which smooths the edges
    scale = 4
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, 3 * scale)
    side = round(text_height * 1.9)
    alpha = np.zeros((side + 2 * scale, side + text_width + 6 * scale), np.uint8)
    centre, radius = side // 2 + scale, side // 2 - 2 * scale
    cv2.circle(alpha, (centre, centre), radius, (255,), round(radius * 0.16), cv2.LINE_AA)
    cv2.fillPoly(alpha, [_drop_outline(centre, radius * 0.62)], (255,), cv2.LINE_AA)
    cv2.putText(
        alpha, text, (side + 3 * scale, centre + text_height // 2), _FONT, scale, (255,), 3 * scale, cv2.LINE_AA
    )
    height = max(8, round(width * alpha.shape[0] / alpha.shape[1]))
    resized = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA)
    return encode_as(np.dstack([np.full((*resized.shape, 3), 255, np.uint8), resized]), "png")


def sample_mask(width: int, height: int) -> bytes:
    """Return a mask PNG, `width` by `height` pixels, black with a white area shaped like a line of text."""
    mask = np.zeros((height, width), np.uint8)
    line = decode_mark(sample_mark(width=max(8, width // 2))).alpha
    line = line[: max(1, height - 2), : max(1, width - 2)]
    top, left = (height - line.shape[0]) * 2 // 3, (width - line.shape[1]) // 2
    mask[top : top + line.shape[0], left : left + line.shape[1]] = np.where(line > 0.02, 255, 0)
    return encode_as(mask, "png")


def stamp(
    picture: bytes, mark: bytes, *, opacity: float = 0.45, position: tuple[int, int] | None = None
) -> tuple[bytes, bytes]:
    """Return the image with the watermark blended in (same format), and a mask PNG that is white where it is.

    `mark`: a PNG with alpha; one that is larger than the image is scaled down to fit. `opacity`: 0 to 1, multiplied
    with the alpha of the watermark. `position`: x and y of its upper left corner in pixels, by default near the lower
    right corner. Raises ValueError if `picture` is not a valid image or `mark` has no alpha.
    """
    pixels = decode(picture)
    logo = fitted(decode_mark(mark), pixels.shape[1], pixels.shape[0])
    margins = (pixels.shape[1] - logo.size[0], pixels.shape[0] - logo.size[1])
    x, y = position or tuple(margin * 4 // 5 for margin in margins)
    mask = blend(pixels, logo, opacity, x, y)
    return encode(pixels, picture), encode_as(mask, "png")


def fitted(mark: Mark, width: int, height: int) -> Mark:
    """Return the watermark, scaled down to fit into `width` by `height` pixels if it is larger."""
    scale = min(1.0, width / mark.size[0], height / mark.size[1])
    return mark.resize(*(max(1, round(side * scale)) for side in mark.size)) if scale < 1 else mark


def blend(pixels: Pixels, mark: Mark, opacity: float, x: int, y: int) -> Pixels:
    """Blend the watermark into `pixels` in place, its upper left corner at (x, y); return the mask of its area.

    `pixels`: 8 or 16 bits; grey, BGR or BGRA. The mask is 8 bits, 255 where the watermark is visible.
    """
    mask = np.zeros(pixels.shape[:2], np.uint8)
    patch, part = overlap(pixels, mark, x, y)
    # alpha of the image stays; 257 scales the 8-bit watermark to 16 bits (255 * 257 = 65535)
    channels, depth_scale = (patch if patch.ndim == 2 else patch[..., :3]), 257 if pixels.dtype == np.uint16 else 1
    alpha = part.alpha * np.float32(opacity)
    logo: Reals = part.colour if patch.ndim == 3 else cv2.cvtColor(part.colour / 255, cv2.COLOR_BGR2GRAY) * 255
    weight = alpha[..., None] if patch.ndim == 3 else alpha
    channels[...] = np.round(channels * (1 - weight) + logo * depth_scale * weight).astype(pixels.dtype)
    overlap(mask, mark, x, y)[0][alpha > VISIBLE] = 255
    return mask


def psnr(a: bytes, b: bytes) -> float:
    """Return the peak signal-to-noise ratio of two images in dB; infinity when they are equal.

    Raises ValueError when the sizes differ.
    """
    first, second = (_as_bgr8(image).astype(np.float64) for image in (a, b))
    if first.shape != second.shape:
        raise ValueError(f"The images must have equal sizes, not {first.shape[1::-1]} and {second.shape[1::-1]}.")
    error = float(np.mean((first - second) ** 2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def side_by_side(before: bytes, after: bytes, captions: tuple[str, str] = ("before", "after")) -> bytes:
    """Return a PNG of two images of equal height next to each other, each under its caption.

    Raises ValueError when the heights differ.
    """
    halves = [_add_caption(_as_bgr8(image), caption) for image, caption in zip((before, after), captions, strict=True)]
    if halves[0].shape[0] != halves[1].shape[0]:
        raise ValueError("The images must have equal heights to be placed side by side.")
    gap = np.full((halves[0].shape[0], 12, 3), 255, np.uint8)
    return encode_as(np.hstack([halves[0], gap, halves[1]]), "png")


def _add_caption(pixels: Pixels, caption: str) -> Pixels:
    bar = np.full((_CAPTION_HEIGHT, pixels.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, caption, (4, _CAPTION_HEIGHT - 11), _FONT, 0.7, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([bar, pixels])


def _as_bgr8(image: bytes) -> Pixels:
    """Decode an image to 8-bit BGR, without alpha."""
    pixels = decode(image)
    pixels = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else pixels[..., :3]


def _noise(
    width: int, height: int, rng: np.random.Generator, cells: tuple[int, int], persistence: float = 0.5
) -> Reals:
    """Return fractal noise, about -1 to 1, shape (height, width).

    `cells`: across and down in the first octave; each octave doubles them and multiplies the amplitude by
    `persistence`.
    """
    noise = np.zeros((height, width), np.float32)
    for octave in range(7):
        grid = rng.uniform(-1, 1, (cells[1] << octave, cells[0] << octave)).astype(np.float32)
        noise += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(persistence**octave)
    return noise


def _sky(width: int, height: int, rng: np.random.Generator) -> Reals:
    """Return a vertical colour gradient with clouds and a sun."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    zenith, horizon = rng.uniform((150, 80, 30), (220, 140, 90)), rng.uniform((150, 170, 200), (190, 210, 250))
    sky = (zenith * (1 - down) + horizon * down).astype(np.float32) * np.ones((1, width, 1), np.float32)
    clouds = np.clip(_noise(width, height, rng, (3, 6)) * 0.7 - 0.1, 0, 0.8)[..., None]
    sky += (np.float32(240) - sky) * clouds
    x, y = rng.uniform(0.15, 0.85) * width, rng.uniform(0.12, 0.4) * height
    distance = np.hypot(np.arange(width)[None] - x, np.arange(height)[:, None] - y).astype(np.float32)
    distance /= min(width, height)
    glow = (np.exp(-distance * 7) * 0.7 + (distance < 0.05))[..., None].clip(0, 1)
    sky += (np.array([190, 235, 255], np.float32) - sky) * glow
    return sky


def _draw_hills(scene: Reals, nearness: float, rng: np.random.Generator) -> None:
    """Draw a range of hills over the scene; `nearness` 0 is far and pale, 1 near, dark and rough."""
    height, width = scene.shape[:2]
    ridge = _noise(width, 1, rng, (4, 1))[0] * (0.06 + 0.05 * nearness) + 0.52 + 0.15 * nearness
    below = np.arange(height, dtype=np.float32)[:, None] - ridge * height
    # one pixel wide transition at the ridge instead of a jagged edge
    cover = np.clip(below + 0.5, 0, 1)[..., None]
    green = rng.uniform((40, 70, 40), (70, 120, 90)) * (1 - 0.45 * nearness) + (1 - nearness) * np.array([90, 60, 45])
    texture = _noise(width, height, rng, (12, 12), 0.75)[..., None] * np.float32(4 + 10 * nearness)
    scene += (green.astype(np.float32) + texture - scene) * cover


def _drop_outline(centre: int, size: float) -> Pixels:
    """Return the points of a drop's outline, for `cv2.fillPoly`."""
    angle = np.linspace(0, 2 * np.pi, 60)
    x, y = np.sin(angle) * np.sin(angle / 2) ** 1.5 * 0.75, -np.cos(angle)
    return np.round(np.stack([centre + size * x, centre - size * y * -1], axis=1)).astype(np.int32)
