"""tus PATCH: offsets, lengths, checksums, repetitions, and what happens while bytes are on their way."""

from __future__ import annotations

import base64
import zlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio

from penstock.server.uploads.actor import ANYBODY
from penstock.server.uploads.file import LiveFile
from tests.server.edge.harness import Raw, until
from tests.server.http.clients import (
    TRANSPORTS,
    BareClient,
    Client,
    SocketClient,
    bare,
    over_sockets,
    rendered,
)
from tests.server.http.tus_client import (
    OCTET,
    TUS,
    UNKNOWN,
    checksum,
    create,
    head,
    offset,
    patch,
    stored,
)

DATA = bytes(range(256)) * 500


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with TRANSPORTS[request.param](max_file_bytes=1_000_000) as made:
        yield made


@pytest.fixture
async def plain() -> AsyncIterator[BareClient]:
    async with bare(max_file_bytes=1_000_000) as made:
        yield made


async def file_of(client: Client, url: str) -> LiveFile:
    place = await client.gateway.resources.find(ANYBODY, url.rpartition("/")[2])
    return client.gateway._registry.sessions[place.session_id].files[place.file_id]


async def command(client: Client, url: str, name: str) -> None:
    path = f"/api/upload/sessions/{(await file_of(client, url)).row.session_id}/commands"
    answer = await client.ask("POST", path, msgspec.json.encode({"type": name}))
    assert answer.status == 200, answer


# Offsets


@pytest.mark.parametrize("body", [DATA, [DATA[:1], DATA[1:70_000], DATA[70_000:]]], ids=["plain", "chunked"])
async def test_tus_P1_bytes_are_appended(client: Client, body: Any) -> None:
    url = await create(client, len(DATA) + 3)
    first = await patch(client, url, 0, b"abc")
    assert (first.status, first.headers["upload-offset"], first.body) == (204, "3", b"")
    last = await patch(client, url, 3, body)
    assert (last.status, last.headers["upload-offset"]) == (204, str(len(DATA) + 3))
    assert stored(client) == b"abc" + DATA


@pytest.mark.parametrize("kind", [None, "", "application/octet-stream", "text/plain"])
async def test_tus_P2_another_type_is_refused(client: Client, kind: str | None) -> None:
    url = await create(client, 5)
    headers = {**TUS, "Upload-Offset": "0"} | ({} if kind is None else {"Content-Type": kind})
    assert (await client.ask("PATCH", url, b"abc", headers)).code == (415, "UNSUPPORTED_FORMAT")
    assert await offset(client, url) == 0


async def test_tus_P2_parameters_of_the_type_do_not_count(plain: BareClient) -> None:
    url = await create(plain, 5)
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": "Application/Offset+Octet-Stream; charset=utf-8"}
    assert (await plain.ask("PATCH", url, b"abc", headers)).status == 204


@pytest.mark.parametrize("wrong", [0, 1, 3, 5, 6, 2**63 - 1])
@pytest.mark.parametrize("body", [b"", b"abc", [b"abc"]], ids=["empty", "plain", "chunked"])
async def test_tus_P3_another_offset_is_refused_with_the_right_one(
    client: Client, wrong: int, body: Any
) -> None:
    url = await create(client, 5, b"ab")
    answer = await patch(client, url, wrong, body)
    assert answer.code == (409, "OFFSET_MISMATCH")
    assert answer.headers["upload-offset"] == "2"
    assert await offset(client, url) == 2


@pytest.mark.parametrize("wrong", ["-1", "+1", "1.0", "0x10", "1e3", "", "abc", str(2**63), "1" * 200])
async def test_tus_P4_G7_what_is_no_offset_is_refused(plain: BareClient, wrong: str) -> None:
    url = await create(plain, 5)
    answer = await patch(plain, url, wrong, b"abc")
    assert answer.code == (400, "INVALID_MESSAGE")
    assert answer.json["detail"].startswith("Upload-Offset: ")
    assert await offset(plain, url) == 0


async def test_tus_P4_G7_one_offset(plain: BareClient) -> None:
    url = await create(plain, 5)
    for headers in (OCTET, {**OCTET, "Upload-Offset": "0", "upload-offset": "0"}):
        assert (await plain.ask("PATCH", url, b"abc", headers)).code == (400, "INVALID_MESSAGE")
    assert await offset(plain, url) == 0


