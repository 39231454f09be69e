"""The client's commands as they are typed. What they do is imported when one runs: a server needs none."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import click

from penstock.server.configuration import URL_VARIABLE
from penstock.server.exits import Exit

if TYPE_CHECKING:
    from penstock.server.client.records import Record, Records

DEFAULT_URL = "http://127.0.0.1:8005"

_CODES = (
    Exit.OK,
    Exit.FAILED,
    Exit.USAGE,
    Exit.UNREACHABLE,
    Exit.REFUSED,
    Exit.CANCELLED,
    Exit.INTERRUPTED,
)
EXIT_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code.value}  {code.meaning}" for code in _CODES)


def _epilog(examples: str) -> str:
    return f"\b\nExamples:\n{examples}\n\n{EXIT_CODES}"


to_option = click.option(
    "--to",
    "url",
    metavar="URL",
    help=f"The server; also {URL_VARIABLE}.  [default: the session's own if it was begun on this machine, "
    f"else {DEFAULT_URL}]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
give_up_option = click.option(
    "--give-up",
    "give_up_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=600.0,
    help="Stop trying after this long without any progress.  [default: 600]",
)


@click.command(
    epilog=_epilog(
        "  penstock upload movie.mp4\n"
        "  penstock upload photos/ notes.txt --category scenic\n"
        "  tar c src | penstock upload - --name src.tar\n"
        "  penstock upload movie.mp4 --to https://upload.example.org\n"
        "  penstock upload --resume 3f2a91c4         go on after Ctrl-C or a lost server\n"
        "  penstock upload --json *.jpg | jq -r 'select(.event == \"file-uploaded\").url'"
    )
)
@click.argument("files", metavar="[FILE|DIRECTORY|-]...", nargs=-1)
@to_option
@click.option(
    "--category", metavar="NAME", help="Where the files go.  [default: the server's first category]"
)
@click.option("--name", metavar="NAME", help="What a single file, or standard input, is called there.")
@click.option("--resume", "resumed", metavar="SESSION", help="Go on with a session begun on this machine.")
@give_up_option
@json_option
def upload(
    files: tuple[str, ...],
    url: str | None,
    category: str | None,
    name: str | None,
    resumed: str | None,
    give_up_s: float,
    as_json: bool,
) -> None:
    """Upload files, directories with all that is below them, or standard input (-).

    All files become one session, which others can watch, pause, resume or cancel meanwhile. A connection that
    breaks is taken up again, from where the server has the file. Ctrl-C leaves; the command that goes on is
    printed.

    On a terminal p pauses, r resumes and c cancels everything.
    """
    from penstock.server.client import upload as uploads
    from penstock.server.client.plan import Options
    from penstock.server.client.sources import gather

    options = Options(category, give_up_s, as_json)

    def plan(records: Records) -> Awaitable[Exit]:
        if resumed is None:
            return uploads.upload(gather(files, name), _url(url), options, records)
        if files or name or url or category:
            raise click.UsageError("--resume goes alone: the session knows its files and its server")
        return uploads.resume(_recorded(records, resumed), options)

    _run(plan)


@click.command(
    epilog=_epilog(
        "  penstock watch 3f2a91c4                   a session begun on this machine\n"
        "  penstock watch w_1c9f… --to URL           somebody else's, with its watch key\n"
        "  penstock watch 3f2a91c4 --json | jq .totalProgress"
    )
)
@click.argument("session")
@to_option
@give_up_option
@json_option
def watch(session: str, url: str | None, give_up_s: float, as_json: bool) -> None:
    """Show what happens in a session until it is over.

    SESSION is a session id, the beginning of one that `penstock sessions` lists, or a watch key. The exit
    code tells how the session ended.
    """
    from penstock.server.client.watch import watch as watch_session

    def plan(records: Records) -> Awaitable[Exit]:
        sid, server = _locate(records, session, url)
        return watch_session(sid, server, as_json=as_json, give_up_s=give_up_s)

    _run(plan)


def _control(name: str, summary: str, details: str) -> click.Command:
    """A command on a session or some of its files."""

    @click.command(
        name=name,
        short_help=summary,
        help=f"{summary}\n\n{details} SESSION is a session id, or the beginning of one that "
        "`penstock sessions` lists; FILE is a file's id or name. Without FILE it is about the whole session.",
        epilog=_epilog(
            f"  penstock {name} 3f2a91c4                 the whole session\n"
            f"  penstock {name} 3f2a91c4 movie.mp4       one of its files"
        ),
    )
    @click.argument("session")
    @click.argument("files", metavar="[FILE]...", nargs=-1)
    @to_option
    @click.option("--reason", metavar="TEXT", help="Told to those who watch.")
    @json_option
    def control(
        session: str, files: tuple[str, ...], url: str | None, reason: str | None, as_json: bool
    ) -> None:
        from penstock.server.client.control import command

        def plan(records: Records) -> Awaitable[Exit]:
            sid, server = _locate(records, session, url)
            return command(f"upload-{name}", sid, files, server, reason, json_wanted=as_json)

        _run(plan)

    return control


pause = _control("pause", "Pause an upload, whoever sends it.", "What has arrived is kept.")
resume = _control("resume", "Let a paused upload go on.", "It goes on where it was paused.")
cancel = _control("cancel", "Cancel an upload and remove its bytes.", "Files that are complete stay.")


@click.command(
    epilog=_epilog(
        "  penstock sessions\n  penstock sessions --json | jq -r 'select(.status != \"completed\").sessionId'"
    )
)
@json_option
def sessions(as_json: bool) -> None:
    """List the sessions begun on this machine, and how they are now.

    They are remembered in $XDG_STATE_HOME/penstock (~/.local/state/penstock), until their server has
    forgotten them.
    """
    from penstock.server.client.control import sessions as list_sessions

    _run(partial(list_sessions, json_wanted=as_json))


COMMANDS = (upload, watch, pause, resume, cancel, sessions)


# What they share


def _run(plan: Callable[[Records], Awaitable[Exit]]) -> NoReturn:
    """Do it, and end the process with its exit code; whatever goes wrong is said in one place."""
    import trio

    from penstock.server.client.errors import ClientError
    from penstock.server.client.records import Records

    async def main() -> Exit:
        return await plan(Records.of(os.environ))

    code = Exit.FAILED
    try:
        code = trio.run(main)
    except* ClientError as errors:
        error = _first(errors)
        assert isinstance(error, ClientError)
        click.echo(f"penstock: {error.message}\n  {error.advice}", err=True)
        code = error.code
    except* KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except* OSError as errors:
        _end_of_pipe(errors)
    raise SystemExit(code)


def _end_of_pipe(errors: BaseExceptionGroup[OSError]) -> None:
    """Whoever read our output has left: no failure worth a word. Raises everything else."""
    other = errors.split(lambda error: isinstance(error, OSError) and error.errno == errno.EPIPE)[1]
    if other is not None:
        raise other
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains when it flushes


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _url(given: str | None) -> str:
    return given or os.environ.get(URL_VARIABLE) or DEFAULT_URL


def _locate(records: Records, session: str, url: str | None) -> tuple[str, str]:
    """The whole id of a session, and its server. Raises: ClientError."""
    record = records.find(session)
    if record is None:
        return session, _url(url)
    return record.session_id, url or record.server


def _recorded(records: Records, session: str) -> Record:
    """Raises: ClientError."""
    from penstock.server.client.errors import ClientError

    record = records.find(session)
    if record is None:
        raise ClientError(
            f"{session}: no such session was begun on this machine",
            "`penstock sessions` lists those that were",
            Exit.USAGE,
        )
    return record
