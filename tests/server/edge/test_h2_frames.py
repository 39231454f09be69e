"""DATA in runs: what h2 sees is what was sent, however it was cut into frames and reads."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from h2.exceptions import FrameTooLargeError, ProtocolError
from h2.frame_buffer import FrameBuffer
from hyperframe.exceptions import InvalidPaddingError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from penstock.server.edge.h2_frames import HEADER_BYTES, Frames, Run

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16_384
END = "end"


def data(stream_id: int, payload: bytes, *, end: bool = False, padding: int | None = None) -> DataFrame:
    flags = ["END_STREAM"] * end + ["PADDED"] * (padding is not None)
    return DataFrame(stream_id, payload, pad_length=padding or 0, flags=flags)


def unknown(stream_id: int, body: bytes) -> ExtensionFrame:
    frame = ExtensionFrame(0xBE, stream_id, flag_byte=0xFF, body=body)
    frame.body_len = len(body)  # it does not by itself
    return frame


def feed(buffer: FrameBuffer, reads: Iterable[bytes]) -> list[Frame]:
    buffer.max_frame_size = MAX_FRAME
    frames: list[Frame] = []
    for read in reads:
        buffer.add_data(read)
        frames += list(buffer)
    return frames


def opened() -> Frames:
    """Past the preface."""
    frames = Frames()
    feed(frames, [PREFACE])
    return frames


def wire(frames: Iterable[Frame]) -> bytes:
    return b"".join(frame.serialize() for frame in frames)


def sent(frames: Iterable[Frame]) -> list[object]:
    """What the frames mean: between any two others, DATA is each stream's bytes and ends, in their order."""
    meaning: list[object] = []
    streams: dict[int, list[str | bytes]] = {}
    for frame in frames:
        if isinstance(frame, DataFrame) and "PADDED" not in frame.flags:
            said = streams.setdefault(frame.stream_id, [b""])
            if isinstance(said[-1], bytes):
                said[-1] += frame.data
            else:
                said.append(frame.data)
            if "END_STREAM" in frame.flags:
                said.append(END)
        else:
            meaning += [streams, (type(frame), frame.serialize())]
            streams = {}
    return [*meaning, streams]


def cut(whole: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(index % (len(whole) + 1) for index in at), len(whole)]
    return [whole[start:stop] for start, stop in pairwise(edges)]


IDS = st.sampled_from([1, 3, 5])
PAYLOADS = st.binary(max_size=40)
FRAMES = st.one_of(
    st.builds(data, IDS, PAYLOADS, end=st.booleans()),
    st.builds(data, IDS, PAYLOADS, end=st.booleans(), padding=st.integers(0, 9)),
    st.builds(lambda of: HeadersFrame(of, b"\x82", flags=["END_HEADERS"]), IDS),
    st.builds(lambda of: RstStreamFrame(of), IDS),
    st.builds(lambda of: WindowUpdateFrame(of, window_increment=5), st.sampled_from([0, 1])),
    st.just(PingFrame(0, b"12345678")),
    st.builds(unknown, IDS, PAYLOADS),
)


@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(0, 2000), max_size=12))
def test_any_frames_in_any_reads_mean_what_h2_would_have_seen(
    frames: Sequence[Frame], at: Sequence[int]
) -> None:
    whole = PREFACE + wire(frames)
    plain = sent(feed(FrameBuffer(server=True), [whole]))
    assert sent(feed(Frames(), [whole])) == plain
    assert sent(feed(Frames(), cut(whole, at))) == plain
    assert sent(feed(Frames(), cut(whole, range(len(whole))))) == plain


@given(st.lists(FRAMES, max_size=8), st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255))), st.data())
def test_damaged_frames_are_frames_or_a_protocol_error(
    frames: Sequence[Frame], damage: Sequence[tuple[int, int]], draw: st.DataObject
) -> None:
    whole = bytearray(PREFACE + wire(frames))
    for where, byte in damage:
        whole[where % len(whole)] = byte
    at = draw.draw(st.lists(st.integers(0, len(whole)), max_size=4))
    try:
        got = feed(Frames(), cut(bytes(whole), at))
    except (ProtocolError, InvalidPaddingError):  # h2's connection makes one of both
        return
    assert all(isinstance(frame, Frame) for frame in got)


