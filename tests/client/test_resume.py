"""Uploads that are interrupted, by people or by the network, and go on."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest
import trio

from penstock.server.exits import Exit
from tests.client.rig import Client, Running, noise, summary, uploaded
from tests.faults.proxy import Fin, Proxy, Rst, Stall, calm, proxied
from tests.running import Server, serving

SIZE = 3_000_000
PART = 1_000_000
HEADS = 20_000  # the requests around the bytes of a short upload, the WebSocket's too
FULL_SIZE = int(os.environ.get("CUT_UPLOAD_BYTES", 48 * 1024 * 1024))
"""Of the large file. At full size: CUT_UPLOAD_BYTES=1073741824, cuts after 5 to 50 MiB."""


def stalls(number: int) -> Sequence[Stall]:
    """Every connection, after the first part."""
    return [Stall(PART)]


async def _wait_stalled(proxy: Proxy, running: Running) -> str:
    """The session's id, once its first connection moves no byte any more."""
    session = await trio.to_thread.run_sync(running.wait_told, "session")
    await proxy.wait_cuts()
    return str(session["sessionId"])


async def _end(running: Running) -> int:
    return await trio.to_thread.run_sync(running.end)


async def test_after_ctrl_c_it_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    content = noise(SIZE)
    (tmp_path / "file.bin").write_bytes(content)
    async with proxied(server.url, stalls) as (proxy, url):
        client = Client(tmp_path, url)
        with client.running("upload", "file.bin") as running:
            session = await _wait_stalled(proxy, running)
            running.process.send_signal(signal.SIGINT)
            assert await _end(running) == Exit.INTERRUPTED
        assert summary(running.told)["resume"] == f"penstock upload --resume {session}"
        before = proxy.sent_up_bytes
        proxy.plan = calm
        told = await trio.to_thread.run_sync(client.told, "upload", "--resume", session[:8])
        assert await trio.to_thread.run_sync(uploaded, told) == {"file.bin": content}
        assert proxy.sent_up_bytes - before < SIZE - PART / 2  # and did not begin anew


async def test_what_an_earlier_version_began_with_put_goes_on(server: Server, tmp_path: Path) -> None:
    content = noise(SIZE)
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    async with proxied(server.url) as (proxy, url), httpx2.AsyncClient(trust_env=False) as http:
        registration = {"files": [{"fileName": "file.bin", "fileId": "1", "fileSize": SIZE}]}
        made = (await http.post(f"{url}/api/upload/sessions", json=registration)).json()
        put_url = made["files"][0]["uploadUrl"]
        part = {"Content-Range": f"bytes 0-{PART - 1}/{SIZE}"}
        assert (await http.put(url + put_url, content=content[:PART], headers=part)).status_code == 202
        file = {"fileId": "1", "uploadUrl": put_url, "name": "file.bin", "path": str(path), "size": SIZE}
        record = {
            "sessionId": made["sessionId"],
            "watchKey": made["watchKey"],
            "server": url,
            "category": None,
            "createdAt": time.time(),
            "files": [{**file, "mtimeNs": path.stat().st_mtime_ns}],
        }
        records = tmp_path / "state" / "penstock" / "sessions"
        records.mkdir(parents=True)
        (records / f"{made['sessionId']}.json").write_text(json.dumps(record))
        before = proxy.sent_up_bytes
        client = Client(tmp_path, url)
        told = await trio.to_thread.run_sync(client.told, "upload", "--resume", made["sessionId"])
        assert await trio.to_thread.run_sync(uploaded, told) == {"file.bin": content}
        assert proxy.sent_up_bytes - before < SIZE - PART + HEADS


def test_a_file_the_session_does_not_have_is_not_resumed(client: Client) -> None:
    (client.home / "a").write_bytes(b"a")
    session = summary(client.told("upload", "a"))["sessionId"]
    path = client.home / "state" / "penstock" / "sessions" / f"{session}.json"
    path.write_text(path.read_text().replace('"fileId": "1"', '"fileId": "2"'))
    done = client("upload", "--resume", session)
    assert done.returncode == Exit.REFUSED
    assert "no address for a\n  upload the file again" in done.stderr


