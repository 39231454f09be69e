"""Uploads from web pages: what browsers ask and what scripts may see (Fetch Standard, "CORS protocol")."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import OCTET, Tus
from tests.conformance.wire import Answer

EXPOSE = "access-control-expose-headers"
METHODS = ("post", "get", "head", "patch", "delete", "options")
REQUEST_FIELDS = (
    *("authorization", "content-type", "upload-length", "upload-offset", "upload-metadata"),
    *("upload-defer-length", "upload-concat", "upload-checksum", "tus-resumable"),
    *("x-http-method-override", "x-requested-with", "x-request-id"),
)
OTHER_REQUEST_FIELDS = (
    *("idempotency-key", "upload-complete", "upload-draft-interop-version"),
    *("repr-digest", "content-digest", "want-repr-digest"),
)
EXPOSED = (
    *("location", "upload-offset", "upload-length", "upload-metadata", "upload-expires"),
    *("upload-defer-length", "upload-concat", "tus-version", "tus-resumable", "tus-max-size"),
    *("tus-extension", "tus-checksum-algorithm"),
)
OTHER_EXPOSED = (
    *("upload-complete", "upload-limit", "upload-draft-interop-version", "retry-after", "repr-digest"),
)


def lowered(answer: Answer, name: str) -> set[str]:
    return {word.lower() for word in answer.words(name)}


def missing(answer: Answer, name: str, wanted: Iterable[str]) -> set[str]:
    """What is not allowed; "*" is everything except, for requests, Authorization."""
    allowed = lowered(answer, name)
    return {
        word for word in wanted if word not in allowed and ("*" not in allowed or word == "authorization")
    }


async def preflight(tus: Tus, origin: str, *asked: str) -> Answer:
    fields = [("Origin", origin), ("Access-Control-Request-Method", "PATCH")]
    if asked:
        fields.append(("Access-Control-Request-Headers", ",".join(sorted(asked))))
    return await tus.options(fields=fields)


@line("CORS1", "C")
async def test_tus_CORS1_every_method_is_allowed(tus: Tus, origin: str) -> None:
    assert not missing(await preflight(tus, origin), "access-control-allow-methods", METHODS)


@line("CORS2", "C")
async def test_tus_CORS2_clients_may_send_what_the_protocol_needs(tus: Tus, origin: str) -> None:
    answer = await preflight(tus, origin, *REQUEST_FIELDS)
    assert not missing(answer, "access-control-allow-headers", REQUEST_FIELDS)


@line("CORS2", "U")
async def test_tus_CORS2_clients_may_send_what_related_protocols_need(tus: Tus, origin: str) -> None:
    answer = await preflight(tus, origin, *OTHER_REQUEST_FIELDS)
    assert not missing(answer, "access-control-allow-headers", OTHER_REQUEST_FIELDS)


@line("CORS3", "C")
async def test_tus_CORS3_scripts_may_read_the_answers(tus: Tus, origin: str) -> None:
    """What is not exposed looks like "resuming does not work"."""
    assert not missing(await tus.post(("Upload-Length", "5"), ("Origin", origin)), EXPOSE, EXPOSED)


@line("CORS3", "U")
async def test_tus_CORS3_scripts_may_read_what_related_protocols_answer(tus: Tus, origin: str) -> None:
    assert not missing(await tus.post(("Upload-Length", "5"), ("Origin", origin)), EXPOSE, OTHER_EXPOSED)


@line("CORS4", "C")
async def test_tus_CORS4_a_preflight_is_good_for_a_while(tus: Tus, origin: str) -> None:
    assert int((await preflight(tus, origin))["access-control-max-age"]) >= 600


@line("CORS5", "C")
@pytest.mark.parametrize("case", ["unknown", "conflict", "bad length", "wrong version"])
async def test_tus_CORS5_refusals_can_be_read_too(tus: Tus, origin: str, case: str) -> None:
    at_7 = [OCTET, ("Upload-Offset", "7"), ("Origin", origin)]
    match case:
        case "unknown":
            answer = await tus.ask("HEAD", await tus.unknown(), [("Origin", origin)])
        case "conflict":
            answer = await tus.ask("PATCH", (await tus.create(10)).path, at_7, b"hello")
        case "bad length":
            answer = await tus.post(("Upload-Length", "five"), ("Origin", origin))
        case _:
            answer = await tus.ask("POST", None, [("Origin", origin)], version="0.2.2")
    assert answer.status >= 400
    assert answer["access-control-allow-origin"] in ("*", origin)
    assert not missing(answer, EXPOSE, ["tus-resumable"])


@line("CORS6", "C")
async def test_tus_CORS6_an_echoed_origin_is_not_for_caches(tus: Tus, origin: str) -> None:
    for answer in (await preflight(tus, origin), await tus.post(("Upload-Length", "5"), ("Origin", origin))):
        if answer["access-control-allow-origin"] != "*":
            assert "origin" in lowered(answer, "vary")


@line("CORS7", "U")
async def test_tus_CORS7_content_types_are_not_guessed(tus: Tus) -> None:
    upload = await tus.finished(b"hello")
    await upload.settled()
    got = await upload.get()
    assert got["x-content-type-options"] == "nosniff"