async def test_tus_P5_an_unknown_upload(client: Client) -> None:
    answer = await patch(client, UNKNOWN, 0, b"abc")
    assert answer.code == (404, "FILE_NOT_FOUND")
    assert "upload-offset" not in answer.headers


async def test_tus_P6_more_than_the_length_is_refused(client: Client) -> None:
    url = await create(client, 5)
    await patch(client, url, 0, b"ab")
    assert (await patch(client, url, 2, b"cdef")).code == (413, "FILE_SIZE_EXCEEDED")
    assert await offset(client, url) == 2
    assert (await patch(client, url, 2, b"cde")).status == 204
    assert stored(client) == b"abcde"


async def test_tus_P6_not_a_byte_beyond_the_length(client: Client) -> None:
    url = await create(client, 5)
    assert (await patch(client, url, 0, [b"abcd", b"efgh"])).code == (413, "FILE_SIZE_EXCEEDED")
    looked = await head(client, url)
    assert looked.status == 200
    kept = int(looked.headers["upload-offset"])
    assert kept <= 5
    if kept < 5:
        assert (await patch(client, url, kept, b"abcde"[kept:])).status == 204
    assert stored(client) == b"abcde"


async def test_tus_P9_nothing_changes_nothing(client: Client) -> None:
    url = await create(client, 5, b"ab")
    answer = await patch(client, url, 2, b"")
    assert (answer.status, answer.headers["upload-offset"]) == (204, "2")
    assert (await patch(client, url, 2, b"cde")).status == 204
    assert stored(client) == b"abcde"


# After the end


@pytest.mark.parametrize("body", [b"cde", [b"cde"]], ids=["plain", "chunked"])
async def test_tus_P10_the_last_request_again(client: Client, body: Any) -> None:
    url = await create(client, 5)
    await patch(client, url, 0, b"ab")
    assert (await patch(client, url, 2, b"cde")).status == 204
    again = await patch(client, url, 2, body)
    assert (again.status, again.headers["upload-offset"]) == (204, "5")
    assert (await patch(client, url, 5, b"")).headers["upload-offset"] == "5"
    assert await offset(client, url) == 5


async def test_tus_P10_a_whole_partial_takes_no_more(client: Client) -> None:
    url = await create(client, 5, b"ab", Upload_Concat="partial")
    await patch(client, url, 2, b"cde")
    again = await patch(client, url, 2, b"cde")
    assert (again.status, again.headers["upload-offset"]) == (204, "5")  # its client lost the answer
    assert (await patch(client, url, 1, b"bcde")).status == 409
    assert (await patch(client, url, 5, b"")).headers["upload-offset"] == "5"
    assert (await patch(client, url, 5, b"f")).status == 413
    assert await offset(client, url) == 5


@pytest.mark.parametrize(
    ("at", "body", "status"),
    [
        (0, b"abcde", 409),
        (0, b"ab", 409),
        (2, b"cd", 409),
        (2, b"cdef", 409),
        (3, b"de", 409),
        (6, b"", 409),
        (5, b"f", 413),
        (5, [b"f"], 413),
    ],
)
async def test_tus_P10_other_requests_after_the_end(
    plain: BareClient, at: int, body: Any, status: int
) -> None:
    url = await create(plain, 5)
    await patch(plain, url, 0, b"ab")
    await patch(plain, url, 2, b"cde")
    answer = await patch(plain, url, at, body)
    assert answer.status == status
    if status == 409:
        assert answer.headers["upload-offset"] == "5"
    assert stored(plain) == b"abcde"


async def test_tus_P10_it_finishes_once(plain: BareClient) -> None:
    url = await create(plain, 3)
    row = (await file_of(plain, url)).row
    for _ in range(3):
        await patch(plain, url, 0, b"abc")
        await patch(plain, url, 3, b"")
    events = (await plain.ask("GET", f"/api/upload/sessions/{row.session_id}")).json
    assert events["completedFiles"] == 1
    assert plain.gateway._registry.sessions[row.session_id].ring.seq == 3  # started, completed, session


# A length that comes later


async def test_tus_D2_D3_the_length_comes_with_the_last_bytes(client: Client) -> None:
    url = await create(client)
    await patch(client, url, 0, b"ab")
    looked = await head(client, url)
    assert looked.headers["upload-defer-length"] == "1"
    assert "upload-length" not in looked.headers
    answer = await patch(client, url, 2, b"cd", Upload_Length=5)
    assert (answer.status, answer.headers["upload-offset"]) == (204, "4")
    looked = await head(client, url)
    assert looked.headers["upload-length"] == "5"
    assert "upload-defer-length" not in looked.headers
    await patch(client, url, 4, b"e")
    assert stored(client) == b"abcde"


