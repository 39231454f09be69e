"""Downloads by curl: resumed where they broke off, and named as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
import trio

from tests.acceptance.api import Api, Upload
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.gateway import running
from tests.acceptance.sizes import MIB

pytestmark = pytest.mark.acceptance

NAMES = [
    "movie.mp4",
    "年度报告 第一稿.pdf",
    'with "quotes" and ; semicolons.txt',
    "名" * 83 + ".bin",  # 253 bytes in UTF-8: about as long as a file's name can be on a disk
]


async def uploaded(directory: Path, api: Api, content: Content, name: str) -> str:
    """The download's URL."""
    upload: Upload = await api.create_one(content.size, name)
    answer = await upload.put(content, 0)
    assert answer.status == 200
    return api.url(answer.json()["uploadPath"])


async def test_a_download_that_broke_off_goes_on(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    curl = require_program("curl")
    content = Content(3 * MIB + 17)
    async with running(tmp_path) as gateway:
        url = await uploaded(tmp_path, Api(gateway), content, "movie.mp4")
        there = tmp_path / "there.mp4"
        had = there.write_bytes(content.read(0, MIB))
        done = await trio.run_process(
            [curl, "-sS", "-f", "-C", "-", "-w", "%{http_code} %{size_download}", "-o", str(there), url],
            capture_stdout=True,
        )
        assert done.stdout == f"206 {content.size - had}".encode()
        assert file_sha256(there) == content.sha256()


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_keeps_its_name(
    tmp_path: Path, require_program: Callable[[str], str], name: str
) -> None:
    curl = require_program("curl")
    content = Content(1000)
    async with running(tmp_path) as gateway:
        url = await uploaded(tmp_path, Api(gateway), content, name)
        head = await trio.run_process([curl, "-sS", "-f", "-I", url], capture_stdout=True)
        assert url.isascii()
    disposition = next(
        line for line in head.stdout.decode().splitlines() if line.lower().startswith("content-disposition:")
    )
    assert _named(disposition) == name


def _named(disposition: str) -> str:
    """As RFC 6266 says: the extended form wins, else the quoted string."""
    if "filename*=UTF-8''" in disposition:
        return unquote(disposition.split("filename*=UTF-8''", 1)[1].split(";", 1)[0])
    quoted = disposition.split('filename="', 1)[1]
    return quoted[: quoted.rindex('"')].replace('\\"', '"').replace("\\\\", "\\")
