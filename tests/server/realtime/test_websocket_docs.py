"""The examples of docs/websocket.md, run as they stand there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from penstock.protocol.close_codes import CloseCode
from penstock.protocol.commands import COMMANDS
from penstock.protocol.envelope import MessageType
from penstock.server.realtime.subscriptions import MAX_TOPICS
from tests.server.edge.harness import PATIENCE_S, until
from tests.server.realtime.running import Running, running
from tests.server.uploads.rig import FedBody

PAGE = (Path(__file__).parents[3] / "docs" / "websocket.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def url(server: Running) -> str:
    host, port = server.edge.addresses[0]
    return f"ws://{host}:{port}/api/v1/ws"


async def upload_when_watched(server: Running, session_id: str) -> None:
    await until(lambda: server.rig.gateway.statistics().watches == 1)
    body = FedBody(b"abcd", length=4, ended=True)
    await server.rig.put(session_id, body)


async def test_the_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = examples("python")
    names: dict[str, Callable[[str, str], Awaitable[None]]] = {}
    exec(source, names)
    async with running() as server, trio.open_nursery() as nursery:
        session_id = await server.rig.one_file(4)
        nursery.start_soon(upload_when_watched, server, session_id)
        with trio.fail_after(PATIENCE_S):
            await names["watch"](url(server), session_id)
    printed = capsys.readouterr().out
    assert "status upload-started 1\n" in printed
    assert "notification session-completed 3\n" in printed


SCRIPT = """
%s
const [url, sessionId] = process.argv.slice(2);
const paths = new Promise((resolve) => {
  globalThis.penstock = new Penstock(url, sessionId, async (event, payload) => {
    if (event === "snapshot") {
      await penstock.send("upload-pause", { sessionId });
      await penstock.send("upload-resume", { sessionId });
      penstock.socket.close(4000); // a connection lost: the class must come back by itself
    }
    if (event === "session-completed") {
      await penstock.send("upload-pause", { sessionId: "x" }).catch((error) => console.log(error.message));
      resolve(payload.uploadPaths);
    }
  });
});
console.log(`paths ${(await paths).length}`);
process.exit(0);
"""


async def test_the_javascript_example(require_program: Callable[[str], str], tmp_path: Path) -> None:
    script = tmp_path / "example.mjs"
    script.write_text(SCRIPT % examples("js")[0])
    async with running() as server, trio.open_nursery() as nursery:
        session_id = await server.rig.one_file(4)
        nursery.start_soon(upload_after_two, server, session_id)
        command = [require_program("node"), "--experimental-websocket", str(script), url(server), session_id]
        with trio.fail_after(2 * PATIENCE_S):
            done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    printed = done.stdout.decode()
    assert done.returncode == 0, printed
    assert "INVALID_SESSION: sessionId" in printed
    assert "paths 1" in printed


async def upload_after_two(server: Running, session_id: str) -> None:
    """Upload when the client has come back."""
    await until(lambda: server.endpoint.ended.total() == 1)
    await upload_when_watched(server, session_id)


def test_the_page_leaves_nothing_out() -> None:
    for kind in MessageType:
        assert f"`{kind.value}`" in PAGE
    for command in COMMANDS:
        assert f"`{command}`" in PAGE
    for code in CloseCode:
        assert f"| {code.value} |" in PAGE
    assert f"{MAX_TOPICS} topics" in PAGE
