"""tus as the client speaks it: offsets, lengths that come late, and what every refusal means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
import trio
import trio.testing

from penstock.protocol.commands import FileSpec
from penstock.protocol.errors import InsufficientStorage, problem
from penstock.server.client.api import Api, open_api
from penstock.server.client.dialect import Append, Target, TusDialect, Where, _trouble
from penstock.server.client.errors import Again, Locked, Refused, Stopped
from penstock.server.client.numbers import FileNumbers
from penstock.server.client.sources import FileSource, Piece
from penstock.server.client.transfer import Transfer
from tests.client.rig import download, noise
from tests.faults.proxy import proxied
from tests.running import PENSTOCK, Server, serving


def piece(content: bytes, first: int = 0, total: int | None = None) -> Piece:
    async def read(offset: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return content[offset - first :]

    return Piece(first, len(content), total, read)


class Upload:
    """A file that is registered, and the client's ways to it."""

    def __init__(self, api: Api, session: str, target: Target) -> None:
        self.api = api
        self.session = session
        self.target = target
        self.dialect = TusDialect(api)

    async def where(self) -> Where:
        with trio.fail_after(30):
            return await self.dialect.where(self.target)

    async def send(self, content: bytes, first: int = 0, total: int | None = None) -> Where:
        with trio.fail_after(30):
            return await self.dialect.append(self.target, piece(content, first, total), Append())

    async def command(self, name: str) -> None:
        await self.api.command(self.session, f"upload-{name}")

    async def stored(self, where: Where) -> bytes:
        assert where.view is not None
        assert isinstance(where.view.upload_path, str)
        return await trio.to_thread.run_sync(download, self.api.absolute(where.view.upload_path))


async def begin(api: Api, size: int | None) -> Upload:
    specs = [FileSpec(file_name="a.bin", file_size=size)]
    created = await api.create(None, specs, is_open=False, key=str(uuid4()))
    (file,) = created.files
    return Upload(api, created.session_id, Target(file.tus_url, file.upload_url, is_deferred=size is None))


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with open_api(server.url) as api:
        yield api


def test_a_disk_that_fills_up_is_waited_for() -> None:
    """What fitted is at the server; whoever frees some space finds the upload going on."""
    error = problem(InsufficientStorage("the disk is full"))
    answer = httpx2.Response(507, json=error, request=httpx2.Request("PATCH", "http://localhost/files/a"))
    assert isinstance(_trouble(answer), Again)


async def test_pieces_follow_each_other_and_the_last_completes_it(api: Api) -> None:
    upload = await begin(api, 10)
    assert await upload.where() == Where(0, paused=False)
    assert await upload.send(b"01234", 0, 10) == Where(5)
    assert await upload.where() == Where(5, paused=False)
    done = await upload.send(b"56789", 5, 10)
    assert (done.offset, await upload.stored(done)) == (10, b"0123456789")
    assert await upload.where() == done


@pytest.mark.parametrize("last", [b"56789", b""], ids=["bytes", "nothing"])
async def test_the_last_piece_tells_a_length_nobody_knew(api: Api, last: bytes) -> None:
    upload = await begin(api, None)
    assert await upload.send(b"01234") == Where(5)
    done = await upload.send(last, 5, 5 + len(last))
    assert await upload.stored(done) == b"01234" + last


@pytest.mark.parametrize("size", [0, None], ids=["registered", "found out"])
async def test_an_empty_file_is_ended_by_an_empty_request(api: Api, size: int | None) -> None:
    upload = await begin(api, size)
    assert await upload.stored(await upload.send(b"", 0, 0)) == b""


async def test_the_address_may_be_a_whole_one(api: Api) -> None:
    upload = await begin(api, 3)
    upload.target = upload.target._replace(tus_url=api.url + upload.target.tus_url)
    assert await upload.stored(await upload.send(b"abc", 0, 3)) == b"abc"


async def test_a_wrong_offset_means_to_ask_again(api: Api) -> None:
    upload = await begin(api, 10)
    await upload.send(b"01234", 0, 10)
    with pytest.raises(Again, match="continue from there"):
        await upload.send(b"6789", 6, 10)
    assert await upload.where() == Where(5, paused=False)


async def test_the_last_piece_again_after_a_lost_answer_is_no_trouble(api: Api) -> None:
    upload = await begin(api, 10)
    await upload.send(b"01234", 0, 10)
    done = await upload.send(b"56789", 5, 10)
    assert await upload.send(b"56789", 5, 10) == done
    with pytest.raises(Again):  # another piece: who asks is told that the file is complete
        await upload.send(b"3456789", 3, 10)
    assert await upload.where() == done


