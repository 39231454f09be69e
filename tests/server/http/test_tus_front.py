"""What every answer below `/files` has in common: versions, overridden methods, discovery, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock.protocol.errors import ServerBusy
from penstock.protocol.header_fields import Fields
from penstock.server.edge.guard import guarded
from penstock.server.http.answers import Response, empty_answer, json_answer
from penstock.server.http.application import Application, Request
from penstock.server.http.resumable import ResumableRoutes
from penstock.server.http.upload_front import UploadFront
from penstock.server.settings import Settings
from tests.server.edge.h2_client import talking
from tests.server.edge.harness import connected, serving
from tests.server.http.clients import TRANSPORTS, Answer, BareClient, Client, Conversation, bare, rendered
from tests.server.http.tus_client import OCTET, TUS, UNKNOWN, create, dashed, head, offset, patch, uploads

EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation"
)


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with TRANSPORTS[request.param]() as made:
        yield made


@pytest.fixture
async def plain() -> AsyncIterator[BareClient]:
    async with bare() as made:
        yield made


# Versions


async def test_tus_G1_every_answer_names_the_version(client: Client) -> None:
    url = await create(client, 5)
    questions: list[tuple[str, str, dict[str, str], int]] = [
        ("GET", "/files/x/y", TUS, 404),
        ("GET", "/files//x", TUS, 404),
        ("GET", "/files/", TUS, 405),
        ("POST", url, TUS, 405),
        ("PUT", "/files/", TUS, 405),
        ("PROPFIND", url, TUS, 405),
        ("PATCH", UNKNOWN, {**OCTET, "Upload-Offset": "0"}, 404),
        ("PATCH", url, {**OCTET, "Upload-Offset": "9"}, 409),
        ("PATCH", url, {}, 412),
        ("PATCH", url, {**TUS, "Upload-Offset": "0"}, 415),
        ("PATCH", url, OCTET, 400),
        ("POST", "/files", {**TUS, "Upload-Length": "x"}, 400),
        ("DELETE", url, TUS, 204),
        ("DELETE", url, TUS, 410),
    ]
    for method, path, headers, status in questions:
        answer = await client.ask(method, path, b"", headers)
        assert (answer.status, answer.headers.get("tus-resumable")) == (status, "1.0.0"), (method, path)


async def test_other_addresses_do_not_speak_of_tus(plain: BareClient) -> None:
    for path in ("/filesystem", "/api/upload/limits", "/"):
        assert "tus-resumable" not in (await plain.ask("GET", path, None, TUS)).headers


@pytest.mark.parametrize("said", [None, "0.2.2", "1.0.1", "", "1.0.0, 1.0.0"])
async def test_tus_G2_G3_another_version_changes_nothing(plain: BareClient, said: str | None) -> None:
    url = await create(plain, 5)
    headers = {} if said is None else {"Tus-Resumable": said}
    bytes_ = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    before = await uploads(plain)
    for method, path, more in [
        ("POST", "/files/", {"Upload-Length": "5"}),
        ("PATCH", url, bytes_),
        ("DELETE", url, {}),
    ]:
        answer = await plain.ask(method, path, b"ab" if method == "PATCH" else b"", {**headers, **more})
        assert (answer.status, answer.headers["tus-version"]) == (412, "1.0.0")
        assert answer.headers["tus-resumable"] == "1.0.0"
    assert await uploads(plain) == before
    assert await offset(plain, url) == 0


async def test_tus_G3_who_only_looks_needs_no_version_but_may_not_name_a_wrong_one(plain: BareClient) -> None:
    url = await create(plain, 5)
    assert (await plain.ask("HEAD", url)).headers["upload-offset"] == "0"
    assert (await plain.ask("GET", url)).headers["upload-offset"] == "0"
    for method in ("HEAD", "GET"):
        answer = await plain.ask(method, url, None, {"Tus-Resumable": "0.2.2"})
        assert (answer.status, answer.headers["tus-version"]) == (412, "1.0.0")
        assert "upload-offset" not in answer.headers


# Discovery


@pytest.mark.parametrize("path", ["/files", "/files/", UNKNOWN])
@pytest.mark.parametrize("said", [{}, TUS, {"Tus-Resumable": "0.2.2"}, {"Tus-Resumable": "nonsense"}])
async def test_tus_O1_O5_G4_options(plain: BareClient, path: str, said: dict[str, str]) -> None:
    answer = await plain.ask("OPTIONS", path, None, said)
    wanted = {
        "tus-resumable": "1.0.0",
        "tus-version": "1.0.0",
        "tus-extension": EXTENSIONS,
        "tus-checksum-algorithm": "sha1,sha256,sha512,md5,crc32,crc32c",
        "upload-limit": "max-age=86400",
    }
    assert (answer.status, answer.body) == (204, b"")
    assert wanted.items() <= answer.headers.items()
    assert "tus-max-size" not in answer.headers


async def test_tus_O4_the_limit_is_told_where_there_is_one() -> None:
    async with bare(max_file_bytes=1000) as made:
        answer = await made.ask("OPTIONS", "/files/")
        assert answer.headers["tus-max-size"] == "1000"
        assert answer.headers["upload-limit"] == "max-size=1000, max-age=86400"
        assert (await made.ask("POST", "/files/", b"", {**TUS, "Upload-Length": "1000"})).status == 201
        assert (await made.ask("POST", "/files/", b"", {**TUS, "Upload-Length": "1001"})).status == 413


async def test_tus_O6_a_preflight_of_everything_a_client_sends(plain: BareClient) -> None:
    settings = Settings(allowed_origins=("https://app.example",))
    question = {
        "Host": "localhost",
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "PATCH",
    }
    answer = await asked(guarded(plain.app, settings), "OPTIONS", UNKNOWN, question)
    assert answer.status == 204
    allowed = set(answer.headers["access-control-allow-headers"].split(", "))
    assert allowed >= {
        *("Authorization", "Content-Type", "Upload-Length", "Upload-Offset", "Upload-Metadata"),
        *("Upload-Defer-Length", "Upload-Concat", "Upload-Checksum", "Tus-Resumable", "X-Requested-With"),
        *("X-HTTP-Method-Override", "X-Request-ID", "Idempotency-Key", "Upload-Complete", "Repr-Digest"),
        *("Upload-Draft-Interop-Version", "Content-Digest", "Want-Repr-Digest", "Content-Disposition"),
    }
    methods = set(answer.headers["access-control-allow-methods"].split(", "))
    assert methods >= {"POST", "GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}


async def test_tus_P13_a_page_can_read_what_it_needs_also_of_errors(plain: BareClient) -> None:
    app = guarded(plain.app, Settings(allowed_origins=("https://app.example",)))
    cross = {"Host": "localhost", "Origin": "https://app.example"}
    for method, path, status in [("POST", "/files/", 201), ("PATCH", UNKNOWN, 404), ("HEAD", UNKNOWN, 404)]:
        answer = await asked(app, method, path, {**cross, **TUS, "Upload-Length": "5"})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (
            status,
            "https://app.example",
        )
        assert answer.headers["tus-resumable"] == "1.0.0"
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert exposed >= {
            *("Location", "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires"),
            *("Upload-Defer-Length", "Upload-Concat", "Tus-Version", "Tus-Resumable", "Tus-Max-Size"),
            *("Tus-Extension", "Tus-Checksum-Algorithm", "Upload-Complete", "Upload-Limit", "Retry-After"),
            *("Upload-Draft-Interop-Version", "Repr-Digest"),
        }


# Overridden methods


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "PUT", "FOO"])
async def test_tus_G5_the_override_decides(plain: BareClient, method: str) -> None:
    url = await create(plain, 5)
    meant = {**OCTET, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    answer = await plain.ask(method, url, b"abc", meant)
    assert (answer.status, answer.headers["upload-offset"]) == (204, "3")
    looked = await plain.ask(method, url, None, {**TUS, "X-HTTP-Method-Override": "HEAD"})
    assert (looked.status, looked.headers["upload-offset"], looked.body) == (200, "3", b"")
    gone = await plain.ask(method, url, None, {**TUS, "X-HTTP-Method-Override": "DELETE"})
    assert gone.status == 204
    assert (await plain.ask(method, url, None, {**TUS, "X-HTTP-Method-Override": "HEAD"})).status == 410


async def test_tus_G5_over_a_connection_that_goes_on(client: Client) -> None:
    """The answers are framed by the method on the wire."""
    url = await create(client, 3)
    over = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", **OCTET}
    assert (await client.ask("POST", url, b"abc", over)).status == 204
    looked = await client.ask("POST", url, b"", {**TUS, "X-HTTP-Method-Override": "HEAD"})
    assert (looked.status, looked.headers["upload-length"], looked.body) == (200, "3", b"")
    missing = await client.ask("POST", UNKNOWN, b"", {**TUS, "X-HTTP-Method-Override": "HEAD"})
    assert (missing.status, missing.headers["content-length"], missing.body) == (404, "0", b"")
    file = await client.ask("POST", url, b"", {**TUS, "X-HTTP-Method-Override": "GET"})
    assert (file.status, file.body) == (200, b"abc")


async def test_tus_G5_answers_to_overridden_heads_end(plain: BareClient) -> None:
    async with serving(plain.app) as edge, connected(edge) as raw:
        over = {**TUS, "X-HTTP-Method-Override": "HEAD"}
        for path in (UNKNOWN, await create(plain, 3), UNKNOWN):
            await raw.send(b"".join(rendered("POST", path, b"", over)))
            status, lines, body = await raw.answer()
            assert (status, lines[b"content-length"], body) == (404 if path == UNKNOWN else 200, b"0", b"")


@pytest.mark.parametrize("meant", ["PUT", "TRACE", "CONNECT", "patch", "", "GET, DELETE", "../x"])
async def test_tus_G6_other_overrides_are_refused(plain: BareClient, meant: str) -> None:
    url = await create(plain, 5)
    for method, path in [("POST", "/files/"), ("DELETE", url), ("OPTIONS", url)]:
        answer = await plain.ask(
            method, path, b"", {**TUS, "Upload-Length": "5", "X-HTTP-Method-Override": meant}
        )
        assert answer.code == (400, "INVALID_MESSAGE")
        assert answer.json["detail"].startswith("X-HTTP-Method-Override: ")
    assert await offset(plain, url) == 0


async def test_tus_G6_an_override_means_nothing_elsewhere(plain: BareClient) -> None:
    made = await plain.ask("POST", "/api/upload/sessions", b"{}", {"X-HTTP-Method-Override": "GET"})
    assert made.status == 201
    url = f"/api/upload/sessions/{made.json['sessionId']}"
    answer = await plain.ask("GET", url, None, {"X-HTTP-Method-Override": "DELETE"})
    assert (answer.status, answer.json["sessionId"]) == (200, made.json["sessionId"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("meant", ["DELETE", "GET", "nonsense"])
async def test_tus_G6_an_override_is_no_way_around_the_origin(
    plain: BareClient, method: str, meant: str
) -> None:
    url = await create(plain, 5)
    app = guarded(plain.app, Settings())
    headers = {**TUS, "Host": "localhost", "Origin": "https://evil.example", "X-HTTP-Method-Override": meant}
    assert (await asked(app, method, url, headers)).status == 403
    assert await offset(plain, url) == 0


# Errors that nobody foresaw, and which protocol it is


class Recorder:
    """A dialect that notes what it is asked, and fails on demand."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fails_with: Exception | None = None

    async def serve(self, request: Request, fields: Fields, upload_id: str | None) -> Response:
        if self.fails_with is not None:
            raise self.fails_with
        if request.method == "HEAD":
            return empty_answer(204)
        return json_answer([self.name, request.method, upload_id])


