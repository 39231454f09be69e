"""Settings: not a client's bytes, but an operator's, and a typing error there must be told, not traced."""

from __future__ import annotations

import atexit
import functools
import math
import tempfile
from pathlib import Path

import msgspec

from penstock.server.configuration import ConfigurationError, load
from tests.fuzz.target import Target


def _toml(data: bytes) -> str:
    path = _file()
    path.write_bytes(data)
    return _loaded({}, path)


def _environment(data: bytes) -> str:
    """Lines of NAME=value."""
    lines = (line.partition("=") for line in data.decode(errors="surrogateescape").split("\n"))
    variables = {name: value for name, _, value in lines if name != "PENSTOCK_CONFIG"}
    return _loaded(variables, None)


def _loaded(environ: dict[str, str], path: Path | None) -> str:
    try:
        found = load({}, environ, path)
    except ConfigurationError as error:
        str(error).encode(errors="surrogateescape")  # it goes to a terminal
        return f"{len(error.problems)} {error.problems[0][-30:]}"
    numbers = [value for value in msgspec.structs.astuple(found.settings) if isinstance(value, int | float)]
    assert all(math.isfinite(number) for number in numbers)
    return f"{sorted(set(found.origins.values()))[:3]}"


@functools.cache
def _file() -> Path:
    """One file for all inputs, removed with the process."""
    directory = tempfile.TemporaryDirectory(prefix="penstock-fuzz-")
    atexit.register(directory.cleanup)
    return Path(directory.name) / "penstock.toml"


TARGETS = (
    Target(
        "settings-file",
        "a TOML file is settings with finite numbers, or every problem in a sentence",
        (load,),
        (
            b'host = "::1"\nport = 9000\nallowed_hosts = ["a.example"]\nh2c = true\n',
            b'fsync = "never"\nretention_s = 1.5\nmax_file_bytes = 1_000\ntls_key = "k.pem"\n',
            b"# nothing\n",
            b"prot = 1\n[table]\nx = 1979-05-27T07:32:00Z\n",
        ),
        _toml,
        (b" = ", b"inf", b"nan", b"[", b"]", b'"""', b"'", b"0x", b"1_0", b"port", b"\n", b"{a=", b"\\u0000"),
        (
            b"port = " + b"9" * 5000,
            b"port = " + b"[" * 10**4,
            b"port = 1e" + b"9" * 5000,
            b"a." * 2000 + b"a=1",
        ),
        max_bytes=512,
        short_runs=100,
    ),
    Target(
        "settings-environment",
        "variables are settings with finite numbers, or every problem in a sentence",
        (load,),
        (
            b"PENSTOCK_PORT=9000\nPENSTOCK_H2C=true",
            b"PENSTOCK_ALLOWED_HOSTS=a, b\nPENSTOCK_RETENTION_S=1e3",
            b"PENSTOCK_PROT=1",
            b"HOME=/",
        ),
        _environment,
        (b"PENSTOCK_", b"=", b"\n", b"inf", b"nan", b"1_0", b"0x1", b"true", b"\xc2\xb2"),
        (b"PENSTOCK_PORT=" + b"9" * 10**5,),
        max_bytes=512,
        short_runs=100,
    ),
)
