"""Answers in JSON: values, and errors as RFC 9457 problems."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from quart_trio.wrappers import TrioResponse

from penstock.protocol.errors import JSON, GatewayError, InvalidMessage, problem


class Response(TrioResponse):
    """What views return."""


NO_STORE = {"Cache-Control": "no-store"}  # states change by the moment, and ids are secrets


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` may hold structs. Not to be cached unless `headers` say otherwise."""
    body = msgspec.json.encode(value)
    return Response(body, status, {**NO_STORE, **(headers or {})}, content_type="application/json")


def problem_answer(
    error: GatewayError, status: int | None = None, members: Mapping[str, JSON] | None = None
) -> Response:
    """An error as its table says, or with another status where HTTP has a better one; `members` are added to
    the problem, or replace its own."""
    status = status or error.wire.http
    body = msgspec.json.encode({**problem(error), "status": status, **(members or {})})
    return Response(body, status, {**NO_STORE, **error.headers}, content_type="application/problem+json")


def http_problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """What only HTTP knows (404 of an address, 405, 412, 416)."""
    return problem_answer(InvalidMessage(message, headers=dict(headers or {})), status)


def empty_answer(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    answer = Response(b"", status, {**NO_STORE, **(headers or {})})
    del answer.headers["Content-Type"]
    if status in (204, 304):  # it would describe the content that is not sent, RFC 9110 §8.6
        del answer.headers["Content-Length"]
    return answer
