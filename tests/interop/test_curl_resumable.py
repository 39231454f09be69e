"""Resumable uploads typed by hand: curl one-liners as a page would show them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.acceptance.content import Content
from tests.interop.stored import Stored
from tests.running import PATIENCE_S

pytestmark = pytest.mark.acceptance

CONTENT = Content(3_000_000)

TUS = """
TUS='Tus-Resumable: 1.0.0'
BYTES='Content-Type: application/offset+octet-stream'
"""

CREATE = (
    TUS
    + r"""
URL=$PENSTOCK$(curl -sf -X POST $PENSTOCK/files/ -H "$TUS" -H "Upload-Length: $(stat -c %s movie.mp4)" \
    -H "Upload-Metadata: filename $(printf movie.mp4 | base64)" -w '%header{location}')
"""
)

PATCH = r"""
curl -sf -X PATCH $URL -H "$TUS" -H "$BYTES" -H 'Upload-Offset: 0' -T movie.mp4
"""

OFFSET = r"""
OFFSET=$(curl -sfI $URL -H "$TUS" -o /dev/null -w '%header{upload-offset}')
"""

REST = r"""
tail -c +$((OFFSET + 1)) movie.mp4 |
    curl -sf -X PATCH $URL -H "$TUS" -H "$BYTES" -H "Upload-Offset: $OFFSET" -T -
"""


def broken_off(line: str) -> str:
    """The same, but it ends after a second and half of the file."""
    return line.replace("curl -sf", "curl -sf --limit-rate 1500K --max-time 1").rstrip() + " || true\n"


Run = Callable[..., Awaitable[str]]


@pytest.fixture
def run(stored: Stored, tmp_path: Path, require_program: Callable[[str], str]) -> Run:
    """Run these lines one after the other, beside a movie; what they print. None may fail."""
    for program in ("bash", "curl", "openssl"):
        require_program(program)
    CONTENT.write_to(tmp_path / "movie.mp4")

    async def run(*lines: str) -> str:
        with trio.fail_after(PATIENCE_S):
            done = await trio.run_process(
                ["bash", "-euo", "pipefail", "-c", "".join(lines)],
                cwd=tmp_path,
                env={**os.environ, "PENSTOCK": stored.url, "NO_PROXY": "*"},
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        return done.stdout.decode()

    return run


async def test_create_and_patch(run: Run, stored: Stored) -> None:
    await run(CREATE, PATCH)
    stored.check(CONTENT, "movie.mp4")


async def test_head_says_how_far_it_came(run: Run) -> None:
    said = await run(CREATE, 'curl -sfI $URL -H "$TUS"')
    lines = [line.lower() for line in said.splitlines()]
    assert lines[0].startswith("http/1.1 200")
    assert {"upload-offset: 0", f"upload-length: {CONTENT.size}", "cache-control: no-store"} <= {*lines}


async def test_go_on_after_a_break(run: Run, stored: Stored) -> None:
    offset = int(await run(CREATE, broken_off(PATCH), OFFSET, "printf $OFFSET", REST))
    assert 0 < offset < CONTENT.size
    stored.check(CONTENT, "movie.mp4")


async def test_all_in_one_request(run: Run, stored: Stored) -> None:
    await run(
        TUS,
        r"""
curl -sf -X POST $PENSTOCK/files/ -H "$TUS" -H "$BYTES" \
    -H "Upload-Length: $(stat -c %s movie.mp4)" -H "Upload-Metadata: filename $(printf movie.mp4 | base64)" \
    --data-binary @movie.mp4
""",
    )
    stored.check(CONTENT, "movie.mp4")


async def test_with_a_checksum(run: Run, stored: Stored) -> None:
    checked = (
        PATCH.rstrip()
        + r""" \
    -H "Upload-Checksum: sha1 $(openssl dgst -sha1 -binary movie.mp4 | base64)"