class Pair:
    def __init__(self) -> None:
        self.tus, self.draft = Recorder("tus"), Recorder("draft")
        app = Application()
        ResumableRoutes(Settings(), tus=self.tus, draft=self.draft).mount(app)
        self.app = UploadFront(app)  # type: ignore[arg-type]  # hypercorn's typed dicts


@pytest.fixture
def pair() -> Pair:
    return Pair()


async def asked(app: Any, method: str, path: str, headers: dict[str, str]) -> Answer:
    conversation = Conversation(app, method, path, None, headers)
    await conversation.run()
    return conversation.answer


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({}, "tus"),
        ({"Tus_Resumable": "1.0.0"}, "tus"),
        ({"Upload_Draft_Interop_Version": "8"}, "draft"),
        ({"Upload_Complete": "?1"}, "draft"),
        ({"Upload_Incomplete": "?0"}, "draft"),
        ({"Content_Type": "application/partial-upload"}, "draft"),
        ({"Upload_Complete": "?1", "Tus_Resumable": "1.0.0"}, "draft"),
    ],
)
async def test_which_protocol_is_spoken(pair: Pair, method: str, said: dict[str, str], name: str) -> None:
    answer = await asked(pair.app, method, UNKNOWN, dashed(said))
    assert answer.json == [name, method, UNKNOWN.removeprefix("/files/")]
    assert ("tus-resumable" in answer.headers) is (name == "tus")


