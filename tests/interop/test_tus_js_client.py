"""tus-js-client in every way it can be set: what it sent is what is stored, and nothing is sent twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import pytest
import trio

from tests.acceptance.api import Api
from tests.acceptance.content import Content, file_sha256
from tests.acceptance.gateway import Gateway
from tests.acceptance.sizes import MIB
from tests.acceptance.watcher import Watcher, check_facts, check_offsets, watching
from tests.faults.proxy import Fault, Latency, Plan, Rst, Stall, calm, proxied
from tests.interop.stored import Stored
from tests.interop.tus_js import upload, uploading

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("tus_js")]

CONTENT = Content(3 * MIB + 17)
CHUNKS: dict[str, Any] = {"chunkSize": MIB}
PATCHES = ["PATCH"] * 4
QUICKLY = [0, 50, 100, 200, 400]  # in milliseconds, as all times of that client


class Case(NamedTuple):
    """A way to use the client, and the requests it makes of it when nothing goes wrong."""

    methods: list[str]
    options: dict[str, Any]
    kind: str = "file"

    @property
    def partials(self) -> int:
        """Uploads of parts, which the server keeps until they expire."""
        return int(self.options.get("parallelUploads", 0))


CASES = {
    "plain": Case(["POST", "PATCH"], {}),
    "buffer": Case(["POST", "PATCH"], {}, "buffer"),
    "chunks": Case(["POST", *PATCHES], CHUNKS),
    "parallel": Case(["POST"] * 3 + ["PATCH"] * 3 + ["POST"], {"parallelUploads": 3}),
    "parallel-chunks": Case(["POST"] * 2 + ["PATCH"] * 4 + ["POST"], {"parallelUploads": 2, **CHUNKS}),
    "with-creation": Case(["POST"], {"uploadDataDuringCreation": True}),
    "with-creation-chunks": Case(["POST", *PATCHES[1:]], {"uploadDataDuringCreation": True, **CHUNKS}),
    "override": Case(["POST", "PATCH"], {"overridePatchMethod": True}),
    "override-chunks": Case(["POST", *PATCHES], {"overridePatchMethod": True, **CHUNKS}),
    "deferred-length": Case(["POST", "PATCH"], {"uploadLengthDeferred": True}),
    "deferred-length-stream": Case(["POST", *PATCHES], {"uploadLengthDeferred": True, **CHUNKS}, "stream"),
    "known-length-stream": Case(["POST", *PATCHES], {"uploadSize": CONTENT.size, **CHUNKS}, "stream"),
    "request-id": Case(["POST", "PATCH"], {"addRequestId": True}),
}
# In its drafts and in Node it never says of a file's chunk that it is the last one; of a buffer's it does.
DRAFT_CASES = {
    "whole": Case(["POST", "PATCH"], {}),
    "chunks": Case(["POST", *PATCHES], CHUNKS, "buffer"),
    "with-creation": Case(["POST"], {"uploadDataDuringCreation": True}),
    "with-creation-chunks": Case(
        ["POST", *PATCHES[1:]], {"uploadDataDuringCreation": True, **CHUNKS}, "buffer"
    ),
}
DRAFTS = ("ietf-draft-03", "ietf-draft-05")
ALL_CASES = CASES | {
    f"{draft}-{name}": case._replace(options={"protocol": draft, **case.options})
    for draft in DRAFTS
    for name, case in DRAFT_CASES.items()
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CONTENT.write_to(tmp_path_factory.mktemp("source") / "film.mp4")


@pytest.mark.parametrize("case", ALL_CASES.values(), ids=ALL_CASES)
async def test_it_uploads(stored: Stored, source: Path, request: pytest.FixtureRequest, case: Case) -> None:
    name = f"{request.node.callspec.id}.mp4"
    client = await upload(
        stored.url, source, kind=case.kind, metadata={"filename": name}, retryDelays=None, **case.options
    )
    assert client.methods == case.methods
    assert {status // 100 for status in client.statuses} == {2}
    stored.check(CONTENT, name, partials=case.partials)


async def test_its_request_ids_do_no_harm(stored: Stored, source: Path) -> None:
    client = await upload(stored.url, source, metadata={"filename": "ids.mp4"}, addRequestId=True)
    ids = {told["requestId"] for told in client.named("request")}
    assert len(ids) == 2
    assert all(len(one) == 36 for one in ids)


@pytest.mark.parametrize(
    "case",
    [
        Case(["POST"], {}),
        *(
            Case(["POST"], {"protocol": draft, "uploadDataDuringCreation": True}, "buffer")
            for draft in DRAFTS
        ),
    ],
    ids=["tus-v1", *DRAFTS],
)
async def test_it_uploads_an_empty_file(stored: Stored, tmp_path: Path, case: Case) -> None:
    (tmp_path / "nothing").touch()
    metadata = {"filename": "nothing.txt"}
    client = await upload(stored.url, tmp_path / "nothing", kind=case.kind, metadata=metadata, **case.options)
    assert client.methods == case.methods
    stored.check(Content(0), "nothing.txt")


# Into a session that is watched

WATCHED = ("plain", "chunks", "parallel", "with-creation", "deferred-length-stream", "ietf-draft-05-whole")


@pytest.mark.parametrize("case", [ALL_CASES[name] for name in WATCHED], ids=WATCHED)
async def test_a_registered_file_is_watched_like_any(gateway: Gateway, source: Path, case: Case) -> None:
    api = Api(gateway)
    registered = await api.create_one(CONTENT.size)
    place = {"sessionId": registered.session_id, "fileId": registered.file_id}
    options = {"metadata": place, "metadataForPartialUploads": place, **case.options}
    async with watching(api, registered.session_id) as watcher:
        await upload(api.url(""), source, kind=case.kind, **options)
        await watcher.until_last_word()
    check_events(watcher)
    done = watcher.named("upload-completed")[0].payload
    assert (done["fileId"], done["attempt"]) == (registered.file_id, 1)
    assert file_sha256(gateway.published(done["uploadPath"])) == CONTENT.sha256()


@pytest.mark.parametrize("protocol", ["tus-v1", *DRAFTS])
async def test_it_fills_the_url_of_a_registered_file(gateway: Gateway, source: Path, protocol: str) -> None:
    api = Api(gateway)
    created = await api.create({"fileName": "film.mp4", "fileSize": CONTENT.size})
    url = urljoin(api.url(""), created["files"][0]["tusUrl"])
    client = await upload(api.url(""), source, kind="buffer", uploadUrl=url, protocol=protocol)
    assert client.methods == ["HEAD", "PATCH"]
    (file,) = (await api.snapshot(created["sessionId"]))["files"]
    assert (file["status"], file["attempt"]) == ("completed", 1)
    assert file_sha256(gateway.published(file["uploadPath"])) == CONTENT.sha256()


def check_events(watcher: Watcher) -> None:
    """The story of one file that was uploaded and of nothing else."""
    check_facts(watcher)
    check_offsets(watcher.events)
    assert [(event.name, event.payload.get("attempt")) for event in watcher.facts] == [
        ("upload-started", 1),
        ("upload-completed", 1),
        ("session-completed", None),
    ]


# Over a network that breaks


def cut(*after: int) -> Plan:
    """The first connections are reset after so many bytes, then all is well."""
    return lambda number: [Rst(after[number])] if number < len(after) else []


def slow(number: int) -> Sequence[Fault]:
    """After the first MiB of a connection."""
    return [Latency(MIB, 0.1)]


def silent_at_first(number: int) -> Sequence[Fault]:
    return [Stall(MIB)] if number == 0 else []


CUT_CASES = {
    "plain": Case(["POST", "PATCH", "HEAD", "PATCH"], {}),
    "chunks": Case([], CHUNKS),
    "parallel": Case([], {"parallelUploads": 3}),
    "override": Case([], {"overridePatchMethod": True}),
    "ietf-draft-03": Case([], {"protocol": "ietf-draft-03"}, "buffer"),
    "ietf-draft-05": Case([], {"protocol": "ietf-draft-05"}, "buffer"),
}


@pytest.mark.parametrize("case", CUT_CASES.values(), ids=CUT_CASES)
async def test_after_cuts_it_goes_on_where_it_was(
    stored: Stored, source: Path, request: pytest.FixtureRequest, case: Case
) -> None:
    name = f"{request.node.callspec.id}.mp4"
    async with proxied(stored.url, cut(700_000, 800_000)) as (proxy, url):
        client = await upload(
            url, source, kind=case.kind, metadata={"filename": name}, retryDelays=QUICKLY, **case.options
        )
        assert proxy.cuts == 2
        assert proxy.sent_up_bytes < CONTENT.size + 300_000
    assert client.methods.count("POST") == (case.partials + 1)
    assert client.methods.count("HEAD") >= 2
    stored.check(CONTENT, name, partials=case.partials)


async def test_a_connection_that_fell_silent_is_taken_over(stored: Stored, source: Path) -> None:
    """The client cannot tell that nothing moves; whoever sits before it can, and starts it again."""
    async with proxied(stored.url, silent_at_first) as (proxy, url):
        async with uploading(url, source, metadata={"filename": "silent.mp4"}, retryDelays=QUICKLY) as client:
            await proxy.wait_cuts()
            await client.command("abort")
            await client.until("aborted")
            await client.command("start")
            await client.succeed()
        assert proxy.sent_up_bytes < CONTENT.size + 100_000
    assert client.methods.count("POST") == 1
    stored.check(CONTENT, "silent.mp4")


async def test_killed_and_started_again_it_finds_its_upload(
    stored: Stored, source: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "urls": tmp_path / "urls.json",
        "metadata": {"filename": "again.mp4"},
        **CHUNKS,
    }
    async with proxied(stored.url, slow) as (proxy, url):
        async with uploading(url, source, **options) as first:
            await first.until("chunk")
            first.kill()
        proxy.plan = calm
        second = await upload(url, source, **options)
    assert (second.methods[0], second.url) == ("HEAD", first.url)
    assert proxy.sent_up_bytes < CONTENT.size + 300_000
    stored.check(CONTENT, "again.mp4")


# It stops by itself


async def test_its_own_pause_keeps_what_was_sent(stored: Stored, source: Path) -> None:
    async with proxied(stored.url, slow) as (_, url):
        async with uploading(url, source, metadata={"filename": "pause.mp4"}, **CHUNKS) as client:
            accepted = (await client.until("chunk"))["accepted"]
            await client.command("abort")
            await client.until("aborted")
            await client.command("start")
            await client.succeed()
    # While what it had sent is still on its way, it is told to come back.
    *locked, head = [told for told in client.named("answer") if told["method"] == "HEAD"]
    assert {told["status"] for told in locked} <= {423}
    assert accepted <= head["offset"] < CONTENT.size
    stored.check(CONTENT, "pause.mp4")


@pytest.mark.parametrize("protocol", ["tus-v1", *DRAFTS])
async def test_what_it_terminates_is_gone(stored: Stored, source: Path, protocol: str) -> None:
    async with proxied(stored.url, slow) as (_, url):
        async with uploading(url, source, protocol=protocol) as client:
            await client.until("url")
            with trio.fail_after(60):
                while not stored.gateway.incoming_bytes():  # noqa: ASYNC110  # another process
                    await trio.sleep(0.01)
            await client.command("terminate")
            assert await client.end() == 3
    assert client.methods == ["POST", "PATCH", "DELETE"]
    stored.check_nothing()
