"""Where uploads are said to be, with something in front of the server."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Start
from tests.conformance.lines import tus as line
from tests.conformance.tus.client import Tus

FORWARDED = {
    "X-Forwarded": [
        ("X-Forwarded-Host", "proxy.example"),
        ("X-Forwarded-Proto", "https"),
    ],
    "Forwarded": [("Forwarded", "for=192.0.2.1;host=proxy.example;proto=https")],
}


@line("C7", "U")
@pytest.mark.parametrize("kind", FORWARDED)
async def test_tus_C7_what_anybody_may_send_is_not_believed(tus: Tus, kind: str) -> None:
    upload = await tus.create(5, *FORWARDED[kind])
    assert "proxy.example" not in upload.location


@line("C7", "U")
@pytest.mark.parametrize("kind", FORWARDED)
async def test_tus_C7_a_trusted_proxy_is_believed(penstock: Start, kind: str) -> None:
    options = ("--trusted-proxies", "127.0.0.1", "--allowed-hosts", "proxy.example")
    tus = Tus(penstock(ours=options).target)
    upload = await tus.create(5, *FORWARDED[kind])
    assert upload.location.startswith("https://proxy.example/files/")
    assert (await upload.head()).offset == 0


@line("C7", "U")
async def test_tus_C7_the_configured_url_comes_first(penstock: Start) -> None:
    options = ("--public-url", "https://up.example", "--trusted-proxies", "127.0.0.1")
    tus = Tus(penstock(ours=options).target)
    answer = await tus.post(("Upload-Length", "5"), *FORWARDED["X-Forwarded"])
    assert answer["location"].startswith("https://up.example/files/")
