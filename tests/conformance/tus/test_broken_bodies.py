"""Bodies that break off, crawl or are not wanted (tus 1.0.0, "PATCH")."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.conftest import Tune
from tests.conformance.lines import tus as line
from tests.conformance.tus.client import OCTET, Tus, content
from tests.conformance.wire import Exchange, chunk

BODY = content(300_000)
SENT = 100_000
IDLE_S = 1.0
IMPATIENT = ("--body-idle-timeout-s", str(IDLE_S))


async def fin(exchange: Exchange) -> None:
    await exchange.stream.aclose()


async def rst(exchange: Exchange) -> None:
    await trio.sleep(0.3)  # what was not yet read when it arrives may be lost
    exchange.reset()


async def half_close(exchange: Exchange) -> None:
    await exchange.half_close()
    await exchange.until_closed()


ENDS = {"FIN": fin, "RST": rst, "half-close": half_close}


@line("P7", "S")
@pytest.mark.parametrize("end", ENDS)
async def test_tus_P7_what_arrived_is_kept(tus: Tus, end: str) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:SENT])
        await ENDS[end](exchange)
    await upload.until_offset(SENT)
    await upload.finish(BODY)


@line("P7", "S")
async def test_tus_P7_what_arrived_of_a_chunk_is_kept(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, None) as exchange:
        await exchange.send(chunk(BODY[:1000]) + chunk(BODY[1000:])[: SENT - 1000])
    with trio.fail_after(10):
        while not 1000 <= (offset := await upload.offset()) <= SENT:  # noqa: ASYNC110  # no event for us
            await trio.sleep(0.05)
    assert offset > 1000
    await upload.finish(BODY)


@line("P7", "S")
@pytest.mark.parametrize("broken", [b"5\r\nhelloX", b"zz\r\nhello", b"-5\r\nhello"])
async def test_tus_P7_broken_framing_adds_nothing_wrong(tus: Tus, broken: bytes) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, None) as exchange:
        await exchange.send(chunk(BODY[:1000]) + broken)
        told = await exchange.until_closed()
    assert b"HTTP/1.1 2" not in told
    offset = await upload.offset()
    assert offset in (0, 1000, 1005)
    expected = BODY[:1000] + b"hello"
    await upload.finish(expected[:offset] + BODY[offset:])


@line("P8", "S")
async def test_tus_P8_who_falls_silent_is_cut_off_and_keeps_its_bytes(tuned: Tune) -> None:
    upload = await Tus(tuned(*IMPATIENT)).create(len(BODY))
    if not upload.tus.target.ours:
        pytest.skip("its read timeout is not known")
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:SENT])
        told = await exchange.until_closed()
    assert b"HTTP/1.1 2" not in told
    await upload.until_offset(SENT)
    await upload.finish(BODY)


@line("P8", "S")
async def test_tus_P8_the_timeout_is_for_each_read(tuned: Tune) -> None:
    upload = await Tus(tuned(*IMPATIENT)).create(10)
    async with upload.patching(0, 10) as exchange:
        assert await exchange.trickle(BODY[:10], 1, IDLE_S / 5)
        answer = await exchange.answer()
    assert (answer.status, answer.offset) == (204, 10)
    await upload.check_content(BODY[:10])


REFUSALS: dict[str, tuple[list[tuple[str, str]], tuple[int, ...]]] = {
    "wrong offset": ([OCTET, ("Upload-Offset", "7")], (409,)),
    "wrong type": ([("Content-Type", "text/plain"), ("Upload-Offset", "0")], (400, 415)),
    "no offset": ([OCTET], (400, 403)),
    "too long": ([OCTET, ("Upload-Offset", "0")], (400, 413)),
}


@line("P14", "U")
@pytest.mark.parametrize("case", REFUSALS)
async def test_tus_P14_an_early_refusal_can_be_read(tus: Tus, case: str) -> None:
    """By a client that only listens after it has sent all."""
    fields, statuses = REFUSALS[case]
    body = BODY * 8
    upload = await tus.create(len(BODY) if case == "too long" else len(body))
    async with tus.asking("PATCH", upload.path, fields, length=len(body)) as exchange:
        await exchange.send(body)
        answer = await exchange.answer()
    assert answer.status in statuses
    assert await upload.offset() <= len(BODY)
