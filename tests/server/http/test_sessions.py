"""Sessions over REST: every call, and every way to get it wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.server.http.clients import Answer, BareClient, bare, created

SESSIONS = "/api/upload/sessions"
UNKNOWN = f"{SESSIONS}/00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def client() -> AsyncIterator[BareClient]:
    async with bare(max_json_bytes=2000, max_file_bytes=1000, max_session_files=3) as made:
        yield made


async def post(client: BareClient, path: str, value: object, **headers: str) -> Answer:
    lines = {name.replace("_", "-"): text for name, text in headers.items()}
    return await client.ask("POST", path, msgspec.json.encode(value), lines)


async def test_create(client: BareClient) -> None:
    files = [
        {"fileName": "电影.mp4", "fileSize": 7, "fileType": "video/mp4"},
        {"fileName": "b", "fileId": "b"},
    ]
    answer = await post(client, SESSIONS, {"category": "scenic", "files": files, "metadata": {"trip": "1"}})
    made = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"{SESSIONS}/{made['sessionId']}"
    assert (made["category"], made["overallStatus"]) == ("scenic", "pending")
    assert [file["fileName"] for file in made["files"]] == ["电影.mp4", "b"]
    assert made["files"][1]["uploadUrl"] == f"{SESSIONS}/{made['sessionId']}/files/b"
    shown = (await client.ask("GET", answer.headers["location"])).json
    assert (shown["filesTotal"], shown["metadata"], shown["category"]) == (2, {"trip": "1"}, "scenic")


async def test_create_with_nothing(client: BareClient) -> None:
    answer = await client.ask("POST", SESSIONS)
    assert (answer.status, answer.json["category"], answer.json["files"]) == (201, "personal", [])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 1900, "not valid JSON"),
        (b"[]", "body: expected `object`"),
        (b'{"files": [{"fileName": 3}]}', "files[0].fileName: expected `str`"),
        (b'{"files": [{"fileName": ""}]}', "fileName: must not be empty"),
        (b'{"files": [{"fileName": "a", "fileSize": -1}]}', "files[0].fileSize: "),
        (b'{"files": [{"fileName": "a", "fileSize": "1"}]}', "files[0].fileSize: expected `int"),
        (b'{"files": [{"fileName": "a", "fileId": "a/b"}]}', "fileId: 1 to 128 of"),
        (b'{"files": [{"fileName": "a", "fileid": "a"}]}', "files[0]: "),
        (b'{"files": [{}]}', "files[0]: "),
        (b'{"category": "other"}', "category: must be one of personal, scenic"),
        (b'{"open": 1}', "open: expected `bool`"),
        (b'{"metadata": {"a": 1}}', "metadata"),
        (b'{"fils": []}', "fils"),
    ],
)
async def test_create_refuses_and_names_the_field(client: BareClient, body: bytes, words: str) -> None:
    answer = await client.ask("POST", SESSIONS, body)
    assert answer.code == (400, "INVALID_MESSAGE")
    assert words in answer.json["detail"]
    assert client.gateway.statistics().sessions == 0


async def test_a_category_names_the_others(client: BareClient) -> None:
    answer = await post(client, SESSIONS, {"category": "Other"})
    assert answer.json["details"] == {"allowed": ["personal", "scenic"]}


@pytest.mark.parametrize("body", [b" " * 2001, [b" " * 1000, b" " * 1001]], ids=["declared", "chunked"])
async def test_too_much_json(client: BareClient, body: bytes | list[bytes]) -> None:
    assert (await client.ask("POST", SESSIONS, body)).code == (413, "MESSAGE_TOO_LARGE")


async def test_chunked_json(client: BareClient) -> None:
    assert (await client.ask("POST", SESSIONS, [b'{"category": ', b"", b'"scenic"}'])).status == 201


async def test_refusals_of_the_gateway(client: BareClient) -> None:
    big = await post(client, SESSIONS, {"files": [{"fileName": "a", "fileSize": 1001}]})
    assert big.code == (413, "FILE_SIZE_EXCEEDED")
    many = await post(client, SESSIONS, {"files": [{"fileName": "a"}] * 4})
    assert many.code == (503, "SERVER_BUSY")
    client.blobs.full_at_bytes = 10
    full = await post(client, SESSIONS, {"files": [{"fileName": "a", "fileSize": 100}]})
    assert full.code == (507, "INSUFFICIENT_STORAGE")


async def test_formats() -> None:
    async with bare(allowed_formats=("mp4",)) as client:
        answer = await post(client, SESSIONS, {"files": [{"fileName": "a.exe"}]})
        assert answer.code == (415, "UNSUPPORTED_FORMAT")
        assert answer.json["details"] == {"allowed": ["mp4"]}


async def test_register(client: BareClient) -> None:
    path = f"{SESSIONS}/{(await created(client, open=True))['sessionId']}"
    answer = await post(client, f"{path}/files", {"files": [{"fileName": "a", "fileId": "a"}]})
    assert (answer.status, answer.headers["location"]) == (201, path)
    assert answer.json["files"][0]["uploadUrl"] == f"{path}/files/a"
    again = await post(client, f"{path}/files", {"files": [{"fileName": "a", "fileId": "a"}]})
    assert again.code == (400, "INVALID_MESSAGE")
    assert "files[0].fileId: is already taken" in again.json["detail"]
    none = await post(client, f"{path}/files", {})
    assert "files" in none.json["detail"]
    assert (await post(client, f"{UNKNOWN}/files", {"files": [{"fileName": "a"}]})).code[0] == 404


async def test_complete(client: BareClient) -> None:
    path = f"{SESSIONS}/{(await created(client, open=True))['sessionId']}"
    assert (await client.ask("GET", path)).json["open"] is True
    for _ in range(2):
        answer = await client.ask("POST", f"{path}/complete")
        assert (answer.status, answer.json["open"]) == (200, False)
    assert (await client.ask("POST", f"{UNKNOWN}/complete")).code == (404, "SESSION_NOT_FOUND")


async def test_pages() -> None:
    async with bare() as client:
        files = [{"fileName": f"{number}.bin" + "x" * 200} for number in range(200)]
        path = f"{SESSIONS}/{(await created(client, *files))['sessionId']}"
        names: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await client.ask("GET", f"{path}?cursor={cursor}")).json
            names += [file["fileName"] for file in page["files"]]
            cursor = page["cursor"]
        assert names == [file["fileName"] for file in files]
        wrong = await client.ask("GET", f"{path}?cursor=zz")
        assert wrong.code == (400, "INVALID_MESSAGE")
        assert wrong.json["detail"].startswith("cursor: ")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_unknown_sessions(client: BareClient, method: str) -> None:
    assert (await client.ask(method, UNKNOWN)).code == (404, "SESSION_NOT_FOUND")
    assert (await client.ask(method, f"{SESSIONS}/no-id")).code == (400, "INVALID_SESSION")
    assert (await client.ask(method, f"{SESSIONS}/w_{'0' * 40}")).code == (404, "SESSION_NOT_FOUND")


async def test_nobody_lists_sessions(client: BareClient) -> None:
    assert (await client.ask("GET", f"{SESSIONS}?status=unfinished")).code == (
        403,
        "INSUFFICIENT_PERMISSIONS",
    )


# Idempotency-Key


async def test_the_same_creation_again(client: BareClient) -> None:
    first = await client.ask(
        "POST", SESSIONS, b'{"open": true, "category": "scenic"}', {"Idempotency-Key": "k"}
    )
    again = await client.ask("POST", SESSIONS, b'{"category":"scenic","open":true}', {"Idempotency-Key": "k"})
    assert (again.status, again.json, again.headers["location"]) == (
        201,
        first.json,
        first.headers["location"],
    )
    assert client.gateway.statistics().sessions == 1


async def test_the_same_registration_again(client: BareClient) -> None:
    made = await created(client)
    path = f"{SESSIONS}/{made['sessionId']}/files"
    first = await post(client, path, {"files": [{"fileName": "a"}]}, Idempotency_Key="k")
    again = await post(client, path, {"files": [{"fileName": "a"}]}, Idempotency_Key="k")
    assert first.json == again.json
    assert (await client.ask("GET", f"{SESSIONS}/{made['sessionId']}")).json["filesTotal"] == 1


async def test_another_request_under_the_same_key(client: BareClient) -> None:
    await post(client, SESSIONS, {"open": True}, Idempotency_Key="k")
    other = await post(client, SESSIONS, {"open": False}, Idempotency_Key="k")
    assert other.code == (422, "IDEMPOTENCY_KEY_REUSED")
    assert (await post(client, SESSIONS, {}, Idempotency_Key="x" * 256)).code == (400, "INVALID_MESSAGE")


# Commands


@pytest.fixture
async def session(client: BareClient) -> dict[str, Any]:
    made = await created(
        client, {"fileName": "a", "fileId": "a", "fileSize": 3}, {"fileName": "b", "fileId": "b"}
    )
    return {"path": f"{SESSIONS}/{made['sessionId']}", **made}


async def test_every_command(client: BareClient, session: dict[str, Any]) -> None:
    async def command(**fields: object) -> Any:
        answer = await post(client, f"{session['path']}/commands", fields)
        assert answer.status == 200, answer
        assert answer.json["ok"] is True
        return answer.json

    assert (await command(type="upload-start", fileIds=["a"], category="personal"))["fileIds"] == ["a"]
    asked = await command(type="upload-progress", fileId="a", requestUpdate=True)
    assert asked["progress"]["totalBytes"] == 3
    assert (await command(type="upload-progress", fileId="a", progress=50))["clientProgress"] == 50
    assert (await command(type="upload-pause", fileId="a", reason="tea"))["status"] == "paused"
    assert (await command(type="upload-resume", fileId="a"))["status"] == "uploading"
    assert (await command(type="upload-pause"))["overallStatus"] == "paused"
    assert (await command(type="upload-resume", sessionId=session["sessionId"]))["ok"] is True
    assert (await command(type="upload-cancel", fileId="a"))["status"] == "cancelled"
    assert (await command(type="upload-cancel"))["overallStatus"] == "cancelled"
    assert (await command(type="upload-cancel"))["overallStatus"] == "cancelled"


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ([], (400, "INVALID_MESSAGE"), "body: a JSON object"),
        ({}, (400, "INVALID_MESSAGE"), "type: the name of a command"),
        ({"type": 1}, (400, "INVALID_MESSAGE"), "type: "),
        ({"type": "upload-stop"}, (400, "INVALID_MESSAGE"), "type: 'upload-stop' is not a command"),
        ({"type": "join-session"}, (400, "INVALID_MESSAGE"), "type: join and leave"),
        ({"type": "upload-pause", "fileid": "a"}, (400, "INVALID_MESSAGE"), "fileid"),
        ({"type": "upload-pause", "fileId": 1}, (400, "INVALID_MESSAGE"), "fileId: expected `str"),
        ({"type": "upload-pause", "fileId": "x"}, (404, "FILE_NOT_FOUND"), "fileId"),
        ({"type": "upload-pause", "sessionId": UNKNOWN[-36:]}, (400, "INVALID_MESSAGE"), "sessionId: "),
        (
            {"type": "upload-start", "fileIds": ["a"], "category": "scenic"},
            (400, "INVALID_MESSAGE"),
            "category: ",
        ),
        ({"type": "upload-progress", "fileId": "a", "progress": 9}, (409, "UPLOAD_NOT_STARTED"), "started"),
        ({"type": "upload-progress", "fileId": "a", "progress": 101}, (400, "INVALID_MESSAGE"), "progress: "),
    ],
)
async def test_refused_commands(
    client: BareClient, session: dict[str, Any], fields: object, code: tuple[int, str], words: str
) -> None:
    answer = await post(client, f"{session['path']}/commands", fields)
    assert answer.code == code
    assert words in answer.json["detail"]
    assert (await client.ask("GET", session["path"])).json["seq"] == 0


async def test_commands_on_what_has_ended(client: BareClient, session: dict[str, Any]) -> None:
    file = f"{session['path']}/files/a"
    await client.ask("PUT", file, b"abc")
    for kind in ("pause", "resume", "cancel"):
        answer = await post(client, f"{session['path']}/commands", {"type": f"upload-{kind}", "fileId": "a"})
        assert answer.code == (409, "UPLOAD_ALREADY_COMPLETED")
    await client.ask("DELETE", f"{session['path']}/files/b")
    answer = await post(client, f"{session['path']}/commands", {"type": "upload-pause", "fileId": "b"})
    assert answer.code == (410, "UPLOAD_CANCELLED")


async def test_delete_a_file(client: BareClient, session: dict[str, Any]) -> None:
    file = f"{session['path']}/files/a"
    await client.ask("PUT", file, b"ab", {"Content-Range": "bytes 0-1/3"})
    for _ in range(2):
        answer = await client.ask("DELETE", file)
        assert (answer.status, answer.body) == (204, b"")
    assert not client.blobs.incoming_blobs
    assert (await client.ask("DELETE", f"{session['path']}/files/x")).code == (404, "FILE_NOT_FOUND")
    await client.ask("PUT", f"{session['path']}/files/b", b"b")
    assert (await client.ask("DELETE", f"{session['path']}/files/b")).code == (
        409,
        "UPLOAD_ALREADY_COMPLETED",
    )


async def test_delete_a_session(client: BareClient, session: dict[str, Any]) -> None:
    await client.ask("PUT", f"{session['path']}/files/a", b"abc")
    for _ in range(2):
        assert (await client.ask("DELETE", session["path"])).status == 204
    shown = (await client.ask("GET", session["path"])).json
    assert {file["fileId"]: file["status"] for file in shown["files"]} == {"a": "completed", "b": "cancelled"}


async def test_a_complete_session_is_not_deleted(client: BareClient) -> None:
    made = await created(client, {"fileName": "a", "fileId": "a"})
    await client.ask("PUT", made["files"][0]["uploadUrl"], b"abc")
    answer = await client.ask("DELETE", f"{SESSIONS}/{made['sessionId']}")
    assert answer.code == (409, "UPLOAD_ALREADY_COMPLETED")


# Watch keys


async def test_a_watch_key_shows_but_never_tells(client: BareClient, session: dict[str, Any]) -> None:
    path = f"{SESSIONS}/{session['watchKey']}"
    await client.ask("PUT", f"{session['path']}/files/a", b"ab", {"Content-Range": "bytes 0-1/3"})
    for looked in (path, f"{path}/files/a", f"/api/upload/progress/{session['watchKey']}"):
        answer = await client.ask("GET", looked)
        assert answer.status == 200
        told = answer.body + repr(answer.headers).encode()
        assert session["sessionId"].encode() not in told
        assert b"uploadUrl" not in told
        assert b"metadata" not in told


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("POST", "/files", b'{"files": [{"fileName": "c"}]}'),
        ("POST", "/complete", b""),
        ("POST", "/commands", b'{"type": "upload-pause"}'),
        ("DELETE", "", None),
        ("DELETE", "/files/a", None),
    ],
)
async def test_a_watch_key_changes_nothing(
    client: BareClient, session: dict[str, Any], method: str, suffix: str, body: bytes | None
) -> None:
    answer = await client.ask(method, f"{SESSIONS}/{session['watchKey']}{suffix}", body)
    assert answer.code == (403, "INSUFFICIENT_PERMISSIONS")
    assert session["sessionId"].encode() not in answer.body
    shown = (await client.ask("GET", session["path"])).json
    assert (shown["seq"], shown["filesTotal"], shown["paused"]) == (0, 2, False)


async def test_draining(client: BareClient, session: dict[str, Any]) -> None:
    await client.gateway.drain()
    answer = await post(client, SESSIONS, {})
    assert answer.code == (503, "SERVER_BUSY")
    assert answer.headers["retry-after"] == "5"
    put = await client.ask("PUT", f"{session['path']}/files/a", b"abc")
    assert put.code == (503, "SERVER_BUSY")
    assert (await client.ask("GET", session["path"])).status == 200