async def test_tus_D4_a_length_stays(client: Client) -> None:
    url = await create(client)
    await patch(client, url, 0, b"a", Upload_Length=5)
    assert (await patch(client, url, 1, b"b", Upload_Length=5)).status == 204
    for other in (4, 6):
        assert (await patch(client, url, 2, b"c", Upload_Length=other)).status == 400
    looked = await head(client, url)
    assert (looked.headers["upload-offset"], looked.headers["upload-length"]) == ("2", "5")


@pytest.mark.parametrize(("length", "status"), [(1, 400), (1_000_001, 413), ("x", 400)])
async def test_tus_D5_an_impossible_length_changes_nothing(client: Client, length: Any, status: int) -> None:
    url = await create(client)
    await patch(client, url, 0, b"ab")
    assert (await patch(client, url, 2, b"", Upload_Length=length)).status == status
    assert (await patch(client, url, 2, b"c", Upload_Length=length)).status == status
    looked = await head(client, url)
    assert (looked.headers["upload-offset"], looked.headers["upload-defer-length"]) == ("2", "1")


@pytest.mark.parametrize("data", [b"ab", b""])
async def test_tus_D6_the_length_alone_may_end_it(client: Client, data: bytes) -> None:
    url = await create(client)
    await patch(client, url, 0, data)
    answer = await patch(client, url, len(data), b"", Upload_Length=len(data))
    assert (answer.status, answer.headers["upload-offset"]) == (204, str(len(data)))
    assert "upload-expires" not in answer.headers
    assert stored(client) == data


async def test_tus_D7_the_limit_holds_also_without_a_length() -> None:
    async with bare(max_file_bytes=10) as plain:
        url = await create(plain)
        assert (await patch(plain, url, 0, b"x" * 8)).status == 204
        assert (await patch(plain, url, 8, b"xyz")).status == 413
        assert (await patch(plain, url, 8, [b"xy", b"z"])).status == 413
        assert plain.blobs.used_bytes() <= 10


# Checksums


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
async def test_tus_K2_K3_a_checksum_that_fits(client: Client, algorithm: str) -> None:
    url = await create(client, len(DATA) + 1, b"x")
    answer = await patch(client, url, 1, DATA, Upload_Checksum=checksum(algorithm, DATA))
    assert answer.status == 204
    assert stored(client) == b"x" + DATA


async def test_tus_K2_crc32(client: Client) -> None:
    url = await create(client, 9)
    good = base64.b64encode(zlib.crc32(b"12345").to_bytes(4, "big")).decode()
    assert (await patch(client, url, 0, b"12345", Upload_Checksum=f"crc32 {good}")).status == 204
    assert (await patch(client, url, 5, b"6789", Upload_Checksum=f"crc32 {good}")).status == 460
    assert await offset(client, url) == 5


async def test_tus_K2_crc32c(client: Client) -> None:
    url = await create(client, 9)
    check = base64.b64encode(bytes.fromhex("e3069283")).decode()  # of 123456789, RFC 3720 appendix B.4
    assert (await patch(client, url, 0, b"123456789", Upload_Checksum=f"crc32c {check}")).status == 204
    assert stored(client) == b"123456789"


@pytest.mark.parametrize("body", [b"cde", [b"c", b"de"]], ids=["plain", "chunked"])
async def test_tus_K5_a_checksum_that_does_not_fit(client: Client, body: Any) -> None:
    url = await create(client, 5, b"ab")
    answer = await patch(client, url, 2, body, Upload_Checksum=checksum("sha1", b"cdf"))
    assert answer.code == (460, "CHECKSUM_MISMATCH")
    assert await offset(client, url) == 2
    assert (await patch(client, url, 2, body, Upload_Checksum=checksum("sha1", b"cde"))).status == 204
    assert stored(client) == b"abcde"


@pytest.mark.parametrize("said", ["sha3 AAAA", "SHA1 AAAA", "sha1", "sha1 AAAA", "sha1 ?", ""])
async def test_tus_K4_K6_malformed_checksums_change_nothing(plain: BareClient, said: str) -> None:
    url = await create(plain, 5)
    assert (await patch(plain, url, 0, b"abc", Upload_Checksum=said)).code == (400, "INVALID_MESSAGE")
    assert await offset(plain, url) == 0


