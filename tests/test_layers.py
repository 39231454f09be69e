"""Arrows point down: who may import whom, read from the source itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "penstock"
SOURCES = sorted(
    path for layer in ("protocol", "storage", "server") for path in (PACKAGE / layer).rglob("*.py")
)

# What of the standard library does no I/O, reads no clock and throws no dice.
PURE = {
    *("__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "contextlib", "copy"),
    *(
        "dataclasses",
        "datetime",
        "decimal",
        "email",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
    ),
    *(
        "html",
        "io",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "mimetypes",
        "operator",
        "re",
        "string",
        "struct",
    ),
    *("textwrap", "types", "typing", "unicodedata", "urllib", "uuid", "zlib"),
}
WIRE_LIBRARIES = {"socket", "h11", "wsproto", "h2", "hpack", "hyperframe", "hypercorn"}
DIALECTS = ("server.http", "server.realtime")
CLIENT_LIBRARIES = {"httpx2", "rich", "trio_websocket"}
CLIENT_NEEDS = ("server.client", "server.exits", "server.configuration")
STORE_USERS = ("server.uploads", "server.main")


class Import(NamedTuple):
    importer: str  # dotted, without "penstock."
    imported: str  # dotted; our own without "penstock."
    line: int


def imports_of(source: str, module: str) -> Iterator[Import]:
    """Every import in a module's text, also those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name.removeprefix("penstock."), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            if origin == "penstock":
                for alias in node.names:
                    yield Import(module, alias.name, node.lineno)
            else:
                yield Import(module, origin.removeprefix("penstock."), node.lineno)


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def broken_rule(found: Import) -> str | None:
    """The rule an import breaks, or None."""
    importer, imported, _ = found
    top = imported.split(".")[0]
    ours = top in ("protocol", "storage", "server")
    if imported.startswith("."):
        return "imports are absolute"
    if top == "asyncio":
        return "Penstock runs on Trio only"
    if top in WIRE_LIBRARIES and not within(importer, "server.edge"):
        return "only server/edge touches sockets and their libraries"
    if top in CLIENT_LIBRARIES and not within(importer, "server.client"):
        return "only server/client is a client"
    if within(importer, "server.client") and top in ("server", "storage"):
        fits = within(imported, *CLIENT_NEEDS)
        return None if fits else "server/client knows protocol/ and the wire, nothing of the server"
    if within(imported, "server.client") and not within(importer, "server.cli"):
        return "no part of the server is its own client"
    if within(importer, "protocol"):
        return (
            None
            if top in PURE | {"msgspec", "http_sf", "protocol"}
            else "protocol/ is pure: standard library, msgspec and structured fields"
        )
    if within(importer, "storage"):
        allowed = (ours and top != "server") or top in sys.stdlib_module_names | {
            "trio",
            "msgspec",
            "structlog",
        }
        return None if allowed else "storage/ knows protocol/, trio and the standard library"
    if top == "storage" and not within(importer, *STORE_USERS):
        return "only server/uploads and server/main.py know a store"
    if any(within(importer, one) and within(imported, *set(DIALECTS) - {one}) for one in DIALECTS):
        return "server/http and server/realtime do not know each other"
    if within(importer, "server.uploads") and within(imported, *DIALECTS, "server.edge", "server.app"):
        return "server/uploads knows nobody above it"
    if within(importer, "server.edge") and within(imported, *DIALECTS, "server.uploads"):
        return "server/edge carries bytes and knows no dialect"
    return None


def test_all_layers_are_looked_at() -> None:
    assert {path.relative_to(PACKAGE).parts[0] for path in SOURCES} == {"protocol", "storage", "server"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    found = imports_of(path.read_text(encoding="utf-8"), module_name(path))
    broken = [f"line {one.line}: {one.imported}: {rule}" for one in found if (rule := broken_rule(one))]
    assert not broken


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.tus", "import trio"),
        ("protocol.tus", "from time import monotonic"),
        ("protocol.tus", "from penstock.server.settings import Settings"),
        ("protocol.tus", "def f():\n    import os"),
        ("storage.disk", "from penstock.server.peer import Body"),
        ("storage.disk", "import click"),
        ("storage.disk", "import socket"),
        ("server.http.put", "import socket"),
        ("server.app", "from hypercorn.typing import Scope"),
        ("server.http.put", "from penstock.storage.blobs.base import BlobStore"),
        ("server.http.put", "from penstock import storage"),
        ("server.http.put", "from penstock.server.realtime.envelope import Endpoint"),
        ("server.realtime.envelope", "import penstock.server.http.put"),
        ("server.uploads.gateway", "from penstock.server.http.put import put"),
        ("server.edge.host", "from penstock.server.uploads.gateway import Gateway"),
        ("server.peer", "from .settings import Settings"),
        ("server.main", "import asyncio"),
        ("server.http.put", "import httpx2"),
        ("server.client.api", "from penstock.server.uploads.gateway import Gateway"),
        ("server.client.api", "import penstock.server.edge.host"),
        ("server.client.records", "from penstock.storage.disk import Disk"),
        ("server.uploads.gateway", "from penstock.server.client.api import Api"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert any(broken_rule(found) for found in imports_of(source, module))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.tus", "import msgspec, re\nfrom penstock.protocol.errors import GatewayError"),
        ("storage.disk", "import os, sqlite3, trio\nfrom penstock.protocol.lifecycle import State"),
        ("server.edge.h11_driver", "import h11, socket\nfrom penstock.server.peer import Body"),
        ("server.http.put", "from penstock.server.uploads.gateway import Gateway"),
        ("server.uploads.gateway", "from penstock.storage.state.base import StateStore"),
        ("server.main", "from penstock.storage.disk import Disk"),
        ("server.client.follow", "import httpx2, rich, trio_websocket, trio"),
        ("server.client.api", "from penstock.protocol.snapshot import Snapshot"),
        ("server.client.errors", "from penstock.server.exits import Exit"),
        ("server.cli", "from penstock.server.client.commands import COMMANDS"),
    ],
)
def test_an_arrow_down_is_fine(module: str, source: str) -> None:
    assert not [rule for found in imports_of(source, module) if (rule := broken_rule(found))]
