"""The examples of docs/socketio.md, run as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import trio

from tests.acceptance.api import Api, Upload
from tests.acceptance.content import Content
from tests.acceptance.gateway import Gateway
from tests.interop.socket_watcher import PLACE
from tests.interop.telling import running
from tests.running import PATIENCE_S

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("socketio_clients")]

PAGES = ("socketio.md", "socketio.zh.md")
DOCS = Path(__file__).parents[2] / "docs"
CONTENT = Content(300_000)

SHOWN = """
const [PENSTOCK, sessionId] = process.argv.slice(2);
const show = (what) => console.log(typeof what === "string" ? what : JSON.stringify(what));
"""
THEN = """
socket.on("connection-status", async () => {
  if ((await pause()).ok && (await resume()).ok) show("paused and resumed");
});
socket.on("upload-progress", ({ overallStatus }) => overallStatus === "completed" && socket.disconnect());
"""


def example(page: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    return str(found)


class Shown:
    """What a running example has printed."""

    def __init__(self) -> None:
        self.text = ""

    async def read(self, process: trio.Process) -> None:
        assert process.stdout is not None
        async for data in process.stdout:
            self.text += bytes(data).decode()


async def shown_while_uploading(command: list[str], upload: Upload) -> str:
    """Run an example, and upload its file as soon as it watches."""
    shown = Shown()
    with trio.fail_after(PATIENCE_S):
        async with running(command) as process:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(shown.read, process)
                while not shown.text:  # pauses are told at once, so it shows one as soon as it watches
                    await upload.pause()
                    await upload.resume()
                await upload.put(CONTENT)
    return shown.text


@pytest.mark.parametrize("page", PAGES)
async def test_the_javascript_example(gateway: Gateway, page: str) -> None:
    upload = await Api(gateway).create_one(CONTENT.size)
    script = PLACE / f"{page}.mjs"
    script.write_text(SHOWN + example(page, "js") + THEN, encoding="utf-8")
    try:
        command = ["node", str(script), upload.api.url(""), upload.session_id]
        shown = await shown_while_uploading(command, upload)
    finally:
        script.unlink()
    assert "paused and resumed" in shown
    assert "100 %" in shown
    assert (await upload.show())["uploadPath"] in shown


@pytest.mark.parametrize("page", PAGES)
async def test_the_python_example(gateway: Gateway, tmp_path: Path, page: str) -> None:
    upload = await Api(gateway).create_one(CONTENT.size)
    script = tmp_path / "watch.py"
    source = example(page, "python").replace("http://127.0.0.1:8005", upload.api.url(""))
    script.write_text(source, encoding="utf-8")
    shown = await shown_while_uploading([sys.executable, str(script), upload.session_id], upload)
    assert (await upload.show())["uploadPath"] in shown
