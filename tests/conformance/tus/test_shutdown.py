"""SIGTERM, and two servers on one directory."""

from __future__ import annotations

import signal
from contextlib import suppress
from functools import partial

import trio

from tests.conformance.conftest import Start
from tests.conformance.lines import tus as line
from tests.conformance.processes import NotStarted
from tests.conformance.tus.client import EXPECT, Tus, content, is_worth_a_retry, together
from tests.conformance.wire import Answer, NoAnswer

BODY = content(400_000)
SENT = 100_000
GRACE_S = 15.0


@line("L5", "U")
async def test_tus_L5_a_shutdown_ends_appends_and_keeps_their_bytes(start: Start) -> None:
    server = start()
    tus = Tus(server.target)
    upload = await tus.create(len(BODY))
    answer: Answer | None = None
    async with upload.patching(0, len(BODY), EXPECT) as exchange:
        await exchange.begun()
        await exchange.send(BODY[:SENT])
        await trio.sleep(0.3)  # and has what was sent
        server.process.send_signal(signal.SIGTERM)
        with suppress(NoAnswer):
            answer = await exchange.answer()
    assert is_worth_a_retry(answer), answer
    await trio.to_thread.run_sync(server.process.wait, GRACE_S)
    server.start()
    tus.target = server.target
    await upload.until_offset(SENT)
    await upload.finish(BODY)


@line("H8", "C")
async def test_tus_H8_a_shutdown_says_of_no_upload_that_it_is_gone(start: Start) -> None:
    server = start()
    tus = Tus(server.target)
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:SENT])
        async with tus.asking("HEAD", upload.path) as asking:
            server.process.send_signal(signal.SIGTERM)
            with suppress(NoAnswer):
                assert (await asking.answer()).status in (200, 204, 423)
    await trio.to_thread.run_sync(server.process.wait, GRACE_S)


@line("L6", "U")
async def test_tus_L6_a_second_server_on_the_directory_refuses_or_shares(start: Start) -> None:
    server = start()
    second = server.twin()
    try:
        second.start()
    except NotStarted:
        return
    try:
        upload = await Tus(server.target).create(len(BODY))
        other = await Tus(second.target).create(len(BODY))
        other.path = upload.path
        answers = await together(partial(upload.patch, 0, BODY), partial(other.patch, 0, BODY))
        assert [answer.status for answer in answers if answer].count(204) == 1
        await upload.finish(BODY)
    finally:
        second.kill()
