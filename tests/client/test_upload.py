"""`penstock upload` against a real server: what can be sent, what is shown, how it ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from penstock.server.client.sources import WINDOW_BYTES
from penstock.server.exits import Exit
from tests.client.rig import Client, download, noise, summary, uploaded
from tests.running import PENSTOCK, serving


def test_several_files_become_one_session(client: Client) -> None:
    contents = {"one.bin": noise(300_000), "two.bin": noise(7), "empty.bin": b""}
    for name, content in contents.items():
        (client.home / name).write_bytes(content)
    told = client.told("upload", *contents, "--category", "scenic")
    assert uploaded(told) == contents
    end = summary(told)
    assert (end["completed"], end["unfinished"], end["exitCode"], end["resume"]) == (3, 0, 0, None)
    assert {"session", "snapshot", "upload-completed", "session-completed"} <= {one["event"] for one in told}
    assert all("/upload/scenic/" in file["url"] for file in end["files"])


def test_without_a_terminal_urls_go_to_stdout_and_words_to_stderr(client: Client) -> None:
    (client.home / "a.txt").write_bytes(b"content")
    done = client("upload", "a.txt")
    assert done.returncode == Exit.OK
    url, name = done.stdout.removesuffix("\n").split("\t")
    assert (name, download(url)) == ("a.txt", b"content")
    assert "1 completed; 7 B in" in done.stderr
    assert "penstock watch w_" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_directory_goes_with_all_below_it_and_no_links(client: Client) -> None:
    top = client.home / "top"
    (top / "below").mkdir(parents=True)
    (top / "b.txt").write_bytes(b"b")
    (top / ".hidden").write_bytes(b"h")
    (top / "below" / "a.txt").write_bytes(b"a")
    (top / "link").symlink_to("b.txt")
    told = client.told("upload", "top")
    assert uploaded(told) == {"top/.hidden": b"h", "top/b.txt": b"b", "top/below/a.txt": b"a"}
    assert [file["fileName"] for file in summary(told)["files"]] == [
        "top/.hidden",
        "top/b.txt",
        "top/below/a.txt",
    ]


@pytest.mark.parametrize("size", [0, 5, WINDOW_BYTES, 2 * WINDOW_BYTES + 1])
def test_standard_input_needs_no_size(client: Client, size: int) -> None:
    content = noise(size)
    assert uploaded(client.told("upload", "-", "--name", "pipe.bin", stdin=content)) == {"pipe.bin": content}


def test_another_process_pauses_and_resumes(client: Client) -> None:
    content = noise(WINDOW_BYTES + 1000)
    with client.running("upload", "-") as running:
        session = running.wait_told("session")["sessionId"]
        running.stdin.write(content)
        running.stdin.flush()
        running.wait_told("upload-progress")
        assert client("pause", session[:8], "stdin").stdout == "stdin: paused\n"
        running.wait_told("upload-progress", lambda told: told["currentFile"]["status"] == "paused")
        running.stdin.close()
        assert client("resume", session).returncode == Exit.OK
        assert running.end() == Exit.OK
    assert uploaded(running.told) == {"stdin": content}
    assert running.told[-1]["uploadedBytes"] == len(content)


def test_another_process_cancels(client: Client) -> None:
    with client.running("upload", "-") as running:
        session = running.wait_told("session")["sessionId"]
        running.stdin.write(noise(WINDOW_BYTES + 1))
        running.stdin.flush()
        running.wait_told("upload-progress")
        assert client("cancel", session, "--reason", "not needed").returncode == Exit.OK
        assert running.wait_told("upload-cancelled")["reason"] == "not needed"
        assert running.end() == Exit.CANCELLED
    assert summary(running.told)["cancelled"] == 1


def test_what_the_server_does_not_take_is_refused_before_a_byte_is_sent(
    client: Client, tmp_path: Path
) -> None:
    (client.home / "b.exe").write_bytes(b"MZ")
    with serving(PENSTOCK, "--allowed-formats", "txt", cwd=tmp_path) as strict:
        done = Client(client.home, strict.url)("upload", "b.exe")
    assert done.returncode == Exit.REFUSED
    assert "allowed_formats" in done.stderr


def test_a_lost_server_is_given_up_with_the_way_to_go_on(client: Client, tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        away = Client(client.home, server.url)
        with away.running("upload", "-", "--give-up", "0.5") as running:
            running.stdin.write(noise(WINDOW_BYTES + 1))
            running.stdin.flush()
            running.wait_told("upload-progress")
            server.process.kill()
            server.process.wait()
            assert running.end() == Exit.UNREACHABLE
    end = summary(running.told)
    assert end["unfinished"] == 1
    assert end["resume"] == f"penstock upload --resume {end['sessionId']}"


def test_ctrl_c_leaves_at_once_even_if_standard_input_brings_nothing(client: Client) -> None:
    with client.running("upload", "-") as running:
        running.wait_told("session")
        running.process.send_signal(signal.SIGINT)
        running.wait_told("summary")
        assert running.process.wait(10) == Exit.INTERRUPTED


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["upload", "absent"], Exit.USAGE, ["absent: No such file or directory", "check the name"]),
        (["upload"], Exit.USAGE, ["there is no file to upload", "name files"]),
        (["upload", "a", "a", "--name", "b"], Exit.USAGE, ["--name is for one file, here are 2"]),
        (
            ["upload", "a", "--to", "localhost"],
            Exit.USAGE,
            ["no address of a server", "--to, or PENSTOCK_URL"],
        ),
        (
            ["upload", "a", "--to", "http://127.0.0.1:1"],
            Exit.UNREACHABLE,
            ["cannot be reached", "penstock serve"],
        ),
        (["upload", "a", "--category", "else"], Exit.REFUSED, ["must be one of personal, scenic"]),
        (["upload", "--resume", "abcdefgh"], Exit.USAGE, ["no such session", "penstock sessions"]),
        (["upload", "a", "--resume", "abcdefgh"], Exit.USAGE, ["--resume goes alone"]),
        (["upload", "a", "--give-up", "-1"], Exit.USAGE, ["--give-up"]),
        (["watch", "abcdefgh"], Exit.REFUSED, ["a session id", "penstock sessions"]),
        (["pause", "00000000-0000-4000-8000-000000000000"], Exit.REFUSED, ["expired or never was here"]),
        (["cancel"], Exit.USAGE, ["SESSION"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_error_says_what_to_do(client: Client, args: list[str], code: Exit, says: list[str]) -> None:
    (client.home / "a").write_bytes(b"a")
    done = client(*args)
    assert done.returncode == code, done.stderr
    assert all(text in done.stderr for text in says), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_names_cannot_steer_a_terminal(client: Client) -> None:
    (client.home / "bad\x1b[2J\nname").write_bytes(b"a")
    done = client("upload", "bad\x1b[2J\nname")
    assert done.returncode == Exit.OK
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_whoever_reads_may_leave(client: Client) -> None:
    (client.home / "a").write_bytes(b"a")
    with client.running("upload", "a") as running:
        assert running.process.stdout is not None
        running.process.stdout.close()
        code = running.process.wait(60)
        assert running.process.stderr is not None
        assert running.process.stderr.read() == b""
    assert code == Exit.FAILED


def test_the_record_is_for_its_owner_only(client: Client) -> None:
    (client.home / "a").write_bytes(b"a")
    session = client.told("upload", "a")[0]["sessionId"]
    path = client.home / "state" / "penstock" / "sessions" / f"{session}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert json.loads(path.read_text())["files"][0]["path"] == str(client.home / "a")
