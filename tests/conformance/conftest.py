"""Which server the suites talk to, and how they keep score.

Without an option it is Penstock, started once. `--url` names any running server; `--serve` is a command that
is started for each test in a directory of its own, prints `ready at <creation URL>` and exits with code 2 for
options it does not have (`--max-file-bytes`, `--retention-s`, …).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.conformance.lines import LEVELS, line_of
from tests.conformance.processes import WRONG_OPTION, NotStarted, Server
from tests.conformance.scores import Outcome, Result, in_words, write
from tests.conformance.wire import Target
from tests.running import PENSTOCK

ORIGIN = "https://client.example"
MAX_BYTES = 1024 * 1024  # of a file, on the limited server

# What protocol tests wait for is short; what they must not run into is long.
PENSTOCK_OPTIONS = (
    *("--port", "0", "--h2c", "--allowed-origins", ORIGIN),
    *("--pause-hold-s", "0.5", "--takeover-idle-s", "0.5", "--takeover-probe-s", "0.3"),
)

Start = Callable[..., Server]
Tune = Callable[..., Target]
_RESULTS = pytest.StashKey[list[Result]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "conformance of upload servers (tests/conformance)")
    group.addoption("--url", dest="conformance_url", help="creation URL of a running server (http only)")
    group.addoption("--limited-url", dest="limited_url", help="the same, of one with a small Tus-Max-Size")
    group.addoption("--serve", dest="serve", help="command that starts a server, for each test anew")
    group.addoption(
        "--field", dest="fields", action="append", default=[], help="sent with every request: 'Name: value'"
    )
    group.addoption("--origin", dest="origin", default=ORIGIN, help="a web origin that the server allows")
    group.addoption("--results", dest="results", type=Path, help="JSON file for the outcome of each test")


def _option(config: pytest.Config, name: str) -> str | None:
    """None also when the run did not begin in this directory, and its options are unknown to it."""
    value = config.getoption(name, None)
    return value if value is None else str(value)


# Servers


class Servers:
    """The servers of a run: shared ones, kept to its end, by their options."""

    def __init__(self, config: pytest.Config, directories: pytest.TempPathFactory) -> None:
        self.url = _option(config, "conformance_url")
        self.limited_url = _option(config, "limited_url")
        self.serve = _option(config, "serve")
        given = [field.partition(":") for field in config.getoption("fields", [])]
        self.fields = [(name.strip(), value.strip()) for name, _, value in given]
        self._directories = directories
        self._shared: dict[tuple[str, ...], Server] = {}

    def running(self, url: str) -> Target:
        return Target.at(url, self.fields)

    def start(self, *options: str, ours: tuple[str, ...] = ()) -> Server:
        """A new server; skips the test if its command lacks the options. `ours` are Penstock's alone."""
        directory = self._directories.mktemp("server")
        if self.serve:
            command = [*shlex.split(self.serve), *options]
        else:
            data = ("--data-dir", str(directory / "data"))
            command = [*PENSTOCK, "serve", *PENSTOCK_OPTIONS, *data, *options, *ours]
        server = Server(command, directory, ours=not self.serve)
        try:
            server.start()
        except NotStarted as error:
            if self.serve and error.exit_code == WRONG_OPTION:
                pytest.skip(f"the server has no option {' '.join(options)}")
            raise
        return server

    def shared(self, *options: str, ours: tuple[str, ...] = ()) -> Server:
        """Penstock is started once for each set of options."""
        key = (*options, *ours)
        if key not in self._shared:
            self._shared[key] = self.start(*options, ours=ours)
        return self._shared[key]

    def stop(self) -> None:
        for server in self._shared.values():
            server.stop()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(request.config, tmp_path_factory)
    yield servers
    servers.stop()


@pytest.fixture
def start(servers: Servers) -> Iterator[Start]:
    """Starts a server process for this test alone, which it may kill and start again."""
    if servers.url:
        pytest.skip("the server is not started by this run, and cannot be killed or configured by it")
    started: list[Server] = []

    def start(*options: str, ours: tuple[str, ...] = ()) -> Server:
        server = servers.start(*options, ours=ours)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def with_options(request: pytest.FixtureRequest, servers: Servers) -> Start:
    """A server with options that this test shares with others, if it is Penstock."""
    if servers.url or servers.serve:
        started: Start = request.getfixturevalue("start")
        return started
    return servers.shared


@pytest.fixture
def tuned(request: pytest.FixtureRequest, servers: Servers) -> Tune:
    """The server under test; if it is Penstock, with options that do no more than make a test shorter."""

    def tuned(*ours: str) -> Target:
        if servers.url:
            return servers.running(servers.url)
        with_options: Start = request.getfixturevalue("with_options")
        return with_options(ours=ours).target

    return tuned


@pytest.fixture
def penstock(servers: Servers) -> Start:
    """Penstock with options that no other server has."""
    if servers.url or servers.serve:
        pytest.skip("a setting of Penstock's")
    return servers.shared


@pytest.fixture
def target(tuned: Tune) -> Target:
    """The server under test."""
    return tuned()


@pytest.fixture
def limited_target(request: pytest.FixtureRequest, servers: Servers) -> Target:
    """The same with a limit of MAX_BYTES a file."""
    if servers.url:
        if not servers.limited_url:
            pytest.skip("needs a server with a small Tus-Max-Size (--limited-url)")
        return servers.running(servers.limited_url)
    with_options: Start = request.getfixturevalue("with_options")
    return with_options("--max-file-bytes", str(MAX_BYTES)).target


@pytest.fixture
def origin(request: pytest.FixtureRequest) -> str:
    """A web origin that may upload."""
    return _option(request.config, "origin") or ORIGIN


# Keeping score


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    line = line_of(getattr(item, "function", None))
    if line and (report.when == "call" or report.outcome != "passed"):
        results = item.config.stash.setdefault(_RESULTS, [])
        results.append(Result(*line, item.name, _outcome(report), _reason(report)))
    return report


def _outcome(report: pytest.TestReport) -> Outcome:
    return report.outcome


def _reason(report: pytest.TestReport) -> str:
    """In a line, why it failed or was skipped."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message).partition("\n")[0] if crash else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if results := config.stash.get(_RESULTS, None):
        terminalreporter.section("conformance")
        for words in in_words(results, LEVELS):
            terminalreporter.write_line(words)


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("results", None)
    if path is not None:
        write(path, session.config.stash.get(_RESULTS, []))
