"""The files of the built console, in memory, each also compressed."""

import gzip
import hashlib
import mimetypes
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import brotli
from msgspec import Struct

INDEX = "index.html"
DIRECTORY = Path(__file__).parent / "static"
BROTLI_QUALITY = 9
GZIP_LEVEL = 9
LEAST_COMPRESSED = 1024  # bytes; smaller files are sent as they are
_COMPRESSIBLE = ("text/", "application/json", "application/javascript", "image/svg+xml")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}

# By their names in HTTP, the best first.
ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "br": lambda content: bytes(brotli.compress(content, quality=BROTLI_QUALITY)),
    "gzip": lambda content: gzip.compress(content, GZIP_LEVEL, mtime=0),
}


class Asset(Struct, frozen=True):
    """A file as it is sent."""

    content: bytes
    media_type: str
    etag: str


class Assets:
    """The built files by their path, read at the first use. Thread-safe."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._files: Mapping[str, Asset] | None = None
        self._compressed: dict[tuple[str, str], bytes] = {}  # by path and encoding

    def get(self, path: str) -> Asset | None:
        """Return a file by its path under the directory, None where there is none; no path leads out of it."""
        return self._read().get(path)

    def encoded(self, path: str, encoding: str) -> bytes | None:
        """Return a file's content in one of ENCODINGS, None where that gains nothing or there is no such file."""
        asset = self.get(path)
        if asset is None or len(asset.content) < LEAST_COMPRESSED or not asset.media_type.startswith(_COMPRESSIBLE):
            return None
        with self._lock:
            compressed = self._compressed.get((path, encoding))
            if compressed is None:
                compressed = self._compressed[path, encoding] = ENCODINGS[encoding](asset.content)
            return compressed

    def _read(self) -> Mapping[str, Asset]:
        with self._lock:
            if self._files is None:
                # What begins with a dot is the build's.
                found = (file for file in sorted(self._directory.rglob("[!.]*")) if file.is_file())
                self._files = {file.relative_to(self._directory).as_posix(): _asset(file) for file in found}
            return self._files


def _asset(file: Path) -> Asset:
    content = file.read_bytes()
    media_type = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if media_type.startswith("text/") else ""
    return Asset(content, media_type + charset, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
