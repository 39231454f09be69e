"""tus requests as tests make them over and over."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

from tests.server.http.clients import Answer, Body, Client

TUS = {"Tus-Resumable": "1.0.0"}
OCTET = {**TUS, "Content-Type": "application/offset+octet-stream"}
UNKNOWN = "/files/" + "0" * 32


async def create(client: Client, length: int | None = None, body: Body = b"", **fields: Any) -> str:
    """The URL of a new upload; a `fields` name has _ for each -."""
    wanted = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
    answer = await post(client, body, **{**wanted, **dashed(fields)})
    assert answer.status == 201, answer
    return answer.headers["location"]


async def post(client: Client, body: Body = b"", **fields: Any) -> Answer:
    types = OCTET if body else TUS
    answer = await client.ask("POST", "/files/", body, {**types, **dashed(fields)})
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer


async def patch(client: Client, url: str, offset: object, body: Body, **fields: Any) -> Answer:
    headers = {**OCTET, "Upload-Offset": str(offset), **dashed(fields)}
    answer = await client.ask("PATCH", url, body, headers)
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer


async def head(client: Client, url: str) -> Answer:
    answer = await client.ask("HEAD", url, None, TUS)
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body == b""
    return answer


async def offset(client: Client, url: str) -> int:
    answer = await head(client, url)
    assert answer.status == 200, answer
    return int(answer.headers["upload-offset"])


async def uploads(client: Client) -> int:
    """How many there ever were."""
    return len(client.blobs.incoming_blobs) + len(client.blobs.published_blobs)


def dashed(fields: dict[str, Any]) -> dict[str, str]:
    return {name.replace("_", "-"): str(value) for name, value in fields.items()}


def metadata(**values: bytes | str) -> str:
    pairs = ((key, value.encode() if isinstance(value, str) else value) for key, value in values.items())
    return ",".join(f"{key} {b64encode(value).decode()}" for key, value in pairs)


def checksum(algorithm: str, data: bytes) -> str:
    return f"{algorithm} {b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def stored(client: Client) -> bytes:
    """The one finished file."""
    (blob,) = client.blobs.published_blobs.values()
    return bytes(blob.data)