async def test_a_file_that_changed_is_not_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(noise(SIZE))
    async with proxied(server.url, stalls) as (proxy, url):
        client = Client(tmp_path, url)
        with client.running("upload", "file.bin") as running:
            session = await _wait_stalled(proxy, running)
            running.process.send_signal(signal.SIGINT)
            await _end(running)
        proxy.plan = calm
        (tmp_path / "file.bin").write_bytes(noise(SIZE))
        done = await trio.to_thread.run_sync(client, "upload", "--resume", session)
    assert done.returncode == Exit.FAILED
    assert "file.bin: it has changed since" in done.stderr
    assert f"penstock cancel {session}" in done.stderr


async def test_a_file_that_changes_while_it_is_sent_fails(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(noise(SIZE))
    (tmp_path / "other.bin").write_bytes(b"other")
    async with proxied(server.url, stalls) as (proxy, url):
        with Client(tmp_path, url).running("upload", "file.bin", "other.bin") as running:
            await _wait_stalled(proxy, running)
            (tmp_path / "file.bin").write_bytes(noise(SIZE))
            proxy.plan = calm
            proxy.cut_all()
            assert await _end(running) == Exit.FAILED
        files = {file["fileName"]: file for file in summary(running.told)["files"]}
    assert files["other.bin"]["status"] == "completed"
    assert files["file.bin"]["problem"] == "it has changed since the upload began"
    assert not files["file.bin"]["url"]


async def test_a_restarted_server_is_found_again(tmp_path: Path) -> None:
    content = noise(SIZE)
    (tmp_path / "file.bin").write_bytes(content)
    with serving(cwd=tmp_path) as server:
        async with proxied(server.url, stalls) as (proxy, url):
            with Client(tmp_path, url).running("upload", "file.bin") as running:
                await _wait_stalled(proxy, running)
                server.process.kill()
                server.process.wait()
                proxy.plan = calm
                proxy.cut_all()
                with serving(cwd=tmp_path) as again:
                    proxy.port = httpx2.URL(again.url).port or 0
                    assert await _end(running) == Exit.OK
                    assert await trio.to_thread.run_sync(uploaded, running.told) == {"file.bin": content}


@pytest.mark.parametrize("cut", [Fin, Rst])
async def test_a_network_that_cuts_every_connection(
    server: Server, tmp_path: Path, cut: type[Fin] | type[Rst]
) -> None:
    contents = {"large.bin": noise(FULL_SIZE), "middle.bin": noise(700_000), "small.bin": noise(10)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    dice = random.Random(7)
    shortest, longest = FULL_SIZE // 200, FULL_SIZE // 20
    async with proxied(server.url, lambda number: [cut(dice.randint(shortest, longest))]) as (proxy, url):
        with Client(tmp_path, url).running("upload", *contents) as running:
            assert await _end(running) == Exit.OK
        proxy.plan = calm
        assert await trio.to_thread.run_sync(uploaded, running.told) == contents
        assert proxy.cuts > 5
        heads = 2_000 * proxy.connections
        assert proxy.sent_up_bytes <= 1.0001 * sum(map(len, contents.values())) + heads
    assert not _steps_back(running)


def _steps_back(running: Running) -> list[int]:
    """By how much the server's numbers went down, in bytes."""
    best: dict[str, int] = {}
    steps: list[int] = []
    for told in running.told:
        if told["event"] == "upload-progress" and (file := told["fileId"]):
            steps.append(best.get(file, 0) - told["uploadedBytes"])
            best[file] = max(best.get(file, 0), told["uploadedBytes"])
    return [step for step in steps if step > 0]


async def test_without_websockets_the_numbers_come_by_polling(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"content")
    async with proxied(server.url) as (proxy, url):
        proxy.unwanted = b"GET /api/v1/ws"
        client = Client(tmp_path, url)
        told = await trio.to_thread.run_sync(client.told, "upload", "file.bin")
        session = summary(told)["sessionId"]
        watched = await trio.to_thread.run_sync(client.told, "watch", session)
    assert [one["event"] for one in watched] == ["snapshot", "upload-progress"]
    assert watched[-1]["overallStatus"] == "completed"