async def test_tus_K5_the_status_has_a_name(client: Client) -> None:
    if not isinstance(client, SocketClient):
        return
    url = await create(client, 5)
    headers = {**OCTET, "Upload-Offset": "0", "Upload-Checksum": checksum("md5", b"x")}
    async with client.connect() as raw:
        await raw.send(b"".join(rendered("PATCH", url, b"abc", headers)))
        assert await raw.until(b"\r\n") == b"HTTP/1.1 460 Checksum Mismatch\r\n"


# Expiry


async def test_tus_E1_E2_E5_unfinished_uploads_say_when_they_expire(client: Client) -> None:
    url = await create(client, 5)
    for answer in (await patch(client, url, 0, b"ab"), await head(client, url)):
        assert answer.headers["upload-expires"].endswith(" GMT")
    for answer in (await patch(client, url, 2, b"cde"), await head(client, url)):
        assert "upload-expires" not in answer.headers


async def test_tus_E4_E6_every_byte_pushes_the_expiry(autojump_clock: trio.testing.MockClock) -> None:
    async with bare(retention_s=3600.0, session_timeout_s=60.0, retry_wait_s=30.0) as plain:
        url = await create(plain, 5)
        first = (await head(plain, url)).headers["upload-expires"]
        await trio.sleep(1800)
        second = (await patch(plain, url, 0, b"ab")).headers["upload-expires"]
        assert second != first
        await trio.sleep(3500)
        await plain.gateway.janitor.round()
        assert (await head(plain, url)).headers["upload-offset"] == "2"
        await trio.sleep(200)
        await plain.gateway.janitor.round()
        assert (await head(plain, url)).status == 410
        assert (await patch(plain, url, 2, b"cde")).status == 410
        assert not plain.blobs.incoming_blobs


# While bytes are on their way


