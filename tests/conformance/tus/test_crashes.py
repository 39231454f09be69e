"""kill -9, and the same directory again: what was announced is kept, what was not verified is not."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import trio

from tests.acceptance.sizes import full_or
from tests.conformance.conftest import Start
from tests.conformance.lines import tus as line
from tests.conformance.processes import Server
from tests.conformance.tus.client import Tus, Upload, content
from tests.conformance.tus.test_checksum import checksum
from tests.conformance.tus.test_concatenation import PARTIAL, final
from tests.conformance.wire import NoAnswer

BODY = content(4_000_000)
KILLS = full_or(3, 20)
LATEST_KILL_S = 0.05  # after what is to be interrupted was sent


def check_stored(directory: Path, wanted: bytes) -> None:
    """Where files of that size lie below the directory, one of them holds these bytes and no more."""
    paths = [path for path in directory.rglob("*") if path.is_file()]
    large = [path.read_bytes() for path in paths if path.stat().st_size > len(wanted) // 2]
    assert not large or wanted in large, [len(found) for found in large]


def restart(server: Server, tus: Tus) -> None:
    server.restart()
    tus.target = server.target


@line("P15", "U")
async def test_tus_P15_killed_in_mid_append_again_and_again(start: Start) -> None:
    server = start()
    tus = Tus(server.target)
    upload = await tus.create(len(BODY))
    dice = random.Random(0)
    announced = 0
    for number in range(KILLS):
        offset = await upload.offset()
        assert offset >= announced
        stop = offset + (len(BODY) - offset) // (KILLS + 1 - number) + dice.randrange(1000)
        async with upload.patching(offset, len(BODY) - offset) as exchange:
            await exchange.send(BODY[offset:stop])
            await trio.sleep(dice.uniform(0, LATEST_KILL_S))
            server.kill()
        restart(server, tus)
        announced = await upload.offset()
        assert offset <= announced <= stop
    await upload.finish(BODY)
    check_stored(server.directory, BODY)


@line("H6", "U")
async def test_tus_H6_an_announced_offset_survives_a_kill(start: Start) -> None:
    server = start()
    tus = Tus(server.target)
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:1_000_000])
        announced = await upload.offset()
        server.kill()
    restart(server, tus)
    assert await upload.offset() >= announced
    await upload.finish(BODY)


@line("H6", "U")
async def test_tus_H6_a_finished_upload_survives_a_kill(start: Start) -> None:
    server = start()
    tus = Tus(server.target)
    upload = await tus.finished(BODY)
    restart(server, tus)
    await upload.check_content(BODY)


@line("K8", "U")
async def test_tus_K8_a_kill_keeps_nothing_that_was_not_verified(start: Start) -> None:
    server = start()
    tus = Tus(server.target)
    await tus.require("checksum")
    upload = await tus.create(len(BODY))
    await upload.append(0, BODY[:1000])
    async with upload.patching(1000, 3_000_000, checksum(BODY[1000:3_001_000])) as exchange:
        await exchange.send(BODY[1000:2_500_000])
        await trio.sleep(LATEST_KILL_S)
        server.kill()
    restart(server, tus)
    await upload.check_unchanged(1000)
    await upload.finish(BODY)


@line("T6", "U")
async def test_tus_T6_a_kill_leaves_a_termination_undone_or_done(start: Start) -> None:
    server = start()
    tus = Tus(server.target)
    await tus.require("termination")
    dice = random.Random(0)
    for _ in range(KILLS):
        upload = await tus.create(len(BODY))
        await upload.append(0, BODY[:1_000_000])
        async with tus.asking("DELETE", upload.path, length=0):
            await trio.sleep(dice.uniform(0, LATEST_KILL_S / 10))
            server.kill()
        restart(server, tus)
        await check_whole_or_gone(upload)


async def check_whole_or_gone(upload: Upload) -> None:
    head = await upload.head()
    if head.ok:
        assert head.offset == 1_000_000
        assert (await upload.delete()).status == 204
    await upload.check_gone()


@line("X14", "U")
async def test_tus_X14_a_kill_leaves_no_half_concatenation(start: Start) -> None:
    server = start()
    tus = Tus(server.target)
    await tus.require("concatenation")
    dice = random.Random(0)
    parts = [await tus.finished(BODY, PARTIAL) for _ in range(2)]
    wanted = final(*(part.path for part in parts))
    for _ in range(KILLS):
        async with tus.asking("POST", None, [wanted], length=0) as exchange:
            with trio.move_on_after(dice.uniform(0, LATEST_KILL_S)):
                with suppress(NoAnswer):
                    await exchange.answer()
            server.kill()
        restart(server, tus)
        await tus.created(await tus.post(wanted)).check_content(BODY + BODY)
