"""Media types by extension."""

from __future__ import annotations

from pathlib import Path

import pytest

from longline.protocols.http import Response
from longline.protocols.http.mime import guess_type


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("a/b/STYLE.CSS", "text/css; charset=utf-8"),
        (Path("x.json"), "application/json"),
        ("archive.tar.gz", "application/octet-stream"),
        ("README", "application/octet-stream"),
        (".html", "application/octet-stream"),
    ],
)
def test_the_extension_decides(path, expected):
    assert guess_type(path) == expected
    assert Response.file(path).headers["Content-Type"] == expected


def test_a_type_that_is_given_is_kept():
    response = Response.file("page.html", content_type="application/xhtml+xml")
    assert response.headers["Content-Type"] == "application/xhtml+xml"