@pytest.fixture(params=[True, False], ids=["direct", "sockets"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[SocketClient]:
    async with over_sockets(
        fast_path=request.param, in_threads=request.param, takeover_probe_s=0.05, pause_hold_s=0.2
    ) as made:
        yield made


async def begin(raw: Raw, client: SocketClient, url: str, sent: bytes, rest: int, **fields: Any) -> LiveFile:
    """A PATCH of which `sent` has arrived, and `rest` bytes are still to come."""
    headers = {**OCTET, "Upload-Offset": "0", **{k.replace("_", "-"): str(v) for k, v in fields.items()}}
    start, *_ = rendered("PATCH", url, sent + bytes(rest), headers)
    await raw.send(start + sent)
    file = await file_of(client, url)
    await until(lambda: file.received >= len(sent))
    return file


async def test_tus_P7_what_came_before_a_break_is_kept(served: SocketClient) -> None:
    url = await create(served, 5)
    async with served.connect() as raw:
        file = await begin(raw, served, url, b"ab", 3)
    await until(lambda: file.append is None)
    assert await offset(served, url) == 2
    assert (await patch(served, url, 2, b"cde")).status == 204
    assert stored(served) == b"abcde"


async def test_tus_P7_what_came_before_a_reset_is_kept(served: SocketClient) -> None:
    url = await create(served, 5)
    async with served.connect() as raw:
        file = await begin(raw, served, url, b"ab", 3)
        await raw.reset()
    await until(lambda: file.append is None)
    assert await offset(served, url) == 2


async def test_tus_K7_of_a_broken_body_with_a_checksum_nothing_is_kept(served: SocketClient) -> None:
    url = await create(served, 5)
    async with served.connect() as raw:
        file = await begin(raw, served, url, b"ab", 3, Upload_Checksum=checksum("sha1", b"abcde"))
    await until(lambda: file.append is None)
    assert await offset(served, url) == 0


async def test_tus_D8_the_length_stays_when_its_body_breaks_off(served: SocketClient) -> None:
    url = await create(served)
    async with served.connect() as raw:
        file = await begin(raw, served, url, b"ab", 3, Upload_Length=5)
    await until(lambda: file.append is None)
    looked = await head(served, url)
    assert (looked.headers["upload-offset"], looked.headers["upload-length"]) == ("2", "5")


@pytest.mark.parametrize("fast_path", [True, False])
async def test_tus_P8_a_silent_client_is_told_to_come_back(fast_path: bool) -> None:
    async with over_sockets(fast_path=fast_path, body_idle_timeout_s=0.1) as served:
        url = await create(served, 5)
        async with served.connect() as raw:
            await begin(raw, served, url, b"ab", 3)
            status, lines, _ = await raw.answer(b"PATCH")
        assert (status, lines[b"connection"], lines[b"tus-resumable"]) == (503, b"close", b"1.0.0")
        assert await offset(served, url) == 2


async def test_tus_P11_the_second_writer_goes_on_where_the_first_one_hangs(served: SocketClient) -> None:
    url = await create(served, 5)
    async with served.connect() as raw:
        await begin(raw, served, url, b"ab", 3)
        assert (await patch(served, url, 1, b"bcde")).status == 409
        assert await offset(served, url) == 2  # its HEAD ends the one that hangs
        assert (await patch(served, url, 2, b"cde")).status == 204
        status, lines, _ = await raw.answer(b"PATCH")
    assert (status, lines[b"upload-offset"]) == (423, b"2")
    assert stored(served) == b"abcde"


async def test_tus_P12_a_paused_upload_is_423_after_the_hold(served: SocketClient) -> None:
    url = await create(served, 5)
    async with served.connect() as raw:
        await begin(raw, served, url, b"ab", 3)
        await command(served, url, "upload-pause")
        status, lines, _ = await raw.answer(b"PATCH")
    assert (status, lines[b"upload-offset"]) == (423, b"2")
    assert b"retry-after" in lines
    again = await patch(served, url, 2, b"cde")
    assert again.code == (423, "UPLOAD_LOCKED")
    assert again.headers["retry-after"]
    await command(served, url, "upload-resume")
    assert (await patch(served, url, 2, b"cde")).status == 204


async def test_tus_P12_a_cancelled_upload_is_410_at_once(served: SocketClient) -> None:
    url = await create(served, 5)
    async with served.connect() as raw:
        await begin(raw, served, url, b"ab", 3)
        await command(served, url, "upload-cancel")
        status, lines, _ = await raw.answer(b"PATCH")
    assert (status, lines[b"tus-resumable"]) == (410, b"1.0.0")
    assert (await patch(served, url, 2, b"cde")).code == (410, "UPLOAD_CANCELLED")


async def test_tus_L5_a_drained_append_is_asked_back(served: SocketClient) -> None:
    url = await create(served, 5)
    async with served.connect() as raw:
        await begin(raw, served, url, b"ab", 3)
        await served.gateway.drain()
        status, lines, _ = await raw.answer(b"PATCH")
    assert (status, lines[b"upload-offset"], lines[b"connection"]) == (503, b"2", b"close")
    assert (await patch(served, url, 2, b"cde")).status == 503


async def test_tus_P14_an_early_refusal_can_be_read(served: SocketClient) -> None:
    url = await create(served, 1 << 30)
    async with served.connect() as raw:
        start, *_ = rendered("PATCH", url, b"x", {**OCTET, "Upload-Offset": "7"})
        await raw.send(start.replace(b"content-length: 1", b"content-length: 1000000"))
        await raw.send(bytes(500_000))
        status, lines, _ = await raw.answer(b"PATCH")
    assert (status, lines[b"upload-offset"], lines[b"connection"]) == (409, b"0", b"close")


async def test_tus_P14_nothing_is_asked_for_before_the_append_is_let_in(served: SocketClient) -> None:
    url, waits = await create(served, 3), {**OCTET, "Expect": "100-continue"}
    async with served.connect() as raw:
        await raw.send(rendered("PATCH", url, b"abc", {**waits, "Upload-Offset": "1"})[0])
        assert (await raw.until(b"\r\n")).startswith(b"HTTP/1.1 409 ")
    async with served.connect() as raw:
        start, body, _ = rendered("PATCH", url, b"abc", {**waits, "Upload-Offset": "0"})
        await raw.send(start)
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await raw.send(body)
        assert (await raw.answer())[0] == 204


async def test_appends_follow_each_other_on_one_connection(served: SocketClient) -> None:
    url = await create(served, 100)
    requests = [
        rendered("PATCH", url, b"x" * 10, {**OCTET, "Upload-Offset": str(at)}) for at in range(0, 100, 10)
    ]
    async with served.connect() as raw:
        await raw.send(b"".join(b"".join(pieces) for pieces in requests))
        answers = [await raw.answer(b"PATCH") for _ in requests]
    assert [(status, lines.get(b"upload-offset")) for status, lines, _ in answers] == [
        (204, str(at).encode()) for at in range(10, 101, 10)
    ]
    assert stored(served) == b"x" * 100
    await until(lambda: served.blobs.open_writers == 0)