"""
    )
    wrong = checked.replace("curl -sf", "curl -s -o answer -w '%{http_code}'").replace(
        "-binary movie.mp4", "-binary answer"
    )
    assert await run("touch answer\n", CREATE, wrong, OFFSET, "printf ' %s' $OFFSET", checked) == "460 0"
    stored.check(CONTENT, "movie.mp4")


async def test_give_up(run: Run, stored: Stored) -> None:
    said = await run(
        CREATE,
        broken_off(PATCH),
        'curl -sf -X DELETE $URL -H "$TUS"\n',
        """curl -sI $URL -H "$TUS" -o /dev/null -w '%{http_code}'""",
    )
    assert said in ("404", "410")
    stored.check_nothing()


async def test_two_parts_put_together(run: Run, stored: Stored) -> None:
    await run(
        TUS,
        r"""
part() {
    curl -sf -X POST $PENSTOCK/files/ -H "$TUS" -H 'Upload-Concat: partial' -w '%header{location}' \
        -H "Upload-Length: $(stat -c %s $1)" -H "$BYTES" --data-binary @$1
}
split -n 2 movie.mp4 part-
curl -sf -X POST $PENSTOCK/files/ -H "$TUS" \
    -H "Upload-Concat: final;$(part part-aa) $(part part-ab)" \
    -H "Upload-Metadata: filename $(printf movie.mp4 | base64)"
""",
    )
    stored.check(CONTENT, "movie.mp4", partials=2)


async def test_download_from_the_same_url(run: Run) -> None:
    await run(CREATE, PATCH, "curl -sf $URL -o copy.mp4\n", "cmp movie.mp4 copy.mp4\n")


async def test_what_it_can_do(run: Run) -> None:
    said = await run("curl -sf -X OPTIONS -D - $PENSTOCK/files/")
    fields = dict(line.lower().split(": ", 1) for line in said.splitlines() if ": " in line)
    assert fields["tus-version"] == "1.0.0"
    assert {"creation", "termination", "concatenation"} <= {*fields["tus-extension"].split(",")}


# The same by the draft of HTTP's own resumable uploads

DRAFT = """
DRAFT='Upload-Draft-Interop-Version: 8'
PARTIAL='Content-Type: application/partial-upload'
"""

DRAFT_CREATE = (
    DRAFT
    + r"""
URL=$PENSTOCK$(curl -sf -X POST $PENSTOCK/files/ -H "$DRAFT" -H 'Upload-Complete: ?0' -w '%header{location}' \
    -H "Upload-Length: $(stat -c %s movie.mp4)" -H 'Content-Disposition: inline; filename="movie.mp4"')
"""
)

DRAFT_PATCH = r"""
curl -sf -X PATCH $URL -H "$DRAFT" -H "$PARTIAL" -H 'Upload-Offset: 0' -H 'Upload-Complete: ?1' -T movie.mp4
"""

DRAFT_OFFSET = r"""
OFFSET=$(curl -sfI $URL -H "$DRAFT" -o /dev/null -w '%header{upload-offset}')
"""

DRAFT_REST = r"""
tail -c +$((OFFSET + 1)) movie.mp4 | curl -sf -X PATCH $URL -H "$DRAFT" -H "$PARTIAL" \
    -H "Upload-Offset: $OFFSET" -H 'Upload-Complete: ?1' -T - > answer
"""


async def test_draft_in_one_request_tells_the_url_on_the_way(run: Run, stored: Stored) -> None:
    said = await run(
        DRAFT,
        r"""
curl -sf -i -X POST $PENSTOCK/files -H "$DRAFT" -H 'Upload-Complete: ?1' \
    -H 'Content-Disposition: inline; filename="movie.mp4"' -T movie.mp4
""",
    )
    assert "HTTP/1.1 104" in said
    assert "upload-complete: ?1" in said.lower()
    stored.check(CONTENT, "movie.mp4")


async def test_draft_goes_on_after_a_break(run: Run, stored: Stored) -> None:
    broken = (
        DRAFT_PATCH.replace("curl -sf", "curl -sf --limit-rate 500K --max-time 1").rstrip() + " || true\n"
    )
    offset = int(await run(DRAFT_CREATE, broken, DRAFT_OFFSET, "printf $OFFSET", DRAFT_REST, "true"))
    assert 0 < offset < CONTENT.size
    stored.check(CONTENT, "movie.mp4")


async def test_draft_gives_up(run: Run, stored: Stored) -> None:
    await run(DRAFT_CREATE, 'curl -sf -X DELETE $URL -H "$DRAFT"')
    stored.check_nothing()
