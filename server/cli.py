"""The command `penstock`. Every setting is an option; the texts come from `server/settings.py`."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import NoReturn

import click

import penstock
from penstock.server.client.commands import COMMANDS
from penstock.server.configuration import (
    CONFIG_VARIABLE,
    DEFAULT_ORIGIN,
    FIELDS,
    ConfigurationError,
    Field,
    Loaded,
    load,
)
from penstock.server.exits import CannotRun, Exit
from penstock.server.presentation import as_text, as_toml

EXAMPLES = """\b
Examples:
  penstock                                  listen on http://127.0.0.1:8005/, files in ./data
  penstock --port 9000 --data-dir /srv/up   another port and place
  PENSTOCK_PORT=9000 penstock               the same by environment
  penstock --config /etc/penstock.toml      the same by file, with lines such as: port = 9000
  penstock check                            show every setting and where its value comes from
  penstock upload movie.mp4                 send a file to it; `penstock upload --help` shows more"""

EXIT_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code.value}  {code.meaning}" for code in Exit)


# Python looks for cycles of garbage whenever so many more objects have come than gone. Its own 700 cost an
# eighth of the time of a form of small files, which leaves thousands of rows in memory and not one cycle.
GC_OBJECTS = 10_000
SUITES_MESSAGE_BYTES = "1000000"  # the default of the Node server, which the suites compare with


class DefaultGroup(click.Group):
    """A group whose commands may be left out: anything that is not one goes to `serve`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {*self.commands, "--help", "--version"}
        if not args or args[0] not in own:
            args = ["serve", *args]
        return super().parse_args(ctx, args)


class SettingsCommand(click.Command):
    """A command that takes all settings, shown in `--help` under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(FIELDS[p.name].heading if p.name in FIELDS else "General", p) for p in self.get_params(ctx)]
        rows.sort(key=lambda row: row[0] != "General")  # stable: the fields stay in their order
        for heading, members in groupby(rows, key=lambda row: row[0]):
            with formatter.section(heading):
                formatter.write_dl([record for _, p in members if (record := p.get_help_record(ctx))])


def _option(field: Field) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Text in, text out: conversion and complaints are the same for every source of settings."""
    spellings = (f"{field.option}/--no-{field.option[2:]}",) if field.is_switch else field.options
    default = as_text(field.default) or "none"
    return click.option(
        *spellings,
        field.name,
        default=None,
        metavar=None if field.is_switch else _metavar(field),
        help=f"{field.description}  [default: {default}]",
    )


def _metavar(field: Field) -> str:
    if field.choices:
        return "|".join(field.choices)
    if field.is_list:
        return "A,B,…"
    if field.is_duration:
        return "DURATION"
    units = {"_bytes": "BYTES", "_percent": "PERCENT"}
    if unit := next((unit for ending, unit in units.items() if field.name.endswith(ending)), None):
        return unit
    if field.type is int:
        return "N"
    return "TEXT" if field.type is str else "PATH"


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--config` and one option per setting."""
    for field in reversed(FIELDS.values()):
        command = _option(field)(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"TOML file with settings; also {CONFIG_VARIABLE}  [default: ./penstock.toml if it is there]",
    )(command)


@click.group(cls=DefaultGroup, epilog=EXAMPLES + "\n\n" + EXIT_CODES)
@click.version_option(penstock.__version__, message="penstock %(version)s")
def main() -> None:
    """Penstock is a resumable upload gateway.

    Without a command it serves. Settings come from the command line, then the environment (PENSTOCK_…),
    then a TOML file, then defaults; `penstock serve --help` lists them. The commands beside `serve` and
    `check` are clients of a server.
    """


@main.command(cls=SettingsCommand, epilog=EXAMPLES + "\n\n" + EXIT_CODES)
@click.option(
    "--conformance",
    is_flag=True,
    help="serve no uploads, but what the test suites of Engine.IO and Socket.IO want to talk to",
)
@settings_options
def serve(config: Path | None, conformance: bool, **given: object) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; a second signal ends it at once."""
    loaded = _loaded(config, given)
    if conformance and loaded.origins["max_message_bytes"] == DEFAULT_ORIGIN:
        loaded = _loaded(config, {**given, "max_message_bytes": SUITES_MESSAGE_BYTES})
    # Only here: `--help`, `--version` and `check` stay fast.
    from penstock.server.main import serve_forever

    gc.freeze()  # what was imported stays: it is not looked at again and again
    gc.set_threshold(GC_OBJECTS)
    try:
        serve_forever(loaded.settings, conformance=conformance)
    except CannotRun as problem:
        _fail(str(problem), problem.code)


@main.command(cls=SettingsCommand)
@settings_options
def check(config: Path | None, **given: object) -> None:
    """Print the effective settings and where each value comes from, as a TOML file; start nothing."""
    click.echo(as_toml(_loaded(config, given)), nl=False)


for _command in COMMANDS:
    main.add_command(_command)


def _loaded(config: Path | None, given: dict[str, object]) -> Loaded:
    overrides = {name: value for name, value in given.items() if value is not None}
    try:
        return load(overrides, os.environ, config)
    except ConfigurationError as error:
        problems = "".join(f"\n  {problem}" for problem in error.problems)
        _fail(f"the settings cannot be used.{problems}", Exit.USAGE)


def _fail(message: str, code: Exit) -> NoReturn:
    click.echo(f"penstock: {message}", err=True)
    raise SystemExit(code)
