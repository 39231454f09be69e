"""OPTIONS: what a server says it can do (tus 1.0.0, "OPTIONS")."""

from __future__ import annotations

import pytest

from tests.conformance.lines import tus as line
from tests.conformance.tus.client import Tus, length_of
from tests.conformance.wire import chunk, number

EXTENSIONS = {
    *("creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum"),
    *("checksum-trailer", "termination", "concatenation", "concatenation-unfinished"),
}
OURS = EXTENSIONS - {"checksum-trailer", "concatenation-unfinished"}


@line("O1", "M")
async def test_tus_O1_options_on_the_creation_url(tus: Tus) -> None:
    answer = await tus.options()
    assert answer.status in (200, 204)
    assert answer.words("tus-version")


@line("O1", "C")
async def test_tus_O1_options_on_an_upload_url(tus: Tus) -> None:
    answer = await tus.options((await tus.create(5)).path)
    assert answer.status in (200, 204)
    assert answer.words("tus-version")


@line("O2", "M")
async def test_tus_O2_versions_are_a_list(tus: Tus) -> None:
    versions = (await tus.options()).words("tus-version")
    assert "1.0.0" in versions
    assert all(len(version.split(".")) == 3 for version in versions)


@line("O3", "M")
async def test_tus_O3_extensions_are_those_of_the_protocol(tus: Tus) -> None:
    answer = await tus.options()
    offered = answer.words("tus-extension")
    assert len(offered) == len(set(offered))
    assert set(offered) <= EXTENSIONS
    assert offered or "tus-extension" not in answer
    if tus.target.ours:
        assert set(offered) == OURS


@line("O4", "S")
async def test_tus_O4_the_announced_limit_is_the_one_that_is_enforced(limited: Tus) -> None:
    limit = number((await limited.options())["tus-max-size"])
    upload = await limited.create(limit)
    assert length_of(await upload.head()) == limit
    answer = await limited.post(("Upload-Length", str(limit + 1)))
    assert answer.status == 413


@line("O4", "S")
async def test_tus_O4_no_limit_is_announced_that_does_not_exist(tus: Tus) -> None:
    limit = (await tus.options()).get("tus-max-size")
    if limit is None:
        pytest.skip("the server announces no limit")
    assert (await tus.post(("Upload-Length", str(number(limit) + 1)))).status == 413


@line("O5", "M")
async def test_tus_O5_checksum_algorithms_are_named(tus: Tus) -> None:
    await tus.require("checksum")
    algorithms = (await tus.options()).words("tus-checksum-algorithm")
    assert "sha1" in algorithms
    assert all(name.isascii() and name == name.lower() for name in algorithms)


@line("O6", "C")
@pytest.mark.parametrize("method", ["POST", "PATCH", "HEAD", "DELETE"])
async def test_tus_O6_a_preflight_is_answered(tus: Tus, origin: str, method: str) -> None:
    fields = [
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "tus-resumable,upload-offset,content-type"),
    ]
    answer = await tus.options(fields=fields)
    assert answer.status in (200, 204)
    assert answer["access-control-allow-origin"] in ("*", origin)


@line("K9", "U")
async def test_tus_K9_without_the_extension_a_checksum_means_nothing(tus: Tus) -> None:
    if "checksum" in await tus.extensions():
        pytest.skip("the server offers checksum")
    upload = await tus.create(5)
    await upload.append(0, b"hello", ("Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
    await upload.check_content(b"hello")


@line("K10", "M")
async def test_tus_K10_trailers_are_announced_only_if_they_arrive(tus: Tus) -> None:
    if "checksum-trailer" not in await tus.extensions():
        return
    upload = await tus.create(5)
    wrong = b"Upload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
    async with upload.patching(0, None, ("Trailer", "Upload-Checksum")) as exchange:
        await exchange.send(chunk(b"hello") + b"0\r\n" + wrong)
        assert (await exchange.answer()).status == 460
    await upload.check_unchanged()