async def test_a_pause_is_seen(api: Api) -> None:
    upload = await begin(api, 10)
    await upload.send(b"01234", 0, 10)
    await upload.command("pause")
    assert await upload.where() == Where(5, paused=True)
    await upload.command("resume")
    assert await upload.where() == Where(5, paused=False)


async def test_a_cancel_is_known_at_once_and_for_good(api: Api) -> None:
    upload = await begin(api, 10)
    await upload.send(b"01234", 0, 10)
    await upload.command("cancel")
    with pytest.raises(Stopped):
        await upload.where()  # although a HEAD says 423 for a while
    with pytest.raises(Stopped):
        await upload.send(b"56789", 5, 10)


async def test_what_failed_for_good_says_why(api: Api) -> None:
    upload = await begin(api, 5)

    async def too_much() -> AsyncIterator[bytes]:  # noqa: ASYNC900 - what httpx2 takes as a body
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            yield b"0123"

    answer = await api.exchange("PUT", upload.target.view_url, content=too_much())
    assert answer.status_code == 413
    for refused in (upload.where, lambda: upload.send(b"01234", 0, 5)):
        with pytest.raises(Refused, match="goes beyond") as caught:
            await refused()
        assert caught.value.advice == "upload the file again"


async def test_what_the_server_no_longer_knows_is_said(api: Api) -> None:
    upload = await begin(api, 5)
    upload.target = upload.target._replace(tus_url=f"/files/{'0' * 32}")
    with pytest.raises(Refused, match="no such upload") as caught:
        await upload.send(b"01234", 0, 5)
    assert caught.value.advice == "upload the file again"
    gone = upload.target.view_url.replace(upload.session, str(uuid4()))
    upload.target = upload.target._replace(view_url=gone)
    with pytest.raises(Refused, match="no such session") as caught:
        await upload.where()
    assert "expired or never was here" in caught.value.advice


async def test_an_address_that_is_no_upload_is_not_trusted(api: Api) -> None:
    upload = await begin(api, 5)
    upload.target = upload.target._replace(tus_url="/healthz")
    with pytest.raises(Refused, match="no Upload-Offset") as caught:
        await upload.where()
    assert "check the address" in caught.value.advice


async def test_nothing_is_sent_for_a_file_that_is_known_to_be_paused(server: Server, tmp_path: Path) -> None:
    content = noise(3_000_000)
    (tmp_path / "a").write_bytes(content)
    numbers = FileNumbers("1", "a", len(content))
    async with proxied(server.url) as (proxy, url), open_api(url) as api:
        upload = await begin(api, len(content))
        await upload.command("pause")
        numbers.set_status("paused")
        with closing(FileSource.at(tmp_path / "a", "a")) as source, trio.fail_after(60):
            transfer = Transfer(upload.dialect, source, upload.target, numbers, is_new=True, give_up_s=30)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transfer.run)
                await trio.testing.wait_all_tasks_blocked(0.2)
                assert proxy.sent_up_bytes < 10_000
                await upload.command("resume")
                numbers.set_status("uploading")
        done = await upload.where()
        assert await upload.stored(done) == content


@pytest.mark.parametrize("size", [3_000_000, 0])
async def test_a_refused_request_tells_of_the_pause_and_the_file_goes_on_after_it(
    tmp_path: Path, size: int
) -> None:
    content = noise(size)
    (tmp_path / "a").write_bytes(content)
    numbers = FileNumbers("1", "a", size)
    with serving(PENSTOCK, "--pause-hold-s", "0.2", cwd=tmp_path) as server:
        async with open_api(server.url) as api:
            upload = await begin(api, size)
            await upload.command("pause")
            with pytest.raises(Locked, match="is paused") as caught:
                await upload.send(content, 0, size)
            assert caught.value.after_s > 0
            with closing(FileSource.at(tmp_path / "a", "a")) as source, trio.fail_after(60):
                transfer = Transfer(upload.dialect, source, upload.target, numbers, is_new=True, give_up_s=30)
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def run() -> None:
                        view = await transfer.run()
                        assert await upload.stored(Where(view.durable_bytes, view=view)) == content

                    while not numbers.paused:  # no event says so here
                        await trio.testing.wait_all_tasks_blocked(0.01)
                    await upload.command("resume")
                    numbers.set_status("uploading")
