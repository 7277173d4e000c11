"""Makes encoded images: a JPEG that is only a header, images of one shade, and masks."""

from __future__ import annotations

from io import BytesIO

from PIL import Image


def make_jpeg(width: int = 32, height: int = 24, padding: int = 0) -> bytes:
    """Return the headers of a JPEG, `padding` zero bytes and its end: enough for code that reads no pixels."""
    start = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    frame = (
        b"\xff\xc0\x00\x11\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\x03" + b"\x01\x11\x00" * 3
    )
    return start + frame + b"\x00" * padding + b"\xff\xd9"


def make_jpeg_of_size(size: int) -> bytes:
    """Return a `make_jpeg` of exactly `size` bytes, so that a job can be recognised by the size of its image."""
    return make_jpeg(padding=size - len(make_jpeg()))


def make_image(width: int = 300, height: int = 300, kind: str = "png", shade: int = 128) -> bytes:
    """Return a complete image of one shade of grey (0 to 255); `kind` is a format of Pillow: png, jpeg, bmp ..."""
    data = BytesIO()
    Image.new("RGB", (width, height), (shade, shade, shade)).save(data, kind)
    return data.getvalue()


def make_mask(width: int = 32, height: int = 24, kind: str = "png") -> bytes:
    """Return a mask whose left half is white."""
    data = BytesIO()
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    mask.save(data, kind)
    return data.getvalue()


def make_noise(width: int = 120, height: int = 90, kind: str = "jpeg", **options: object) -> bytes:
    """Return a complete image of noise, which does not compress; `options` are those of Pillow for the format."""
    data = BytesIO()
    Image.effect_noise((width, height), 80).convert("RGB").save(data, kind, **options)
    return data.getvalue()
