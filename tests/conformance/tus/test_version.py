"""`Tus-Resumable`, method override, numbers: what holds for every request (tus 1.0.0, "Headers")."""

from __future__ import annotations

import pytest

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import OCTET, Tus, content
from tests.conformance.wire import Fields

FIVE = ("Upload-Length", "5")
AT_START = ("Upload-Offset", "0")

# name: method, where to, fields, body, the statuses that make the case what it is
ANSWERS: dict[str, tuple[str, str, Fields, bytes, tuple[int, ...]]] = {
    "created": ("POST", "creation", [FIVE], b"", (201,)),
    "offset": ("HEAD", "upload", [], b"", (200, 204)),
    "appended": ("PATCH", "upload", [OCTET, AT_START], b"hello", (204,)),
    "no length": ("POST", "creation", [], b"", (201, 400)),
    "bad length": ("POST", "creation", [("Upload-Length", "five")], b"", (400, 422)),
    "bad metadata": ("POST", "creation", [FIVE, ("Upload-Metadata", "a !!!")], b"", (201, 400)),
    "wrong offset": ("PATCH", "upload", [OCTET, ("Upload-Offset", "3")], b"lo", (409,)),
    "wrong type": ("PATCH", "upload", [("Content-Type", "text/plain"), AT_START], b"hello", (400, 415)),
    "offset of an unknown upload": ("HEAD", "unknown", [], b"", (403, 404, 410)),
    "append to an unknown upload": ("PATCH", "unknown", [OCTET, AT_START], b"hello", (403, 404, 410)),
    "wrong method": ("PUT", "creation", [], b"", (400, 404, 405, 501)),
}


@line("G1", "M")
@pytest.mark.parametrize("case", ANSWERS)
async def test_tus_G1_every_answer_carries_tus_resumable(tus: Tus, case: str) -> None:
    method, where, fields, body, statuses = ANSWERS[case]
    path = None
    if where == "upload":
        path = (await tus.create(5)).path
    elif where == "unknown":
        path = await tus.unknown()
    answer = await tus.ask(method, path, fields, body)
    assert answer["tus-resumable"] == "1.0.0"
    assert answer.status in statuses


@line("G1", "M")
async def test_tus_G1_the_answer_to_a_termination_carries_tus_resumable(tus: Tus) -> None:
    await tus.require("termination")
    upload = await tus.create(5)
    for _ in range(2):  # 204, then 404 or 410
        assert (await upload.delete())["tus-resumable"] == "1.0.0"


@line("G1", "M")
async def test_tus_G1_the_answer_to_a_wrong_version_carries_tus_resumable(tus: Tus) -> None:
    answer = await tus.ask("POST", None, [FIVE], version="0.2.2")
    assert answer["tus-resumable"] == "1.0.0"


@line("G2", "M")
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
async def test_tus_G2_an_unknown_version_is_refused_and_changes_nothing(tus: Tus, method: str) -> None:
    upload = await tus.create(5)
    path = None if method == "POST" else upload.path
    fields = {"POST": [FIVE], "PATCH": [OCTET, AT_START]}.get(method, [])
    body = b"hello" if method == "PATCH" else b""
    answer = await tus.ask(method, path, fields, body, version="0.2.2")
    assert answer.status == 412
    assert "1.0.0" in answer.words("tus-version")
    assert "location" not in answer
    await upload.check_unchanged()


@line("G3", "C")
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_tus_G3_a_missing_version_is_refused_where_something_changes(tus: Tus, method: str) -> None:
    upload = await tus.create(5)
    path = None if method == "POST" else upload.path
    fields = {"POST": [FIVE], "PATCH": [OCTET, AT_START]}.get(method, [])
    answer = await tus.ask(method, path, fields, b"hello" if method == "PATCH" else b"", version=None)
    assert answer.status == 412
    assert "location" not in answer
    await upload.check_unchanged()


@line("G3", "C")
async def test_tus_G3_head_without_a_version_is_answered(tus: Tus) -> None:
    upload = await tus.create(5)
    answer = await tus.ask("HEAD", upload.path, version=None)
    assert answer.status in (200, 204)
    assert answer.offset == 0


@line("G3", "C")
async def test_tus_G3_get_without_a_version_is_no_wrong_version(tus: Tus) -> None:
    upload = await tus.finished(b"hello")
    answer = await tus.ask("GET", upload.path, version=None)
    assert answer.status != 412


@line("G4", "M")
@pytest.mark.parametrize("version", ["0.0.0", "2.0.0", "whatever"])
async def test_tus_G4_options_ignores_the_version(tus: Tus, version: str) -> None:
    answer = await tus.ask("OPTIONS", version=version)
    assert answer.status in (200, 204)
    assert "1.0.0" in answer.words("tus-version")


