"""Forms: the boundary, the parts' heads, and the parts of a body however it is cut."""

from __future__ import annotations

import re
from typing import NamedTuple

import trio

from penstock.protocol.downloads import media_type
from penstock.protocol.errors import GatewayError
from penstock.protocol.multipart_form import (
    check_field,
    check_storable,
    is_form,
    parse_boundary,
    parse_part_head,
)
from penstock.server.http.multipart_reader import MalformedBody, Part, PartReader
from tests.fuzz.mutate import cut
from tests.fuzz.promises import header_text, refused
from tests.fuzz.target import Target
from tests.server.http.forms import BOUNDARY, Pieces, Seen, field, file, form, part, reader_of

BYTE_BY_BYTE = 300  # inputs up to this long: beyond it, cuts must do
_BOUNDARY = BOUNDARY.encode()
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")


def _content_type(data: bytes) -> str:
    value = header_text(data)
    served = media_type(value, header_text(data[::-1]))
    assert _TYPE.fullmatch(served), "what is served as a Content-Type is type/subtype"
    assert media_type(served, "") == served
    try:
        boundary = parse_boundary(value)
    except GatewayError as error:
        return f"{refused(error)} {is_form(value)}"
    assert is_form(value)
    assert re.fullmatch(rb"[ -~]{0,69}[!-~]", boundary)
    if not re.search(rb'["\\]', boundary):
        assert parse_boundary(f'multipart/form-data; boundary="{boundary.decode()}"') == boundary
    return "boundary"


def _part_head(data: bytes) -> str:
    lines = (line.partition(":") for line in header_text(data).split("\n"))
    try:
        head = parse_part_head([(name.strip().title(), value.strip()) for name, _, value in lines])
        for text in (head.name, head.filename or "", head.content_type):
            text.encode()  # no lone surrogate
            assert len(text) <= len(data)
        check_storable(head)
        check_field(head)
    except GatewayError as error:
        return refused(error)
    return f"{head.filename is None} {bool(head.content_type)}"


def _form(data: bytes) -> str:
    ways = [[data], cut(data)]
    if len(data) <= BYTE_BY_BYTE:
        ways.append([data[at : at + 1] for at in range(len(data))])
    whole, *others = trio.run(_readings, ways)
    for other in others:
        _check_alike(data, whole, other)
    assert sum(len(one.content) for one in whole.parts) <= len(data)
    return f"{min(len(whole.parts), 3)} {re.sub('[0-9]+', '', whole.failure)[:60]}"


class Reading(NamedTuple):
    parts: list[Seen]  # those that came whole
    failure: str  # why there are no more of them; "" at the form's end


def _check_alike(data: bytes, one: Reading, other: Reading) -> None:
    """Two things the parser judges by what it happens to hold: a preamble's end, a bare line feed in a head.
    Then one way of cutting may give parts where another gives an error, but never other parts."""
    shorter, longer = sorted((one, other), key=lambda reading: len(reading.parts))
    assert shorter.parts == longer.parts[: len(shorter.parts)], "it matters how a form is cut"
    if data.startswith(b"--" + _BOUNDARY) and not _BARE_LINE_FEED.search(data):
        assert shorter.parts == longer.parts
        assert bool(one.failure) == bool(other.failure)
    else:
        assert bool(shorter.failure) or bool(longer.failure) or shorter.parts == longer.parts


async def _readings(ways: list[list[bytes]]) -> list[Reading]:
    return [await _reading(pieces) for pieces in ways]


async def _reading(pieces: list[bytes]) -> Reading:
    reader = reader_of(Pieces(pieces), max_parts=20)
    seen: list[Seen] = []
    try:
        while (found := await reader.next_part()) is not None:
            content = await _content(found)
            seen.append(Seen(found.head.name, found.head.filename, found.head.content_type, content))
    except MalformedBody as error:
        return Reading(seen, str(error))
    return Reading(seen, "")


async def _content(found: Part) -> bytes:
    content, buffer = bytearray(), memoryview(bytearray(1000))
    while True:
        await found.wait_readable()
        try:
            count = found.receive_nowait(buffer)
        except trio.WouldBlock:
            continue
        if not count:
            return bytes(content)
        content += buffer[:count]


TARGETS = (
    Target(
        "content-type",
        "a form's boundary is 1 to 70 printable characters that can be told again; a type that is served is "
        "type/subtype and nothing more",
        (is_form, parse_boundary, media_type),
        (
            b"multipart/form-data; boundary=abc",
            b'Multipart/Form-Data; charset=utf-8; boundary="a b;c"',
            b"text/html; charset=utf-8",
            b"multipart/form-data",
        ),
        _content_type,
        (b"boundary=", b'"', b";", b"multipart/form-data", b"/", b"x" * 70, b" "),
        (b"multipart/form-data; boundary=" + b"x" * 10**6,),
    ),
    Target(
        "part-head",
        "a part's head is the names of a field and maybe a file, without lone surrogates, or InvalidMessage",
        (parse_part_head, check_storable, check_field),
        (
            b'Content-Disposition: form-data; name="a"; filename="b.txt"\nContent-Type: text/plain',
            b"Content-Disposition: form-data; name=a; filename*=utf-8''%e2%82%ac",
            b'Content-Disposition: form-data; name="\xe6\x96\x87%22"\nContent-Transfer-Encoding: base64',
            b'Content-Disposition: form-data; name="x"\nContent-Type: multipart/mixed',
        ),
        _part_head,
        (b'filename="', b"name=", b"filename*=", b"%22", b"%0D%0A", b"\\", b";", b"form-data"),
    ),
    Target(
        "form",
        "a form is the same parts whole, byte by byte or cut at random, or malformed; no byte is made up",
        (PartReader.next_part, PartReader.read_nowait),
        (
            form(field("note", "x"), file("a", b"content\r\n--")),
            form(file("a", b"", "b.txt", "text/plain"), field("b", "é")),
            b"preamble\r\n" + form(part("form-data; name=a", b"b", "X-Y: z")) + b"epilogue",
            form(),
        ),
        _form,
        (
            *(
                _BOUNDARY,
                b"--" + _BOUNDARY,
                b"\r\n--" + _BOUNDARY + b"\r\n",
                b"--",
                b"\r\n\r\n",
                b"\r",
                b"\n",
            ),
            *(b"Content-Disposition: form-data; name=x\r\n", b"Content-Length: 3\r\n", b'; filename="'),
        ),
        (form(*[field("a", "b")] * 1000), form(file("a", b"\r\n--" * 50000)), b"\r" * 10**5),
        short_runs=60,
    ),
)
