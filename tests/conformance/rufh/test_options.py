"""OPTIONS: limits before the first byte (draft: "Limits")."""

from __future__ import annotations

import pytest

from tests.conformance.lines import rufh as line
from tests.conformance.rufh.client import Draft, limits


@line("O1", "M")
@pytest.mark.parametrize("version", [None, 8])
async def test_rufh_O1_options_tells_the_limits(draft: Draft, version: int | None) -> None:
    answer = await draft.speaking(version).ask("OPTIONS")
    assert answer.ok
    assert limits(answer)


@line("O2", "M")
async def test_rufh_O2_without_limits_there_is_still_a_value(draft: Draft) -> None:
    found = limits(await draft.ask("OPTIONS"))
    assert found.get("min-size", 0) == 0
    assert found


@line("O3", "S")
async def test_rufh_O3_the_server_as_a_whole_may_be_asked(draft: Draft) -> None:
    answer = await draft.ask("OPTIONS", "*")
    if not answer.ok:
        pytest.skip("the server does not support OPTIONS *")
    if draft.target.ours:
        pytest.skip("not all addresses take uploads in the same way")
    assert limits(answer)


@line("O4", "S")
async def test_rufh_O4_an_upload_has_no_tighter_limits(server: Draft) -> None:
    announced = limits(await server.ask("OPTIONS"))
    created = limits(await server.post(False, b""))
    for key in ("max-size", "max-append-size", "max-age"):
        if key in created:
            assert key in announced
            assert created[key] >= announced[key] - 1  # a second may have passed
    for key in ("min-size", "min-append-size"):
        assert created.get(key, 0) <= announced.get(key, 0)


@line("O4", "S")
async def test_rufh_O4_what_the_limit_allows_is_taken(limited: Draft) -> None:
    most = limits(await limited.ask("OPTIONS"))["max-size"]
    body = b"x" * most
    upload = await limited.begin(most)
    assert (await upload.append(0, body, complete=True)).ok
    await upload.check_content(body)


@line("O6", "U")
async def test_rufh_O6_one_address_serves_both_protocols(draft: Draft) -> None:
    answer = await draft.ask("OPTIONS")
    assert "1.0.0" in answer.words("tus-version")
    assert "creation" in answer.words("tus-extension")
