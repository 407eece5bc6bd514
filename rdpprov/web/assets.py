"""The page's files, read once and kept: with their type, what identifies them, and a compressed form."""

import gzip
import hashlib
from collections.abc import Mapping
from importlib import resources

import attrs

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
PAGE = "index.html"


@attrs.frozen
class Asset:
    """One file, in one form."""

    content_type: str
    body: bytes
    etag: str
    """Of this form: the compressed one has its own ([RFC 9110] 8.8.3)."""
    encoding: str | None = None


@attrs.frozen
class Forms:
    """One file, in every form that there is."""

    plain: Asset
    compressed: Asset


def load_assets() -> Mapping[str, Forms]:
    """Every file of the page, by its path in the URL; the page itself is ``/``."""
    assets = {}
    for file in resources.files("rdpprov.web").joinpath("static").iterdir():
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in TYPES:
            assets["/" if file.name == PAGE else f"/{file.name}"] = _forms(TYPES[suffix], file.read_bytes())
    return assets


def _forms(content_type: str, body: bytes) -> Forms:
    digest = hashlib.sha256(body).hexdigest()[:32]
    return Forms(
        Asset(content_type, body, f'"{digest}"'),
        Asset(content_type, gzip.compress(body, mtime=0), f'"{digest}-gzip"', "gzip"),
    )
