"""Digests (draft: "Integrity Digests"; RFC 9530)."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.conformance.lines import rufh as line
from tests.conformance.rufh.client import EXPECT, Draft
from tests.conformance.tus.client import content

BODY = content(10_000)
WHOLE = ("Upload-Length", str(len(BODY)))


def digest(data: bytes, algorithm: str = "sha-256") -> str:
    value = hashlib.new(algorithm.replace("-", ""), data).digest()
    return f"{algorithm}=:{base64.b64encode(value).decode()}:"


@line("G1", "S")
async def test_rufh_G1_a_digest_of_the_whole_is_compared(draft: Draft) -> None:
    answer = await draft.post(False, BODY[:4000], WHOLE, ("Repr-Digest", digest(BODY)))
    upload = draft.upload(answer)
    last = await upload.append(4000, BODY[4000:], complete=True)
    assert last.ok
    await upload.check_content(BODY)


@line("G1", "S")
async def test_rufh_G1_what_does_not_match_has_failed(draft: Draft) -> None:
    answer = await draft.post(False, BODY[:4000], WHOLE, ("Repr-Digest", digest(b"other")))
    upload = draft.upload(answer)
    last = await upload.append(4000, BODY[4000:], complete=True)
    assert 400 <= last.status < 500
    assert draft.is_complete(last) is True, "resuming would not help"
    assert (await draft.ask("GET", upload.path)).status != 200


@line("G1", "S")
async def test_rufh_G1_the_whole_may_be_one_request(draft: Draft) -> None:
    assert (await draft.post(True, BODY, ("Repr-Digest", digest(BODY)))).ok
    failed = await draft.post(True, BODY, ("Repr-Digest", digest(b"other")))
    assert 400 <= failed.status < 500


@line("G2", "S")
@pytest.mark.parametrize("wanted", ["sha-256=1", "sha-512=1, sha-256=5"])
async def test_rufh_G2_a_wanted_digest_comes_back(draft: Draft, wanted: str) -> None:
    answer = await draft.post(True, BODY, ("Want-Repr-Digest", wanted))
    assert digest(BODY) in answer.words("repr-digest")


@line("G2", "S")
async def test_rufh_G2_a_wanted_digest_comes_back_after_several_requests(draft: Draft) -> None:
    answer = await draft.post(False, BODY[:4000], WHOLE, ("Want-Repr-Digest", "sha-256=1"))
    upload = draft.upload(answer)
    last = await upload.append(4000, BODY[4000:], complete=True)
    assert digest(BODY) in last.words("repr-digest")


@line("G3", "S")
@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
async def test_rufh_G3_a_digest_of_a_part_is_compared(draft: Draft, algorithm: str) -> None:
    upload = await draft.begin(len(BODY), BODY[:4000])
    piece = BODY[4000:8000]
    wrong = await upload.append(4000, piece, ("Content-Digest", digest(b"other", algorithm)))
    assert 400 <= wrong.status < 500
    await upload.check(4000)
    assert (await upload.append(4000, piece, ("Content-Digest", digest(piece, algorithm)))).ok
    await upload.finish(BODY)


@line("G3", "S")
async def test_rufh_G3_a_digest_of_a_creation_is_compared(draft: Draft) -> None:
    wrong = await draft.post(False, BODY[:4000], WHOLE, ("Content-Digest", digest(b"other")))
    assert 400 <= wrong.status < 500
    right = await draft.post(False, BODY[:4000], WHOLE, ("Content-Digest", digest(BODY[:4000])))
    await draft.upload(right).finish(BODY)


@line("G4", "U")
@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest", "Want-Repr-Digest"])
async def test_rufh_G4_an_unknown_algorithm_is_ignored(draft: Draft, name: str) -> None:
    value = "whirlpool=1" if name == "Want-Repr-Digest" else "whirlpool=:AAAA:"
    answer = await draft.post(True, BODY, (name, value))
    assert answer.ok
    assert "whirlpool" not in (answer.get("repr-digest") or "")


@line("G5", "U")
async def test_rufh_G5_what_broke_off_cannot_be_verified(draft: Draft) -> None:
    upload = await draft.begin(len(BODY), BODY[:2000])
    wanted = ("Content-Digest", digest(BODY[2000:]))
    async with upload.appending(2000, len(BODY) - 2000, wanted, EXPECT) as exchange:
        await exchange.begun()
        await exchange.send(BODY[2000:6000])
    await upload.check(2000)
    await upload.finish(BODY)
