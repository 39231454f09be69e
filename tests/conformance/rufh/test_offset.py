"""Offset retrieval (draft: "Offset Retrieval")."""

from __future__ import annotations

import pytest

from tests.conformance.lines import rufh as line
from tests.conformance.rufh.client import Draft, limits
from tests.conformance.tus.client import content

BODY = content(400_000)
SENT = 100_000


@line("H1", "M")
async def test_rufh_H1_head_tells_the_state(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:SENT])
    answer = await upload.check(SENT)
    assert answer["upload-length"] == str(len(BODY))
    assert limits(answer)
    await upload.append(SENT, BODY[SENT:], complete=True)
    answer = await upload.check(len(BODY), complete=True)
    assert answer["upload-length"] == str(len(BODY))
    assert limits(answer)


@line("H2", "S")
async def test_rufh_H2_no_answer_is_kept_by_caches(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:SENT])
    assert "no-store" in (await upload.state()).words("cache-control")


@line("H3", "M")
async def test_rufh_H3_having_all_bytes_is_not_being_complete(draft: Draft) -> None:
    upload = await draft.begin(len(BODY))
    assert (await upload.append(0, BODY)).ok
    await upload.check(len(BODY), complete=False)
    assert (await upload.append(len(BODY), b"", complete=True)).ok
    await upload.check_content(BODY)


@line("H4", "M")
@pytest.mark.parametrize("sent", [0, SENT])
async def test_rufh_H4_the_offset_can_be_used(draft: Draft, sent: int) -> None:
    """Whoever writes is stopped first."""
    upload = await draft.begin(len(BODY))
    async with upload.appending(0, len(BODY), complete=True) as exchange:
        await exchange.send(BODY[:sent])
        offset = await upload.offset()
        assert offset <= sent
        await exchange.send(BODY[sent : 2 * sent])
        answer = await upload.append(offset, BODY[offset:], complete=True)
    assert answer.ok
    await upload.check_content(BODY)


@line("H5", "S")
async def test_rufh_H5_head_does_not_lead_elsewhere(draft: Draft) -> None:
    upload = await draft.begin(len(BODY))
    assert (await upload.head()).status not in (301, 302)
    assert (await (await draft.finished(b"hello")).head()).status not in (301, 302)


@line("H7", "U")
async def test_rufh_H7_an_unknown_upload_has_no_state(draft: Draft) -> None:
    await (await draft.unknown()).check_gone()


@line("H8", "U")
async def test_rufh_H8_fields_that_mean_nothing_are_ignored(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:SENT])
    answer = await upload.head(("Upload-Offset", "5"), ("Upload-Complete", "?1"))
    assert answer.ok
    await upload.check(SENT)
