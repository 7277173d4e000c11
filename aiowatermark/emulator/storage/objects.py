"""What the pretended storage host keeps: results, uploads and lent files, in memory or in a directory of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field, frozen

from ..web.responses import ApiResponse, FilePart
from .signing import Signer

TYPES: Mapping[str, str] = {
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "bmp": "image/bmp",
    "webp": "image/webp",
    "mp4": "video/mp4",
}


@frozen
class StoredObject:
    """Bytes that can be downloaded: where, as what, and how many."""

    path: str
    body: bytes | Path = field(repr=False)
    content_type: str
    size: int
    etag: str

    def part(self, start: int, stop: int) -> bytes | FilePart:
        """The bytes from `start` up to, but not with, `stop`."""
        if isinstance(self.body, bytes):
            return self.body if stop - start == self.size else self.body[start:stop]
        return FilePart(self.body, start, stop)

    def answer(self, status: int, start: int, stop: int, headers: Mapping[str, str]) -> ApiResponse:
        """These bytes as an answer."""
        return ApiResponse(status, self.part(start, stop), self.content_type, headers)


@define
class Upload:
    """A place for one file that is sent to a signed link: `path` is where it lies once it is there, whole."""

    path: str
    target: Path
    link: str = field(repr=False)
    size: int | None = None

    @property
    def complete(self) -> bool:
        """Whether all its bytes have come."""
        return self.size is not None


@define
class ObjectStore:
    """Everything the storage host has, and the links to it."""

    directory: Path
    signer: Signer
    lifetimes: Mapping[str, float]
    upload_lifetime: float = 900.0
    base_url: str = ""
    _stored: dict[str, StoredObject] = field(init=False, factory=dict, repr=False)
    _uploads: dict[str, Upload] = field(init=False, factory=dict, repr=False)

    def put(self, provider: str, body: bytes | Path, suffix: str, size: int | None = None) -> StoredObject:
        """Put a result there."""
        return self._put(f"/{provider}/results/{secrets.token_hex(12)}.{suffix}", body, suffix, size)

    def host(self, body: bytes, name: str) -> str:
        """Put a file there that anybody with the link may fetch; gives the link."""
        safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in name)
        stored = self._put(f"/lent/{secrets.token_hex(12)}/{safe}", body, safe.rpartition(".")[2].lower(), None)
        return self.base_url + stored.path

    def link(self, stored: StoredObject) -> str:
        """A fresh link to a result, valid as long as its provider says."""
        provider = stored.path.split("/")[1]
        return self.base_url + self.signer.sign(stored.path, "read", self.lifetimes[provider])

    def create_upload(self, provider: str, name: str) -> Upload:
        """A place for one upload, and the signed link to it."""
        path = f"/{provider}/uploads/{name}"
        link = self.base_url + self.signer.sign(path, "write", self.upload_lifetime)
        upload = self._uploads[path] = Upload(path, self.directory / f"{name}.upload", link)
        return upload

    def find(self, path: str) -> StoredObject | None:
        """What lies at this path."""
        return self._stored.get(path)

    def find_upload(self, path: str) -> Upload | None:
        """Which upload this path is for."""
        return self._uploads.get(path)

    def new_file(self, suffix: str) -> Path:
        """A path in the directory that nothing has yet."""
        return self.directory / f"{secrets.token_hex(12)}.{suffix}"

    def _put(self, path: str, body: bytes | Path, suffix: str, size: int | None) -> StoredObject:
        length = len(body) if isinstance(body, bytes) else size or 0
        etag = f'"{secrets.token_hex(8)}"'
        stored = self._stored[path] = StoredObject(
            path, body, TYPES.get(suffix, "application/octet-stream"), length, etag
        )
        return stored