def test_a_read_is_one_run_for_each_stream() -> None:
    read = wire(data(stream_id, bytes(1000)) for _ in range(20) for stream_id in (1, 3, 5))
    got = feed(opened(), [read])
    assert [(type(frame), frame.stream_id) for frame in got] == [(Run, 1), (Run, 3), (Run, 5)]


def test_another_frame_keeps_its_place() -> None:
    read = wire(
        [data(1, b"a"), data(3, b"b"), data(1, b"c"), RstStreamFrame(1), data(1, b"d"), data(3, b"e")]
    )
    got = feed(opened(), [read])
    kinds = [(frame.stream_id, frame.data if isinstance(frame, Run) else type(frame)) for frame in got]
    assert kinds == [(1, b"ac"), (3, b"b"), (1, RstStreamFrame), (1, b"d"), (3, b"e")]


def test_the_end_comes_with_the_last_byte() -> None:
    frame = wire([data(1, b"abcdef", end=True)])
    got = feed(opened(), [frame[: HEADER_BYTES + 2], frame[HEADER_BYTES + 2 :]])
    assert [(run.data, set(run.flags)) for run in got if isinstance(run, Run)] == [
        (b"ab", set()),
        (b"cdef", {"END_STREAM"}),
    ]


def test_an_empty_frame_is_told_and_a_bare_header_is_not() -> None:
    frames = opened()
    assert [type(frame) for frame in feed(frames, [wire([data(1, b"")])])] == [Run]
    assert feed(frames, [wire([data(1, b"abc")])[:HEADER_BYTES]]) == []


def test_nothing_keeps_what_was_read() -> None:
    frames = opened()
    read = bytes(wire([data(1, bytes(100)), data(3, bytes(100)), data(1, bytes(5000))])[:-100])
    before = sys.getrefcount(read)
    got = feed(frames, [read])
    assert sys.getrefcount(read) == before
    assert [len(run.data) for run in got if isinstance(run, Run)] == [5000, 100]
    assert frames.payload_bytes == 5100


def test_h2s_repr_of_a_run_is_short() -> None:
    assert repr(Run(1, bytes(100_000), end=True)) == "Run(1, 100000 bytes, ['END_STREAM'])"


@pytest.mark.parametrize("frame", [data(1, bytes(MAX_FRAME + 1)), unknown(1, bytes(MAX_FRAME + 1))])
def test_a_frame_that_is_too_long_is_refused_by_its_header(frame: Frame) -> None:
    with pytest.raises(FrameTooLargeError):
        feed(opened(), [frame.serialize()[:HEADER_BYTES]])


def test_data_within_a_header_block_is_refused() -> None:
    frames = opened()
    assert feed(frames, [wire([HeadersFrame(1, b"\x82")])]) == []
    with pytest.raises(ProtocolError):
        feed(frames, [wire([data(1, b"abc")])])


def test_a_header_block_comes_whole() -> None:
    block = [HeadersFrame(1, b"\x82"), ContinuationFrame(1, b"\x84"), ContinuationFrame(1, b"\x86")]
    block[-1].flags.add("END_HEADERS")
    [got] = feed(opened(), [wire(block)])
    assert isinstance(got, HeadersFrame)
    assert got.data == b"\x82\x84\x86"


def test_data_for_no_stream_is_refused() -> None:
    frame = bytearray(wire([data(1, b"abc")]))
    frame[5:9] = bytes(4)
    with pytest.raises(ProtocolError):
        feed(opened(), [bytes(frame)])


def test_a_bad_preface_is_refused() -> None:
    with pytest.raises(ProtocolError):
        feed(Frames(), [PREFACE[:5], b"GET / HTTP/1.1\r\n"])
