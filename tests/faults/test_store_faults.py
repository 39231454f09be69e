"""Every row of the table of faults happens, over HTTP, and ends well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from penstock.server.settings import MIB
from tests.acceptance.api import Answer
from tests.acceptance.sizes import full_or
from tests.faults.requests import REQUESTS, Play
from tests.faults.scenes import Scene, scene
from tests.faults.senders import (
    BIG,
    DIALECTS,
    SMALL,
    SMALL_FORM,
    Dialect,
    ask,
    code_of,
    first_half,
    put,
    registered,
)
from tests.faults.store_world import BUFFER_BYTES, running
from tests.faults.table import BEGIN, END, ROWS, Head, Next, Row, Statement, Strike, markdown

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def cells() -> Iterator[ParameterSet]:
    """Each sender with the first error of a row, and its first sender with the others; at full size all."""
    for number, row in enumerate(ROWS):
        for sender in row.senders:
            for error in row.fault.errors:
                if full_or(sender == row.senders[0] or error == row.fault.errors[0], True):
                    name = f"{number}-{row.request}-{sender}-{row.fault.names[error]}"
                    yield pytest.param(row, sender, error, id=name.replace(" ", "_"))


@pytest.mark.parametrize(("row", "sender", "error"), list(cells()))
async def test_a_fault(row: Row, sender: str, error: int, tmp_path: Path) -> None:
    often = row.request.endswith("syncing often")
    async with running(tmp_path, sync_every_bytes=2 * BUFFER_BYTES if often else 64 * MIB) as world:
        upload = await registered(world.api, SMALL if sender == SMALL_FORM else BIG)
        if row.request == "rest":
            await first_half(world.api, upload)
            await world.restart()
        async with scene(world, upload) as played:
            await _play(played, row, sender, error)


async def _play(scene: Scene, row: Row, sender: str, error: int) -> None:
    dialect = DIALECTS.get(sender, DIALECTS["tus"])
    play = await REQUESTS[row.request.partition(",")[0]](scene, sender, lambda: _strike(scene, row, error))
    status, code = row.answer
    assert (play.answer.status, code_of(play.answer)) == (
        status or play.done,
        "" if sender == "HEAD" else code,
    )
    _check_head(row.head, await ask(scene.world.api, dialect.head(scene.upload)))
    assert tuple(await scene.told()) == row.watchers
    scene.world.heal()
    await _go_on(scene, row.next, play, dialect)
    await scene.assert_watchable()


def _strike(scene: Scene, row: Row, error: int) -> None:
    match row.strike:
        case Statement(containing, nth, lasting):
            scene.world.statements.fail(error, nth=nth, containing=containing, lasting=lasting)
        case Strike(call, path, nth, lasting):
            scene.world.kernel.fail(error, nth=nth, name=call or None, path=path, lasting=lasting)


def _check_head(head: Head, answer: Answer) -> None:
    has_failed = answer.headers.get("upload-state") == "failed" and answer.status == 200
    match head:
        case Head.OFFSET:
            assert answer.status in (200, 204)
            assert answer.offset >= 0
        case Head.LOCKED:
            assert answer.status == 423
            assert answer.headers["retry-after"]
        case Head.FAILED:
            assert has_failed or answer.status == 410
        case Head.GONE:
            assert answer.status in (410, 423)
        case Head.UNKNOWN:
            assert answer.status < 500


async def _go_on(scene: Scene, what: Next, play: Play, dialect: Dialect) -> None:
    upload = scene.upload
    match what:
        case Next.RESUME:
            offset = await scene.offset(dialect)
            await scene.complete(dialect.request(upload, offset), dialect)
        case Next.ANEW:
            await scene.complete(put(upload), DIALECTS["PUT"])
            assert (await upload.view())["attempt"] == 2
        case Next.NOTHING:
            assert await scene.offset(dialect) == upload.content.size
            await scene.assert_stored()
        case Next.DONE:
            await scene.assert_stored()
        case Next.AGAIN:
            answer = await ask(scene.world.api, play.request)
            assert answer.status == play.done, answer
        case Next.SWEPT:
            assert scene.has_bytes()
            await scene.world.gateway.janitor.sweep_orphans(min_age_s=0)
            assert not scene.has_bytes()


def test_the_page_shows_the_table() -> None:
    """`PYTHONPATH=. python -P -m tests.faults.table` prints what belongs between the marks."""
    shown = PAGE.read_text("utf-8").partition(f"{BEGIN}\n")[2].partition(END)[0]
    assert shown.strip() == markdown().strip()
