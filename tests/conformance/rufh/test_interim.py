"""104 (Upload Resumption Supported) (draft: "Status Code 104")."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.conftest import Start, Tune
from tests.conformance.http2 import http2_to, open_request
from tests.conformance.lines import rufh as line
from tests.conformance.rufh.client import EXPECT, LATEST, VERSION, Draft, hints
from tests.conformance.tus.client import content
from tests.conformance.wire import Answer, Exchange

BODY = content(200_000)
STEP_BYTES, PAUSE_S = 500, 0.05  # 20 s for all of it: longer than a server may wait with its answers
BRISK = ("--sync-every-s", "0.2")


@pytest.fixture
def brisk(tuned: Tune) -> Draft:
    """A server that makes bytes durable often, so that there is progress to tell."""
    return Draft(tuned(*BRISK))


async def hints_while_sending(exchange: Exchange) -> list[Answer]:
    """All 104s to a body that is sent slowly until one of them has an offset."""
    told = trio.Event()

    async def listen() -> None:
        while "upload-offset" not in await exchange.interim():
            pass
        told.set()

    sent = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        while not told.is_set():
            await exchange.send(BODY[sent : sent + STEP_BYTES])
            sent += STEP_BYTES
            with trio.move_on_after(PAUSE_S):
                await told.wait()
    answer = await exchange.answer_to(BODY[sent:])
    assert answer.ok, answer
    return hints(answer)


def check_offsets(told: list[Answer]) -> None:
    offsets = [hint.offset for hint in told if "upload-offset" in hint]
    assert offsets
    assert offsets == sorted(offsets)
    assert offsets[-1] <= len(BODY)


@line("I1", "S")
async def test_rufh_I1_an_upload_is_announced_on_http2_too(draft: Draft) -> None:
    fields = [(VERSION, str(LATEST)), ("Upload-Complete", "?1")]
    async with http2_to(draft.target) as client:
        stream = await open_request(client, draft.target, "POST", draft.target.path, fields, end=False)
        await client.send_body(stream, BODY)
        answer = await client.answer(stream)
    assert 104 in answer.informational
    assert answer.headers[b"upload-complete"] == b"?1"


@line("P11", "S")
async def test_rufh_P11_an_append_is_told_how_far_it_is(brisk: Draft) -> None:
    upload = await brisk.begin(len(BODY))
    async with upload.appending(0, len(BODY), complete=True) as exchange:
        check_offsets(await hints_while_sending(exchange))
    await upload.check_content(BODY)


@line("I3", "M")
async def test_rufh_I3_an_append_is_not_told_where_it_is(brisk: Draft) -> None:
    upload = await brisk.begin(len(BODY))
    async with upload.appending(0, len(BODY), complete=True) as exchange:
        told = await hints_while_sending(exchange)
    assert not [hint for hint in told if "location" in hint]


@line("I2", "U")
async def test_rufh_I2_a_creation_is_told_how_far_it_is(brisk: Draft) -> None:
    async with brisk.posting(True, len(BODY)) as exchange:
        check_offsets(await hints_while_sending(exchange))


@line("I4", "M")
async def test_rufh_I4_a_104_is_no_100(draft: Draft) -> None:
    async with draft.posting(True, len(BODY), EXPECT) as exchange:
        statuses = {(await exchange.interim()).status, (await exchange.interim()).status}
        assert statuses == {100, 104}
        assert (await exchange.answer_to(BODY)).ok


@line("I5", "M")
async def test_rufh_I5_an_offset_is_a_promise(start: Start) -> None:
    server = start(ours=BRISK)
    draft = Draft(server.target)
    upload = await draft.begin(len(BODY))
    async with upload.appending(0, len(BODY)) as exchange, trio.open_nursery() as nursery:
        nursery.start_soon(exchange.trickle, BODY, STEP_BYTES, PAUSE_S)
        told = await exchange.interim()
        server.kill()
        nursery.cancel_scope.cancel()
    server.start()
    draft.target = server.target
    assert await upload.offset() >= told.offset
    await upload.finish(BODY)


@line("I6", "U")
async def test_rufh_I6_old_clients_get_no_interim_answers(draft: Draft) -> None:
    head = draft.target.head(
        "POST", None, [(VERSION, str(LATEST)), ("Upload-Complete", "?1"), ("Content-Length", "5")]
    ).replace(b"HTTP/1.1", b"HTTP/1.0")
    async with await draft.target.connect() as stream:
        exchange = Exchange(stream, "POST")
        await exchange.send(head + b"hello")
        told = await exchange.until_closed()
    assert told.startswith((b"HTTP/1.0 2", b"HTTP/1.1 2"))
