"""Media types by file extension.

A table of our own: the system's would make the same file another thing on another machine.
The types are those of the IANA registry that browsers act on.
"""

from __future__ import annotations

from pathlib import PurePath

__all__ = ["DEFAULT_TYPE", "guess_type"]

DEFAULT_TYPE = "application/octet-stream"

_TEXT = {
    ".css": "text/css",
    ".csv": "text/csv",
    ".htm": "text/html",
    ".html": "text/html",
    ".js": "text/javascript",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".txt": "text/plain",
    ".xml": "text/xml",
}
_BINARY = {
    ".avif": "image/avif",
    ".gif": "image/gif",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".zip": "application/zip",
}


def guess_type(path: str | PurePath) -> str:
    """Return the media type of a file by its extension; text is taken to be UTF-8."""
    extension = PurePath(path).suffix.lower()
    if extension in _TEXT:
        return f"{_TEXT[extension]}; charset=utf-8"
    return _BINARY.get(extension, DEFAULT_TYPE)
