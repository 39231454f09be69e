"""What the routes read from a request: who asks, JSON bodies, their size, idempotency keys, the language."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec
import trio

from penstock.protocol.decoding import convert, parse_json
from penstock.protocol.errors import ConnectionTimeout, MessageTooLarge, NetworkError
from penstock.protocol.messages import choose_language
from penstock.server.http.application import Request
from penstock.server.peer import Body, BodyBroken
from penstock.server.settings import KIB, Settings
from penstock.server.uploads.actor import ANYBODY, Actor
from penstock.server.uploads.idempotency import IdempotencyKey

T = TypeVar("T")

READ_BYTES = 64 * KIB  # a JSON body grows by this: most fit into the first


def actor_of(request: Request) -> Actor:
    """Who asks. Nobody has a name here: the session id is the capability."""
    return ANYBODY


def language_of(request: Request) -> str:
    """From `?lang=`, else from `Accept-Language`."""
    return choose_language(request.args.get("lang") or request.headers.get("Accept-Language", ""))


def announced_bytes(request: Request) -> int | None:
    """The size of the request's body as its head tells it; None where only its end will."""
    if request.content_length is not None or "Transfer-Encoding" in request.headers:
        return request.content_length
    return 0 if request.http_version.startswith("1") else None  # no framing is no body, RFC 9112 §6.3


async def read_json(request: Request, settings: Settings) -> object:
    """The body as a JSON value; no body at all is `{}`.

    Raises: InvalidMessage, MessageTooLarge, ConnectionTimeout, NetworkError. Cancel-safe.
    """
    body = request.incoming.body()
    most = settings.max_json_bytes
    if body.length is not None and body.length > most:
        raise MessageTooLarge(f"Content-Length: at most {most} bytes of JSON are allowed")
    taken = bytearray()
    try:
        while piece := await _next_piece(body, settings.body_idle_timeout_s):
            taken += piece
            if len(taken) > most:
                raise MessageTooLarge(f"body: at most {most} bytes of JSON are allowed")
    except BodyBroken as broken:
        raise NetworkError(f"body: {broken}") from None
    return parse_json(bytes(taken)) if taken else {}


async def _next_piece(body: Body, idle_s: float) -> memoryview:
    buffer = memoryview(bytearray(READ_BYTES))
    while True:
        with trio.move_on_after(idle_s) as deadline:
            await body.wait_readable()
        if deadline.cancelled_caught:
            raise ConnectionTimeout(f"body: no byte came for {idle_s:g} s")
        try:
            return buffer[: body.receive_nowait(buffer)]
        except trio.WouldBlock:
            continue


async def read_struct(
    request: Request, settings: Settings, wanted: type[T]
) -> tuple[T, IdempotencyKey | None]:
    """A JSON body as the wanted type, and the request's Idempotency-Key if it has one."""
    value = await read_json(request, settings)
    return convert(value, wanted), idempotency_key(request, value)


def idempotency_key(request: Request, value: object) -> IdempotencyKey | None:
    """The request's Idempotency-Key if it has one; `value` is what makes it the same request, as JSON."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    scope = f"{actor_of(request).subject} {request.method} {request.path.rstrip('/')}"
    canonical = msgspec.json.encode(value, order="sorted")
    return IdempotencyKey(scope, key, hashlib.sha256(canonical).hexdigest())
