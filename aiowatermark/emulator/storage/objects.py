"""Object store: the results, uploads and hosted files of the storage host, in memory or as files in a directory."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field, frozen

from ..web.responses import ApiResponse, FilePart
from .signing import Signer

CONTENT_TYPES: Mapping[str, str] = {
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "bmp": "image/bmp",
    "webp": "image/webp",
    "mp4": "video/mp4",
}


@frozen
class StoredObject:
    """A file that can be downloaded: its path on the storage host, its bytes or the file that holds them, its type."""

    path: str
    body: bytes | Path = field(repr=False)
    content_type: str
    size: int
    etag: str

    def part(self, start: int, stop: int) -> bytes | FilePart:
        """Return the bytes from `start` up to, but not including, `stop`."""
        if isinstance(self.body, bytes):
            # the whole body is not copied
            return self.body if stop - start == self.size else self.body[start:stop]
        return FilePart(self.body, start, stop)

    def response(self, status: int, start: int, stop: int, headers: Mapping[str, str]) -> ApiResponse:
        """Return a response with these bytes."""
        return ApiResponse(status, self.part(start, stop), self.content_type, headers)


@define
class Upload:
    """A file that is expected at a signed URL: the path of that URL, and `target`, where the complete file is kept."""

    path: str
    target: Path
    link: str = field(repr=False)
    size: int | None = None

    @property
    def complete(self) -> bool:
        """Whether all bytes have arrived."""
        return self.size is not None


@define
class ObjectStore:
    """All objects of the storage host, and the URLs to them.

    `lifetimes`: provider name to the seconds for which the URLs of its results are valid; `upload_lifetime`: the
    same for uploads. `base_url` is set once the storage host is serving.
    """

    directory: Path
    signer: Signer
    lifetimes: Mapping[str, float]
    upload_lifetime: float = 900.0
    base_url: str = ""
    _stored: dict[str, StoredObject] = field(init=False, factory=dict, repr=False)
    _uploads: dict[str, Upload] = field(init=False, factory=dict, repr=False)

    def put(self, provider: str, body: bytes | Path, suffix: str, size: int | None = None) -> StoredObject:
        """Store a result; `size` in bytes is needed when the body is a file."""
        return self._put(f"/{provider}/results/{secrets.token_hex(12)}.{suffix}", body, suffix, size)

    def host(self, body: bytes, name: str) -> str:
        """Store a file that needs no signature and return its URL, which contains a random token."""
        # a name that needs no escaping, so that the URL is the same in every client
        safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in name)
        stored = self._put(f"/lent/{secrets.token_hex(12)}/{safe}", body, safe.rpartition(".")[2].lower(), None)
        return self.base_url + stored.path

    def create_link(self, stored: StoredObject) -> str:
        """Return a new signed URL of a result, valid for the lifetime that its provider documents."""
        provider = stored.path.split("/")[1]
        return self.base_url + self.signer.sign(stored.path, "read", self.lifetimes[provider])

    def create_upload(self, provider: str, name: str) -> Upload:
        """Return a new upload with its signed URL."""
        path = f"/{provider}/uploads/{name}"
        link = self.base_url + self.signer.sign(path, "write", self.upload_lifetime)
        upload = self._uploads[path] = Upload(path, self.directory / f"{name}.upload", link)
        return upload

    def find(self, path: str) -> StoredObject | None:
        """Return the object at this path; None if there is none."""
        return self._stored.get(path)

    def find_upload(self, path: str) -> Upload | None:
        """Return the upload that this path belongs to; None if there is none."""
        return self._uploads.get(path)

    def new_file(self, suffix: str) -> Path:
        """Return the path of a file that does not exist yet, in the directory of the store."""
        return self.directory / f"{secrets.token_hex(12)}.{suffix}"

    def _put(self, path: str, body: bytes | Path, suffix: str, size: int | None) -> StoredObject:
        length = len(body) if isinstance(body, bytes) else size or 0
        content_type = CONTENT_TYPES.get(suffix, "application/octet-stream")
        stored = self._stored[path] = StoredObject(path, body, content_type, length, f'"{secrets.token_hex(8)}"')
        return stored