@line("G5", "M")
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_tus_G5_override_appends(tus: Tus, method: str) -> None:
    upload = await tus.create(5)
    override = ("X-HTTP-Method-Override", "PATCH")
    answer = await tus.ask(method, upload.path, [override, OCTET, AT_START], b"hello")
    assert (answer.status, answer.offset) == (204, 5)
    await upload.check_content(b"hello")


@line("G5", "M")
async def test_tus_G5_override_asks_for_the_offset(tus: Tus) -> None:
    upload = await tus.create(5)
    answer = await tus.ask("POST", upload.path, [("X-HTTP-Method-Override", "HEAD")])
    assert answer.status in (200, 204)
    assert answer.offset == 0


@line("G5", "M")
async def test_tus_G5_override_terminates(tus: Tus) -> None:
    await tus.require("termination")
    upload = await tus.create(5)
    answer = await tus.ask("POST", upload.path, [("X-HTTP-Method-Override", "DELETE")])
    assert answer.status == 204
    await upload.check_gone()


@line("G6", "U")
@pytest.mark.parametrize("method", ["PUT", "TRACE", "CONNECT", "BREW", "../x"])
async def test_tus_G6_override_leads_to_no_other_method(tus: Tus, method: str) -> None:
    upload = await tus.create(5)
    fields = [("X-HTTP-Method-Override", method), OCTET, AT_START]
    answer = await tus.ask("POST", upload.path, fields, b"hello")
    assert answer.status in (400, 405)
    await upload.check_unchanged()


NO_NUMBERS = {
    "minus": "-1",
    "plus": "+1",
    "decimal": "1.0",
    "hex": "0x10",
    "exponent": "1e3",
    "full-width": "１",
    "empty": "",
    "words": "one",
    "two": "1, 1",
}
HUGE = {"2^63": str(2**63), "2^64": str(2**64), "200 digits": "9" * 200}


@line("G7", "M")
@pytest.mark.parametrize("value", NO_NUMBERS)
async def test_tus_G7_a_length_is_a_plain_number(tus: Tus, value: str) -> None:
    answer = await tus.post(("Upload-Length", NO_NUMBERS[value]))
    assert answer.status in (400, 422)
    assert "location" not in answer


@line("G7", "M")
@pytest.mark.parametrize("value", HUGE)
async def test_tus_G7_a_length_beyond_all_disks_is_refused(tus: Tus, value: str) -> None:
    answer = await tus.post(("Upload-Length", HUGE[value]))
    assert answer.status in (400, 413, 507)
    assert "location" not in answer


@line("G7", "M")
async def test_tus_G7_a_length_comes_once(tus: Tus) -> None:
    answer = await tus.post(FIVE, FIVE)
    assert answer.status == 400


@line("G7", "M")
@pytest.mark.parametrize("value", NO_NUMBERS)
async def test_tus_G7_an_offset_is_a_plain_number(tus: Tus, value: str) -> None:
    upload = await tus.create(20)
    answer = await tus.ask("PATCH", upload.path, [OCTET, ("Upload-Offset", NO_NUMBERS[value])], b"hello")
    assert answer.status in (400, 409, 422)
    await upload.check_unchanged()


@line("G7", "M")
@pytest.mark.parametrize("value", HUGE)
async def test_tus_G7_an_offset_beyond_all_files_is_refused(tus: Tus, value: str) -> None:
    upload = await tus.create(20)
    answer = await tus.ask("PATCH", upload.path, [OCTET, ("Upload-Offset", HUGE[value])], b"hello")
    assert answer.status in (400, 409)
    await upload.check_unchanged()


@line("G7", "M")
async def test_tus_G7_an_offset_comes_once(tus: Tus) -> None:
    upload = await tus.create(20)
    answer = await tus.ask("PATCH", upload.path, [OCTET, AT_START, AT_START], b"hello")
    assert answer.status == 400
    await upload.check_unchanged()


INJECTIONS = {
    "decoded line feeds": "filetype dmlkZW8vbXA0,filename YQ0KWC1JbmplY3RlZDogMQ==",  # …CRLF, X-Injected: 1
    "folded line": "filetype dmlkZW8vbXA0,filename YQ==\r\n X-Injected: 1",
    "bare carriage return": "filetype dmlkZW8vbXA0,filename YQ==\rX-Injected: 1",
    "bare line feed": "filetype dmlkZW8vbXA0,filename YQ==,b\n X-Injected: 1",
}


@line("G8", "U")
@pytest.mark.parametrize("case", INJECTIONS)
async def test_tus_G8_what_is_echoed_adds_no_header(tus: Tus, case: str) -> None:
    body = content(100)
    answer = await tus.post(("Upload-Length", str(len(body))), ("Upload-Metadata", INJECTIONS[case]))
    assert "x-injected" not in answer
    if answer.status == 201:
        upload = tus.created(answer)
        for later in (await upload.head(), await upload.patch(0, body), await upload.get()):
            assert "x-injected" not in later
