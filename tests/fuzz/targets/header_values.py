"""Single header fields: ranges, preconditions, parameters, structured fields, digests, languages."""

from __future__ import annotations

import re

from penstock.protocol.conditions import Outcome, Validators, evaluate, range_holds, weak_match
from penstock.protocol.content_range import parse_content_range
from penstock.protocol.digest_fields import (
    DIGEST_BYTES,
    most_wanted,
    parse_digest_field,
    strongest,
)
from penstock.protocol.downloads import content_disposition
from penstock.protocol.errors import InvalidMessage
from penstock.protocol.header_parameters import (
    decoded,
    file_name,
    parse_extended,
    parse_parameters,
    unescaped,
)
from penstock.protocol.http_ranges import MAX_RANGES, Unsatisfiable, parse_range
from penstock.protocol.messages import LANGUAGES, choose_language
from penstock.protocol.structured_fields import parse_boolean, parse_dictionary, parse_integer
from tests.fuzz.promises import HEADER_VALUE, header_text, refused
from tests.fuzz.target import Target

SIZES = (0, 1, 1000, 2**63 - 1)
CURRENT = Validators('"abc"', 784111777)
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_SEPARATORS = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _content_range(data: bytes) -> str:
    try:
        found = parse_content_range(header_text(data))
    except InvalidMessage as error:
        return refused(error)
    assert 0 <= found.first <= found.last < 2**63
    assert found.total is None or found.last < found.total < 2**63
    assert 0 < found.length < 2**63
    total = "*" if found.total is None else found.total
    assert parse_content_range(f"bytes {found.first}-{found.last}/{total}") == found
    return f"total {found.total is not None}"


def _range(data: bytes) -> str:
    return " ".join(_range_of(header_text(data), size) for size in SIZES)


def _range_of(value: str, size: int) -> str:
    try:
        spans = parse_range(value, size)
    except Unsatisfiable:
        return "none"
    if spans is None:
        return "all"
    assert 0 < len(spans) <= MAX_RANGES
    assert all(0 <= span.start < span.end <= size for span in spans)
    assert sum(span.length for span in spans) <= size
    asked = ",".join(f"{span.start}-{span.end - 1}" for span in spans)
    assert parse_range(f"bytes={asked}", size) == spans
    for span in spans:
        told = parse_content_range(span.content_range(size))
        assert (told.first, told.last + 1, told.total) == (span.start, span.end, size)
    return str(len(spans))


def _conditions(data: bytes) -> str:
    lines = (line.partition(":") for line in header_text(data).split("\n"))
    headers = {name.strip(): value.strip() for name, _, value in lines}
    outcome = evaluate(headers, CURRENT)
    wanted, known, start = (headers.get(name) for name in ("If-Match", "If-None-Match", "If-Range"))
    if wanted is not None and '"abc"' not in wanted and wanted != "*":
        assert outcome is Outcome.FAILED
    if known is not None and outcome is Outcome.GO_ON:
        assert not weak_match(known, CURRENT.etag)
    holds = range_holds(start, CURRENT)
    if start is not None and '"' in start:
        assert holds == (start == CURRENT.etag)
    return f"{outcome.name} {holds}"


def _parameters(data: bytes) -> str:
    value = header_text(data)
    found = parse_parameters(value)
    assert all(_TOKEN.fullmatch(name) and name == name.lower() for name in found)
    assert all(text in value and len(text) <= len(value) for text in found.values())
    for text in (*found.values(), value):
        assert len(unescaped(decoded(text))) <= len(text)
        parse_extended(text)
    name = file_name(value)
    name.encode()  # no lone surrogate
    told = content_disposition(name, shown=False)
    assert HEADER_VALUE.fullmatch(told), "what a client called its file must not end a header line"
    assert told.isascii()
    cleaned = _SEPARATORS.sub("_", name)
    assert file_name(told) == ("_" * len(cleaned) if cleaned in (".", "..") else cleaned)
    return f"{sorted(found)[:4]} {bool(name)}"


def _structured(data: bytes) -> str:
    value = header_text(data)
    number, truth, members = parse_integer(value), parse_boolean(value), parse_dictionary(value)
    if number is not None:
        assert abs(number) < 10**15
        assert truth is None
        assert parse_integer(str(number)) == number
    if truth is not None:
        assert parse_boolean(f"?{int(truth)}") is truth
    assert members is None or all(re.fullmatch(r"[a-z*][a-z0-9_.*-]*", key) for key in members)
    kinds = [] if members is None else sorted({type(member).__name__ for member in members.values()})
    return f"{number is None} {truth} {members is None} {kinds}"


