"""LongTextReader: takes long strings out of a JSON answer while it is received.

An image that comes as base64 text inside JSON would otherwise exist three times at once: in the body, in the parsed
object and decoded. Parsing it would also block the event loop. Here each string of more than 64 KiB is decoded slice by
slice as it arrives and replaced by a placeholder, so that what is left to parse is small:

    {"edited_image": {"image": "/9j/4AAQ…"}}   ->   {"edited_image": {"image": "<placeholder>"}}   and its bytes

In an answer that carries no image, a long string is cut off instead: it costs the field it is in, not the answer.

The reader is in one of two states, outside or inside a string. A backslash and the character after it are never
separated: one at the end of a block waits for the next block. Everything is linear in the length of the answer.
"""

from __future__ import annotations

import json
import re
import secrets
from binascii import Error, a2b_base64
from io import BytesIO

from ..errors import UnexpectedAnswer
from ..wire import MAX_ANSWER_BYTES, LongText

_LONG = 1 << 16
"""Bytes above which a string is taken out."""
_TO_QUOTE = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_CUT_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\(?:u[0-9a-fA-F]{0,3})?\Z")
_DATA_URL = re.compile(rb"\s*data:[^,]{0,200},", re.IGNORECASE)
_WHITE_SPACE = b" \t\r\n\f\v"
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")


class Base64Decoder:
    """Decodes base64 text slice by slice: standard or url-safe, with white space, without padding, as a data: URL."""

    def __init__(self) -> None:
        self._decoded = BytesIO()
        self._rest = b""
        self._ended = False
        self.valid = True

    def feed(self, text: bytes) -> None:
        """Decode the next slice, as much of it as makes whole groups."""
        if self._decoded.tell() == 0 and not self._rest:
            text = _DATA_URL.sub(b"", text, count=1)
        text = self._rest + text.translate(_STANDARD_ALPHABET, _WHITE_SPACE)
        content = text.rstrip(b"=")
        if self._ended and content:
            self.valid = False  # text after the padding
        self._ended = self._ended or len(content) < len(text)
        end = len(content) - len(content) % 4
        self._rest = content[end:]
        self._decode(content[:end])

    def finish(self) -> bytes | None:
        """Return what was decoded; None if it is empty or was not base64."""
        if self._rest:
            self._decode(self._rest + b"=" * (-len(self._rest) % 4))
        return self._decoded.getvalue() or None if self.valid else None

    def _decode(self, text: bytes) -> None:
        try:
            self._decoded.write(a2b_base64(text, strict_mode=True) if text else b"")
        except Error:
            self.valid = False


class LongTextReader:
    """Takes the blocks of one answer; afterwards `body` is what is left of it, and `texts` what was taken out.

    Without `images`, long strings are not decoded but cut to their first 64 KiB.
    """

    def __init__(self, *, images: bool) -> None:
        self._images = images
        self.body = bytearray()
        self.texts: dict[str, LongText] = {}
        self._inside = False
        self._string = bytearray()
        self._decoder: Base64Decoder | None = None
        self._length = 0
        self._carried = b""

    def feed(self, block: bytes) -> None:
        """Take the next block; raises UnexpectedAnswer if more than 256 KiB are not in long strings."""
        data, position = self._carried + block, 0
        self._carried = b""
        while position < len(data):
            position = self._read_string(data, position) if self._inside else self._skip_to_string(data, position)
        if len(self.body) > MAX_ANSWER_BYTES:
            raise UnexpectedAnswer(f"the answer is larger than {MAX_ANSWER_BYTES >> 10} KiB and was not read further")

    def _skip_to_string(self, data: bytes, start: int) -> int:
        quote = data.find(b'"', start)
        self._inside = quote >= 0
        end = quote + 1 if self._inside else len(data)
        self.body += data[start:end]
        return end

    def _read_string(self, data: bytes, start: int) -> int:
        match = _TO_QUOTE.match(data, start)
        end = match.end() if match else start
        self._add(data[start:end])
        if end < len(data) and data[end] == ord('"'):
            self._end_string()
            return end + 1
        self._carried = data[end:]
        return len(data)

    def _add(self, text: bytes) -> None:
        self._length += len(text)
        if not self._images and self._length > _LONG:
            text = text[: max(_LONG - len(self._string), 0)]
        self._string += text
        if self._images and self._decoder is None and len(self._string) > _LONG:
            self._decoder = Base64Decoder()
        if self._decoder is not None:
            self._decoder.feed(_unescape(bytes(self._string)))
            self._string.clear()

    def _end_string(self) -> None:
        if self._decoder is not None:
            placeholder = secrets.token_hex(16)
            self.texts[placeholder] = LongText(self._length, self._decoder.finish())
            self._string += placeholder.encode()
        elif self._length > len(self._string):
            whole_characters = self._string.decode(errors="ignore").encode()
            self._string = bytearray(_CUT_ESCAPE.sub(b"", whole_characters))
        self.body += self._string + b'"'
        self._string.clear()
        self._inside, self._decoder, self._length = False, None, 0

    def finish(self) -> bytes:
        """Return what is left of the answer; a string that has not ended is cut off, which makes it invalid JSON."""
        return bytes(self.body + (self._string if self._decoder is None else b"") + self._carried)


def _unescape(text: bytes) -> bytes:
    """Return a part of a JSON string without its escapes: PHP, for example, writes a slash as two characters."""
    if b"\\" not in text:
        return text
    try:
        value: str = json.loads(b'"' + text + b'"', strict=False)
    except ValueError:
        return b"*"  # not JSON, and so not base64 either
    return value.encode(errors="surrogatepass")
