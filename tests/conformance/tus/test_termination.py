"""DELETE (tus 1.0.0, "Termination")."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.conftest import Start
from tests.conformance.lines import tus as line
from tests.conformance.tus.client import Tus, content

BODY = content(10_000)


@pytest.fixture(autouse=True)
def offered(tus: Tus) -> None:
    trio.run(tus.require, "termination")


@line("T1", "M")
@pytest.mark.parametrize("sent", [0, 100, len(BODY)])
async def test_tus_T1_an_upload_can_be_terminated(tus: Tus, sent: int) -> None:
    upload = await tus.create(len(BODY))
    if sent:
        await upload.append(0, BODY[:sent])
        await upload.settled()
    assert (await upload.delete()).status == 204


@line("T2", "S")
async def test_tus_T2_an_unknown_upload_cannot_be_terminated(tus: Tus) -> None:
    assert (await tus.ask("DELETE", await tus.unknown())).status in (404, 410)


@line("T2", "S")
@pytest.mark.parametrize("sent", [100, len(BODY)])
async def test_tus_T2_a_terminated_upload_is_gone(tus: Tus, sent: int) -> None:
    upload = await tus.create(len(BODY))
    await upload.append(0, BODY[:sent])
    await upload.settled()
    await upload.delete()
    await upload.check_gone()
    assert (await upload.get()).status in (404, 405, 410)


@line("T3", "U")
async def test_tus_T3_a_running_append_is_ended_first(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY)) as exchange:
        await exchange.send(BODY[:5000])
        assert (await upload.delete()).status == 204
        await exchange.send(BODY[5000:])
        told = b"HTTP/1.1 2" not in await exchange.until_closed()
    assert told, "the writer must not take it for stored"
    await upload.check_gone()


@line("T4", "U")
async def test_tus_T4_finished_uploads_can_be_kept(penstock: Start) -> None:
    tus = Tus(penstock(ours=("--no-terminate-finished",)).target)
    upload = await tus.finished(BODY)
    assert (await upload.delete()).status in (403, 409)
    await upload.check_content(BODY)
    unfinished = await tus.create(5)
    assert (await unfinished.delete()).status == 204
