"""`penstock watch`, `pause`, `resume`, `cancel`, `sessions`, and what `--help` teaches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.server.client.commands import COMMANDS
from penstock.server.client.sources import WINDOW_BYTES
from penstock.server.exits import Exit
from tests.client.rig import Client, noise, summary
from tests.running import serving


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help_teaches_with_examples_and_exit_codes(client: Client, command: str) -> None:
    text = client(command, "--help").stdout
    assert "Examples:\n" in text
    assert f"    penstock {command}" in text
    assert all(
        f"\n    {code.value}  {code.meaning}" in text for code in (Exit.OK, Exit.REFUSED, Exit.CANCELLED)
    )
    assert client("--help").stdout.count(f"\n  {command} ") == 1


def test_watching_follows_to_the_end(client: Client) -> None:
    with client.running("upload", "-", "--name", "film.mp4") as running:
        key = running.wait_told("session")["watchKey"]
        running.stdin.write(noise(WINDOW_BYTES + 1))
        running.stdin.flush()
        running.wait_told("upload-progress")
        with client.running("watch", key) as watching:
            assert watching.wait_told("snapshot")["sessionId"] == key
            running.stdin.close()
            watching.wait_told("upload-completed")
            assert watching.end() == Exit.OK
        assert watching.told[-1]["overallStatus"] == "completed"
        session = running.wait_told("summary")["sessionId"]
    assert session not in json.dumps(watching.told)


def test_watching_what_is_over_tells_how_it_ended(client: Client) -> None:
    (client.home / "a").write_bytes(b"a")
    session = summary(client.told("upload", "a"))["sessionId"]
    done = client("watch", session[:6])
    assert (done.returncode, done.stdout[10:]) == (Exit.OK, "session: completed, 100.0%, 1 files\n")


def test_a_watch_key_commands_nothing(client: Client) -> None:
    (client.home / "a").write_bytes(b"a")
    key = client.told("upload", "a")[0]["watchKey"]
    done = client("cancel", key)
    assert done.returncode == Exit.REFUSED
    assert "a watch key can only watch: use the session id" in done.stderr


def test_a_file_is_meant_by_id_or_by_name(client: Client) -> None:
    for directory in ("x", "y"):
        (client.home / directory).mkdir()
        (client.home / directory / "a").write_bytes(b"a")
    (client.home / "b").write_bytes(b"b")
    session = summary(client.told("upload", "x/a", "y/a", "b"))["sessionId"]
    unclear = client("cancel", session, "a")
    assert unclear.returncode == Exit.USAGE
    assert "2 files are called that\n  give the id: 1, 2" in unclear.stderr
    absent = client("cancel", session, "c")
    assert "no such file\n  it has " in absent.stderr
    over = client("cancel", session, "b")
    assert over.returncode == Exit.REFUSED
    assert "complete" in over.stderr


def test_commands_answer_in_json_too(client: Client) -> None:
    with client.running("upload", "-") as running:
        session = running.wait_told("session")["sessionId"]
        running.stdin.write(noise(WINDOW_BYTES + 1))
        running.stdin.flush()
        running.wait_told("upload-progress")
        (told,) = client.told("pause", session)
        assert (told["event"], told["ok"], told["overallStatus"]) == ("upload-pause", True, "paused")
        assert client("pause", session).stdout == "session: paused\n"
        assert client("cancel", session).stdout == "session: cancelled\n"
        assert running.end() == Exit.CANCELLED


def test_sessions_are_listed_as_they_are_now(client: Client, tmp_path: Path) -> None:
    assert "no sessions" in client("sessions").stdout
    (client.home / "a").write_bytes(b"a")
    first = summary(client.told("upload", "a"))["sessionId"]
    with serving(cwd=tmp_path) as gone:
        away = Client(client.home, gone.url)
        second = summary(away.told("upload", "a"))["sessionId"]
    listed = {one["sessionId"]: one["status"] for one in client.told("sessions")}
    assert listed == {first: "completed", second: "unreachable"}
    assert f"{first}  completed    100.0%" in client("sessions").stdout


def test_a_session_its_server_has_forgotten_is_forgotten(client: Client) -> None:
    (client.home / "a").write_bytes(b"a")
    session = summary(client.told("upload", "a"))["sessionId"]
    records = client.home / "state" / "penstock" / "sessions"
    other = "00000000-0000-4000-8000-000000000000"
    text = (records / f"{session}.json").read_text().replace(session, other)
    (records / f"{other}.json").write_text(text)
    assert {one["status"] for one in client.told("sessions")} == {"completed", "expired"}
    assert [one["sessionId"] for one in client.told("sessions")] == [session]
