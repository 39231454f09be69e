"""Upload URLs as clients get them: by the setting, by a trusted proxy's word, or relative."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from penstock.server.http.answers import Response, json_answer
from penstock.server.http.application import Application, Request
from penstock.server.http.locations import Locations
from penstock.server.settings import Settings
from tests.server.http.clients import Conversation, bare
from tests.server.http.tus_client import TUS

ID = "0" * 32
PROXY: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",)}
PUBLIC = {"X-Forwarded-Host": "up.example", "X-Forwarded-Proto": "https"}


async def told(
    settings: dict[str, Any], headers: dict[str, str], *, peer: str = "127.0.0.1", asked: str = ""
) -> Any:
    """What `Locations` says in a request with these headers, from that address."""
    locations = Locations(msgspec.structs.replace(Settings(), **settings))

    async def view(request: Request) -> Response:
        return json_answer([locations.url(request, ID), locations.answers_for(request)(asked)])

    app = Application()
    app.add("GET", "/", view)

    async def from_peer(scope: Any, receive: Any, send: Any) -> None:
        await app(cast("Any", {**scope, "client": (peer, 1)}), receive, send)

    conversation = Conversation(from_peer, "GET", "/", None, {"Host": "localhost:8005", **headers})
    await conversation.run()
    return conversation.answer.json


@pytest.mark.parametrize(
    ("settings", "headers", "base"),
    [
        ({}, {}, ""),
        ({}, PUBLIC, ""),  # nobody's word
        ({"public_url": "https://public.example"}, {}, "https://public.example"),
        ({"public_url": "https://public.example/"}, {}, "https://public.example"),
        ({"public_url": "https://public.example", **PROXY}, PUBLIC, "https://public.example"),
        (PROXY, {}, ""),
        (PROXY, PUBLIC, "https://up.example"),
        (PROXY, {"Forwarded": "for=192.0.2.1;host=up.example;proto=https"}, "https://up.example"),
        (PROXY, {**PUBLIC, "X-Forwarded-Prefix": "/base/"}, "https://up.example/base"),
        (PROXY, {"X-Forwarded-Prefix": "/base"}, "/base"),
        (PROXY, {"X-Forwarded-Host": "up.example"}, ""),  # with which scheme?
        (PROXY, {"X-Forwarded-Proto": "https"}, ""),
        (PROXY, {"X-Forwarded-Host": "up.example/x", "X-Forwarded-Proto": "https"}, ""),
        (PROXY, {"X-Forwarded-Host": "up.example", "X-Forwarded-Proto": "javascript"}, ""),
        (PROXY, {**PUBLIC, "Forwarded": "host=evil.example;proto=https"}, ""),
        ({"trusted_proxies": ("10.0.0.0/8",)}, PUBLIC, ""),
    ],
)
async def test_tus_C7_urls(settings: dict[str, Any], headers: dict[str, str], base: str) -> None:
    url, _ = await told(settings, headers)
    assert url == f"{base}/files/{ID}"


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("2001:db8::1%eth0", True),
        ("11.1.2.3", False),
        ("2001:db8:1::1", False),
        ("unix:", False),
        ("", False),
    ],
)
async def test_tus_C7_whose_word_counts(peer: str, trusted: bool) -> None:
    settings = {"trusted_proxies": ("10.0.0.0/8", "2001:db8::/64")}
    url, _ = await told(settings, PUBLIC, peer=peer)
    assert url.startswith("https://") is trusted


@pytest.mark.parametrize(
    ("settings", "headers", "asked", "ours"),
    [
        ({}, {}, "localhost:8005", True),
        ({}, {}, "LOCALHOST:8005", True),
        ({}, {}, "localhost", False),
        ({}, {}, "localhost:9000", False),
        ({}, {}, "evil.example", False),
        ({}, {}, "user@localhost:8005", False),
        ({}, {}, "localhost:8005:1", False),
        ({}, {}, "localhost:x", False),
        ({}, {}, "[", False),
        ({}, {}, "", False),
        ({}, {"Host": ""}, "", False),
        ({}, {"Host": "up.example"}, "up.example:443", True),  # TLS ends before us
        ({}, {"Host": "up.example:443"}, "up.example", True),
        ({}, {"Host": "[2001:db8::1]:8005"}, "[2001:DB8::1]:8005", True),
        ({"allowed_hosts": ("up.example",)}, {}, "up.example:8443", True),
        ({"public_url": "https://up.example:8443"}, {}, "up.example:8443", True),
        ({"public_url": "https://up.example:8443"}, {}, "up.example", False),
        (PROXY, PUBLIC, "up.example", True),
        ({}, PUBLIC, "up.example", False),
    ],
)
async def test_tus_X4_which_hosts_are_ours(
    settings: dict[str, Any], headers: dict[str, str], asked: str, ours: bool
) -> None:
    _, answered = await told(settings, headers, asked=asked)
    assert answered is ours


@pytest.mark.parametrize(
    ("settings", "headers", "base"),
    [
        ({}, {}, "/files/"),
        ({"public_url": "https://public.example"}, {}, "https://public.example/files/"),
        (PROXY, {**PUBLIC, "X-Forwarded-Prefix": "/up"}, "https://up.example/up/files/"),
    ],
)
async def test_tus_C7_a_creation_says_it(
    settings: dict[str, Any], headers: dict[str, str], base: str
) -> None:
    async with bare(**settings) as client:
        answer = await client.ask("POST", "/files/", b"", {**TUS, "Upload-Length": "5", **headers})
        assert answer.headers["location"].removeprefix(base).isalnum()
        partial = {**TUS, **headers, "Upload-Length": "0", "Upload-Concat": "partial"}
        part = (await client.ask("POST", "/files/", b"", partial)).headers["location"]
        final = {**TUS, **headers, "Upload-Concat": f"final;{part}"}
        assert (await client.ask("POST", "/files/", b"", final)).status == 201