def _digests(data: bytes) -> str:
    value = header_text(data)
    assert most_wanted(value) in (None, *DIGEST_BYTES)
    try:
        found, best = parse_digest_field(value, "Repr-Digest"), strongest(value, "Repr-Digest")
    except InvalidMessage as error:
        return f"{refused(error)} {most_wanted(value)}"
    assert found
    assert all(len(found[name]) == size for name, size in DIGEST_BYTES.items() if name in found)
    assert (best is None) == (not found.keys() & DIGEST_BYTES.keys())
    if best is not None:
        assert parse_digest_field(str(best), "Repr-Digest") == {best.algorithm: best.value}
    return f"{sorted(found)[:3]}"


def _language(data: bytes) -> str:
    chosen = choose_language(header_text(data))
    assert chosen in LANGUAGES
    assert choose_language(chosen) == chosen
    return chosen


_SHA256 = b"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"

TARGETS = (
    Target(
        "content-range",
        "a Content-Range is a range within 2^63 bytes or InvalidMessage, and what it says is accepted again",
        (parse_content_range,),
        (b"bytes 0-0/1", b"bytes 5-9/*", b"bytes 0-9223372036854775806/9223372036854775807", b"bytes */10"),
        _content_range,
        (b"bytes ", b"-", b"/", b"*", b"1-0"),
        (b"bytes 0-" + b"9" * 10**6 + b"/*",),
    ),
    Target(
        "range",
        "a Range is up to 16 spans inside the file, no more bytes than it has, or the whole file, or none",
        (parse_range,),
        (b"bytes=0-0", b"bytes=5-", b"bytes=-3", b"bytes=0-1, 4-5,,900-2000", b"bytes=1000-", b"lines=1-2"),
        _range,
        (b"bytes=", b"-", b",", b"0-", b"-1", b"0-0,"),
        (b"bytes=-" + b"9" * 10**6, b"bytes=" + b"0-0," * 10**5),
    ),
    Target(
        "conditions",
        "preconditions end in one of three outcomes; a malformed date counts as absent, no other tag matches",
        (evaluate, range_holds, weak_match),
        (
            b'If-Match: "abc"',
            b'If-Match: W/"abc", "x"\nIf-None-Match: *',
            b'If-None-Match: W/"abc"',
            b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
            b"If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT\nIf-Range: Sun Nov  6 08:49:37 1994",
            b'If-Range: "abc"',
        ),
        _conditions,
        (b'"abc"', b"W/", b"*", b" GMT", b" -0000", b"+9999", b"Sun, ", b"06 Nov ", b"00:00:60", b":"),
        (b"If-Modified-Since: " + b"9" * 10**5, b"If-None-Match: " + b'W/"' * 20000),
    ),
    Target(
        "parameters",
        "parameters are tokens and pieces of the header; a file name survives being told in our own header, "
        "and never ends it",
        (parse_parameters, file_name, parse_extended, decoded, unescaped, content_disposition),
        (
            b'attachment; filename="a.txt"',
            b"attachment; filename=a.txt; filename*=UTF-8''%e2%82%ac.txt",
            b'form-data; name="a"; filename="\xe6\x96\x87 \\"x\\".pdf"',
            b"attachment;filename*=iso-8859-1'en'%A3;FILENAME = \"..\"",
        ),
        _parameters,
        (b"; ", b"=", b'="', b"filename", b"filename*=", b"utf-8''", b"%0d%0a", b"%e2%80%ae", b"..", b"/"),
        (b";" + b'a="\\"' * 20000, b";a=" + b'"' * 50000),
    ),
    Target(
        "structured-fields",
        "a structured field is a value of the wanted type or None; an integer has at most 15 digits",
        (parse_integer, parse_boolean, parse_dictionary),
        (
            b"42",
            b"-7;a=b",
            b"?1",
            b"?0;x",
            b'a=1, b=?0, c=:AAE=:, d=(1 "x" t);p, e',
            b"@1659578233",
            b'%"f%c3%bc"',
        ),
        _structured,
        (b"?1", b":", b"(", b")", b";a", b",", b"=", b"1.5", b"@", b'%"', b"999999999999999"),
        (b"9" * 10**6, b"(" * 10**5, b"a=" + b"(1 " * 10**4, b":" + b"A" * 10**5),
    ),
    Target(
        "digest-fields",
        "a digest field is digests of the right length or InvalidMessage; one that is told reads the same",
        (parse_digest_field, strongest, most_wanted),
        (_SHA256, b"sha-512=:" + b"A" * 86 + b"==:, x=:AA==:", b"sha-256=5, sha-512=3", b"sha-256=:AA==:"),
        _digests,
        (b"sha-256=", b"sha-512=", b":", _SHA256, b"=10", b", ", b";q=1"),
        (b"sha-256=:" + b"A" * 10**6 + b":",),
    ),
    Target(
        "accept-language",
        "a wish for a language ends in one we have",
        (choose_language,),
        (b"en", b"de-DE,zh-CN;q=0.8,en;q=0.5", b"zh_TW", b"*"),
        _language,
        (b"zh", b"-", b"_", b";q=", b","),
        (b"," * 10**6,),
    ),
)
