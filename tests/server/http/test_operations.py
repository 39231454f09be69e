"""Health, readiness, limits, the front page; and what no route takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import trio

from penstock.server.edge.asgi import Message
from penstock.server.http.operations import LIMITS
from penstock.server.settings import Settings
from penstock.server.web.status_page import status_page
from penstock.storage.errors import StoreError
from tests.server.http.clients import BareClient, bare, created, over_sockets


@pytest.fixture
async def client() -> AsyncIterator[BareClient]:
    async with bare() as made:
        yield made


async def test_health(client: BareClient) -> None:
    assert (await client.ask("GET", "/healthz")).status == 200


async def test_ready(client: BareClient) -> None:
    answer = await client.ask("GET", "/readyz")
    assert (answer.status, answer.json["status"], answer.json["reasons"]) == (200, "ready", {})
    assert answer.json["fsync"].startswith("append: every announced offset")
    await client.gateway.drain()
    answer = await client.ask("GET", "/readyz")
    assert (answer.status, answer.json["draining"], set(answer.json["reasons"])) == (503, True, {"draining"})


async def test_a_stalled_disk() -> None:
    async with bare(lambda: {"disk": "an operation has been running for 31 s"}) as client:
        answer = await client.ask("GET", "/readyz")
        assert (answer.status, answer.json["draining"]) == (503, False)
        assert answer.json["reasons"] == {"disk": "an operation has been running for 31 s"}


async def test_limits(client: BareClient) -> None:
    limits = (await client.ask("GET", "/api/upload/limits")).json
    assert limits["maxSessionFiles"] == 50_000
    assert limits["categories"] == ["personal", "scenic"]
    assert len(limits) == len(LIMITS)


def test_every_limit_is_among_the_limits() -> None:
    about_clients = {name for name in Settings.__struct_fields__ if name.startswith(("max_", "messages_"))}
    assert about_clients <= set(LIMITS)


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.text = ""
        self.commands: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [v or "" for k, v in attrs if k in ("src", "href") and not (v or "").startswith("/")]

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags[-1:] == ["pre"] and data.strip():
            self.commands.append(data)


async def test_the_front_page(client: BareClient) -> None:
    answer = await client.ask("GET", "/", headers={"Host": "files.example:8005"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(answer.body.decode())
    assert "is running" in page.text
    assert "GATEWAY=http://files.example:8005\n" in page.text
    assert not page.outside
    chinese = await client.ask("GET", "/", headers={"Host": "x", "Accept-Language": "zh"})
    assert "正在运行" in chinese.body.decode()


async def test_the_commands_on_the_front_page_work(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    require_program("curl")
    data = bytes(range(256)) * 100
    (tmp_path / "movie.mp4").write_bytes(data)
    async with over_sockets() as client, client.connect() as raw:
        host, port = raw.stream.socket.getpeername()
        answer = await client.ask("GET", "/", headers={"Host": f"{host}:{port}"})
        upload, resume = Page(answer.body.decode()).commands
        upload_a_part = upload.replace("curl -T", 'curl -H "Content-Range: bytes 0-999/25600" -T').replace(
            "-T $FILE", "-T <(head -c 1000 $FILE)"
        )
        for script in (upload, f"{upload_a_part}\n{resume}"):
            run = await trio.run_process(["bash", "-euc", script], cwd=tmp_path, capture_stdout=True)
            assert b'"status":"completed"' in run.stdout
        assert [bytes(blob.data) for blob in client.blobs.published_blobs.values()] == [data, data]


def test_nothing_becomes_markup_or_a_command() -> None:
    page = Page(status_page("http://x/<script>alert(1)</script>;rm -rf $HOME", "en"))
    assert "script" not in page.tags
    assert "GATEWAY='http://x/<script>alert(1)</script>;rm -rf $HOME'\n" in page.text


async def test_unknown_addresses(client: BareClient) -> None:
    for path in ("/x", "/api/upload/sessions/", "/healthz/", "/api//upload/limits", "/upload/personal/a/b"):
        assert (await client.ask("GET", path)).code[0] == 404
    answer = await client.ask("PATCH", "/api/upload/sessions")
    assert answer.code[0] == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


async def test_a_store_in_trouble(client: BareClient) -> None:
    made = await created(client, {"fileName": "a", "fileId": "a"})
    path = (await client.ask("PUT", made["files"][0]["uploadUrl"], b"x")).json["uploadPath"]
    client.blobs.fault = StoreError("no such device: /secret/path")
    answer = await client.ask("GET", path)
    assert answer.code == (500, "SERVER_ERROR")
    assert b"secret" not in answer.body


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
async def test_an_unknown_websocket_is_refused_before_it_is_accepted(
    client: BareClient, extensions: dict[str, object]
) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await client.app({"type": "websocket", "path": "/x", "extensions": extensions}, receive, send)
    if extensions:
        assert sent[0]["status"] == 404
    else:
        assert sent == [{"type": "websocket.close", "code": 1008}]