@pytest.mark.parametrize("path", ["/files", "/files/"])
async def test_where_uploads_are_made(pair: Pair, path: str) -> None:
    assert (await asked(pair.app, "POST", path, {})).json == ["tus", "POST", None]


@pytest.mark.parametrize(
    "path",
    [
        "/files/x",
        "/files/" + "F" * 32,
        UNKNOWN + "0",
        UNKNOWN + "/",
        UNKNOWN + "/x",
        "/files//",
        "/files/../x",
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE"])
async def test_tus_C8_what_cannot_be_an_id_is_asked_of_nobody(pair: Pair, path: str, method: str) -> None:
    pair.tus.fails_with = KeyError()
    assert (await asked(pair.app, method, path, {})).status == 404


@pytest.mark.parametrize("error", [KeyError("secret"), OSError("secret")])
async def test_tus_G1_H8_unforeseen_errors(
    pair: Pair, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.tus.fails_with = error
    answer = await asked(pair.app, "PATCH", UNKNOWN, TUS)
    assert answer.code == (500, "SERVER_ERROR")
    assert answer.headers["tus-resumable"] == "1.0.0"
    looked = await asked(pair.app, "HEAD", UNKNOWN, TUS)  # the upload may well be there
    assert (looked.status, looked.headers["retry-after"], looked.body) == (423, "5", b"")
    assert "secret" in capsys.readouterr().out


async def test_tus_H8_what_passes_is_423_for_both_protocols(pair: Pair) -> None:
    for said, dialect in [(TUS, pair.tus), ({"Upload-Draft-Interop-Version": "8"}, pair.draft)]:
        dialect.fails_with = ServerBusy("soon", headers={"Retry-After": "7"})
        looked = await asked(pair.app, "HEAD", UNKNOWN, said)
        assert (looked.status, looked.headers["retry-after"]) == (423, "7")
        assert (await asked(pair.app, "PATCH", UNKNOWN, said)).status == 503


async def test_an_overridden_head_without_content_has_no_length(pair: Pair) -> None:
    answer = await asked(pair.app, "POST", UNKNOWN, {"X-HTTP-Method-Override": "HEAD"})
    assert answer.status == 204
    assert "content-length" not in answer.headers


async def test_over_http2_bodies_need_not_be_announced(plain: BareClient) -> None:
    tus, octet = raw_lines(TUS), raw_lines(OCTET)
    async with talking(plain.app) as (h2, _):
        made = await h2.ask("POST", "/files/", [*tus, (b"upload-length", b"5")])
        assert made.status == 201
        url = dict(made.headers)[b"location"].decode()
        at = [(b"upload-offset", b"0")]
        sent = await h2.ask("PATCH", url, [*octet, *at], body=b"abcde")
        assert (sent.status, dict(sent.headers)[b"upload-offset"]) == (204, b"5")
        over = [(b"x-http-method-override", b"HEAD")]
        looked = await h2.ask("POST", url, [*tus, *over])
        assert (looked.status, dict(looked.headers)[b"upload-offset"], looked.body) == (200, b"5", b"")
        missing = await h2.ask("POST", UNKNOWN, [*tus, *over])
        assert (missing.status, dict(missing.headers)[b"content-length"], missing.body) == (404, b"0", b"")
        again = await h2.ask("PATCH", url, [*octet, (b"upload-offset", b"5")])
        assert again.status == 413  # its emptiness is not announced either


def raw_lines(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


async def test_a_whole_upload_over_every_transport(client: Client) -> None:
    url = await create(client, 5)
    assert (await patch(client, url, 0, b"ab")).headers["upload-offset"] == "2"
    assert (await patch(client, url, 2, [b"c", b"de"])).headers["upload-offset"] == "5"
    done = await head(client, url)
    assert (done.headers["upload-offset"], done.headers["upload-length"]) == ("5", "5")
    assert (await client.ask("GET", url)).body == b"abcde"
