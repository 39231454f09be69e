"""Checksums of single requests (tus 1.0.0, "Checksum")."""

from __future__ import annotations

import base64
import hashlib
import zlib
from pathlib import Path

import pytest
import trio

from tests.conformance.conftest import Start
from tests.conformance.lines import tus as line
from tests.conformance.tus.client import OCTET, Tus, content

MIB = 1024 * 1024
BODY = content(10_000)


def crc32c(data: bytes) -> bytes:
    """RFC 3720, appendix B.4, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return (register ^ 0xFFFFFFFF).to_bytes(4, "big")


def digest(algorithm: str, data: bytes) -> bytes:
    match algorithm:
        case "crc32":
            return zlib.crc32(data).to_bytes(4, "big")
        case "crc32c":
            return crc32c(data)
        case _:
            return hashlib.new(algorithm, data).digest()


def checksum(data: bytes, algorithm: str = "sha1") -> tuple[str, str]:
    return ("Upload-Checksum", f"{algorithm} {base64.b64encode(digest(algorithm, data)).decode()}")


@pytest.fixture(autouse=True)
def offered(tus: Tus) -> None:
    trio.run(tus.require, "checksum")


@line("K1", "M")
async def test_tus_K1_sha1_is_among_the_algorithms(tus: Tus) -> None:
    assert "sha1" in (await tus.options()).words("tus-checksum-algorithm")


@line("K1", "U")
async def test_tus_K1_the_algorithms_of_other_clients_are_offered(tus: Tus) -> None:
    algorithms = (await tus.options()).words("tus-checksum-algorithm")
    assert {"md5", "sha256", "sha512", "crc32", "crc32c"} <= set(algorithms)


@line("K2", "M")
async def test_tus_K2_a_checksum_is_of_this_request_alone(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    for start in range(0, len(BODY), 2500):
        piece = BODY[start : start + 2500]
        await upload.append(start, piece, checksum(piece))
    await upload.check_content(BODY)


@line("K2", "M")
async def test_tus_K2_a_creation_may_bring_one(tus: Tus) -> None:
    await tus.require("creation-with-upload")
    wanted = ("Upload-Length", str(len(BODY)))
    answer = await tus.post(wanted, OCTET, checksum(BODY), body=BODY)
    assert (answer.status, answer.offset) == (201, len(BODY))
    await tus.created(answer).check_content(BODY)


@line("K2", "M")
async def test_tus_K2_a_creation_with_a_wrong_one_stores_nothing(tus: Tus) -> None:
    await tus.require("creation-with-upload")
    answer = await tus.post(("Upload-Length", str(len(BODY))), OCTET, checksum(b"other"), body=BODY)
    assert answer.status == 460
    if "location" in answer:
        assert (await tus.ask("HEAD", tus.target.path_of(answer["location"]))).offset == 0


@line("K3", "M")
async def test_tus_K3_every_offered_algorithm_works(tus: Tus) -> None:
    algorithms = (await tus.options()).words("tus-checksum-algorithm")
    assert algorithms
    for algorithm in algorithms:
        upload = await tus.create(len(BODY))
        await upload.append(0, BODY[:5000], checksum(BODY[:5000], algorithm))
        assert (await upload.patch(5000, BODY[5000:], checksum(BODY, algorithm))).status == 460
        await upload.append(5000, BODY[5000:], checksum(BODY[5000:], algorithm))
        await upload.check_content(BODY)


@line("K3", "U")
async def test_tus_K3_a_body_in_chunks_is_verified(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    await upload.append(0, [BODY[:1], BODY[1:]], checksum(BODY))
    await upload.check_content(BODY)


@line("K4", "M")
async def test_tus_K4_an_unknown_algorithm_is_refused(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    answer = await upload.patch(0, BODY, ("Upload-Checksum", "whirlpool AAAA"))
    assert answer.status == 400
    await upload.check_unchanged()


@line("K4", "U")
async def test_tus_K4_an_unknown_algorithm_is_refused_before_the_body_is_sent(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    async with upload.patching(0, len(BODY), ("Upload-Checksum", "whirlpool AAAA")) as exchange:
        answer = await exchange.answer()
    assert answer.status == 400
    await upload.check_unchanged()


MALFORMED = {
    "no value": "sha1",
    "no base64": "sha1 !!!",
    "too short": "sha1 AAAA",
    "too long": "sha1 " + base64.b64encode(bytes(21)).decode(),
    "three words": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA= x",
    "no algorithm": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "empty": "",
}


@line("K4", "U")
@pytest.mark.parametrize("case", MALFORMED)
async def test_tus_K4_a_malformed_checksum_is_refused(tus: Tus, case: str) -> None:
    upload = await tus.create(len(BODY))
    answer = await upload.patch(0, BODY, ("Upload-Checksum", MALFORMED[case]))
    assert answer.status == 400
    await upload.check_unchanged()


@line("K5", "M")
async def test_tus_K5_what_does_not_match_is_not_stored(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    await upload.append(0, BODY[:100])
    answer = await upload.patch(100, b"x" * 5000, checksum(BODY[100:5100]))
    assert answer.status == 460
    await upload.check_unchanged(100)
    await upload.append(100, BODY[100:5100], checksum(BODY[100:5100]))
    await upload.finish(BODY)


@line("K5", "M")
async def test_tus_K5_what_does_not_match_does_not_finish_the_upload(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    assert (await upload.patch(0, b"x" * len(BODY), checksum(BODY))).status == 460
    await upload.finish(BODY)


@line("K5", "U")
async def test_tus_K5_the_status_line_says_what_460_is(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    answer = await upload.patch(0, BODY, checksum(b"other"))
    assert answer.reason.lower() == "checksum mismatch"


@line("K6", "U")
async def test_tus_K6_upper_case_is_folded_or_refused(tus: Tus) -> None:
    statuses = set()
    for name in ("SHA1", "Sha1"):
        upload = await tus.create(len(BODY))
        value = checksum(BODY)[1].replace("sha1", name)
        statuses.add((await upload.patch(0, BODY, ("Upload-Checksum", value))).status)
    assert statuses in ({204}, {400})


@line("K7", "U")
async def test_tus_K7_what_broke_off_cannot_be_verified(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    await upload.append(0, BODY[:100])
    async with upload.patching(100, 5000, checksum(BODY[100:5100])) as exchange:
        await exchange.send(BODY[100:4000])
    await upload.check_unchanged(100)
    await upload.finish(BODY)


@line("K11", "U")
async def test_tus_K11_hashing_takes_no_memory(start: Start) -> None:
    server = start()
    body = content(MIB) * 64
    upload = await Tus(server.target).create(len(body))
    before = peak_bytes(server.process.pid)
    await upload.append(0, body, checksum(body))
    assert peak_bytes(server.process.pid) - before < len(body) / 2
    assert await upload.offset() == len(body)


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
