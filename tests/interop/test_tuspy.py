"""tuspy, the Python client: whole files, chunks, checksums, and going on after a break or another day."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.acceptance.content import Content
from tests.acceptance.sizes import MIB
from tests.faults.proxy import Rst, proxied
from tests.interop.stored import Stored
from tests.running import PATIENCE_S

pytestmark = pytest.mark.acceptance

PROGRAM = Path(__file__).with_name("tuspy_upload.py")
CONTENT = Content(3 * MIB + 17)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CONTENT.write_to(tmp_path_factory.mktemp("source") / "film.mp4")


async def upload(
    server: str, source: Path, *, urls: Path | None = None, stop_at: int | None = None, **options: Any
) -> Any:
    """What became of it; it must not fail."""
    wanted: dict[str, Any] = {"server": server, "path": str(source), "options": options, "stop_at": stop_at}
    if urls is not None:
        wanted["urls"] = str(urls)
    with trio.fail_after(PATIENCE_S):
        done = await trio.run_process(
            [sys.executable, "-P", str(PROGRAM), json.dumps(wanted)],
            capture_stdout=True,
            env={**os.environ, "NO_PROXY": "*"},
        )
    return json.loads(done.stdout)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "chunks": {"chunk_size": MIB},
    "checksum": {"upload_checksum": True},
    "checksum-chunks": {"upload_checksum": True, "chunk_size": MIB},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
async def test_it_uploads(
    stored: Stored, source: Path, request: pytest.FixtureRequest, options: dict[str, Any]
) -> None:
    name = f"{request.node.callspec.id}.mp4"
    done = await upload(stored.url, source, metadata={"filename": name}, **options)
    assert done["offset"] == CONTENT.size
    stored.check(CONTENT, name)


async def test_it_uploads_an_empty_file(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "nothing").touch()
    await upload(stored.url, tmp_path / "nothing", metadata={"filename": "nothing.txt"})
    stored.check(Content(0), "nothing.txt")


async def test_without_metadata_it_sends_an_empty_field(stored: Stored, source: Path) -> None:
    await upload(stored.url, source)
    stored.check(CONTENT, "upload")


@pytest.mark.parametrize(
    "options", [{}, {"upload_checksum": True, "chunk_size": MIB}], ids=["plain", "checksum"]
)
async def test_after_a_cut_it_goes_on_where_it_was(
    stored: Stored, source: Path, options: dict[str, Any]
) -> None:
    async with proxied(stored.url, lambda number: [Rst(700_000)] if number in (1, 3) else []) as (proxy, url):
        await upload(url, source, metadata={"filename": "cut.mp4"}, retries=20, retry_delay=0.1, **options)
        assert proxy.cuts == 2
        unverified_bytes = 2 * 700_000 if "upload_checksum" in options else 0
        assert proxy.sent_up_bytes < CONTENT.size + unverified_bytes + 200_000
    stored.check(CONTENT, "cut.mp4")


async def test_another_process_goes_on_where_the_first_stopped(
    stored: Stored, source: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "metadata": {"filename": "again.mp4"},
        "chunk_size": MIB // 2,
        "urls": tmp_path / "urls.json",
    }
    first = await upload(stored.url, source, stop_at=MIB, **options)
    assert first["offset"] == MIB
    assert stored.files() == []
    second = await upload(stored.url, source, **options)
    assert (second["url"], second["began_at"]) == (first["url"], MIB)
    stored.check(CONTENT, "again.mp4")
