"""Good and nasty packets, and what a seeded generator makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from penstock.protocol.engineio.packets import Frame

HOLE = '{"_placeholder":true,"num":0}'

SOCKET: list[list[Frame]] = [
    ["0"], ["0{}"], ['0{"token":"123","n":[1,{"a":null}]}'], ["0/custom"], ["0/custom,"],
    ['0/custom,{"a":1}'], ["0/a?b=c,"], ["0/,"], ["1"], ["1/custom,"], ['2["foo"]'],
    ['2["foo",1,2.5,-3e2,true,false,null,"x",[],{}]'], ['20["foo"]'], ['212["foo"]', '2["bar"]'],
    ['2/admin,12["foo"]'], ['2[1,"a"]'], ['2["error"]'], ['2["connect"]'], ['2["disconnecting",1]'],
    ["30[]"], ['3/admin,456["ok",{"a":[1]}]'], ['4{"message":"no"}'], ['4"no"'], ["4"],
    ['2["进度","é😀","\\u00e9\\ud83d\\ude00\\n\\u0000"]'],
    ['2["a",{"b":1,"b":2,"__proto__":{"c":1},"1":0}]'], [f'51-["a",{HOLE}]', b"\0\1"],
    [f'51-/n,7["a",{{"x":[{HOLE}]}}]', b""], [f"61-7[{HOLE}]", b"abc"],
    ['52-["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]', b"0", b"1", '2["b"]'],
    [f'52-["a",{HOLE},{HOLE}]', b"0", b"1"], ['51-["a"]', b"0"],
    ['51-["a",{"_placeholder":1,"num":0}]', b"0"], [f'510-["a",{HOLE}]', *[b"."] * 10],
    [f'511-["a",{HOLE}]', *[b"."] * 11], [f'50-["a",{HOLE}]'],
    ['51-["a",{"_placeholder":true,"num":-1}]', b"0"], ['51-["a",{"_placeholder":true,"num":"0"}]', b"0"],
    ['51-["a",{"_placeholder":true,"num":1}]', b"0"], ['51-["a",{"_placeholder":true,"num":0.5}]', b"0"],
    ['51-["a",{"_placeholder":true,"num":1.0}]', b"0", b"1"],
    ['51-["a",{"_placeholder":true,"num":true}]', b"0"],
    ['51-["a",{"_placeholder":true,"num":null,"x":1}]', b"0"], [f"51-[{HOLE}]", b"0"],
    [f'51-["a",{HOLE}]', '2["b"]'], [b"0"], [f'51-["a",{HOLE}]', b"0", b"1"], ['2["a"]', b"0"], [""], [" 1"],
    ["\ufeff2[]"], ["7"], ["a"], ['501-["a"]', b"0"], ['51e0-["a"]', b"0"], ['5 1-["a"]', b"0"], ["2"],
    ["2/custom"], ['2/["a"]'], ["31"], ["3"], ["3[]"], ['01{"a":1}'], ["15"], ['41{"a":1}'], ['2 ["a"]'],
    ['21 2["a"]'], ["2 "], ['2\xa01["a"]'], ['29007199254740991["a"]'], ['29007199254740992["a"]'],
    ['2000000000000000000007["a"]'], ['2abc["a"]'], ['2-1["a"]'], ['2["a","\\ud800"]'], ['2["\ud800"]'],
    ["0/\udc00,"], ["0/a\x1eb,"], ['2["a",1e400,-1e400]'], ["2[1e400]"], [f'2["a",{"9" * 400}]'],
    [f'2["a",{"9" * 5000}]'], ['2["a",9007199254740993,12345678901234567890123]'],
    ['2["a",-0,1e-400,0.1e1,1E5]'], ['2["a",NaN]'], ['2["a",01]'], ['2["a",1.]'], ['2["a"]]'], ['2["a"] \n'],
    ['2["\x01"]'], ['2["\x7f"]'], [f'2["a",{"[" * 63}{"]" * 63}]'], [f'2["a",{"[" * 64}{"]" * 64}]'],
    [f'2["a",{"[" * 3000}{"]" * 3000}]'], [f'0{{"a":{"[" * 64}{"]" * 64}}}'], [f'2["a",{"[" * 5000}'],
    [f'61-1[{"[" * 99}{HOLE}{"]" * 99}]', b""],
]  # fmt: skip

SOCKET_TOKENS = [
    "0", "1", "2", "5", "9", "10", "11", "-", "/", "/n,", ",", "[", "]", "{", "}", '"', ":", '"a"', "null",
    "true", "1e5", "-1", ".", "e", "\\", "\\u00e9", "\\ud800", "\\ud83d\\ude00", " ", "\n", "\t", "\xa0",
    "\u2003", "\x85", "\x1c", "\ufeff", "\x1e", "\0", "é", "😀", "٣", "²", "\ud800", "\udc00", HOLE,
    '"_placeholder"', '"num"', '{"_placeholder":true,"num":1}', '{"_placeholder":true,"num":-0}',
    '"connect"', '"disconnect"', '"__proto__":', "9007199254740993", "99999999999999999999", "1" * 400,
    "1e309", "NaN", "0x1", "1-", "2-",
]  # fmt: skip

ENGINE: list[Frame] = [
    "0", '0{"sid":"x"}', "1", "2", "2probe", "3", "3probe", "4", "4hello", '42["a"]', "4€é😀", "5", "6", "7",
    "", " ", "a", "٤x", "4\x1e", "b", "bAQIDBA==", "bAQID", "bAQ==", "bAQI=", "b_-8=", "b+/8=", "bAQ", "bA",
    "bAQID\n", "bAQ==AQ==", "b====", "b=", "b é", "bAB==", "b!!!!", "bAQIDBA", "b\ud800", "4\ud800", b"",
    b"\0\1\2", b"4hello",
]  # fmt: skip

ENGINE_TOKENS = [*"b41=A \n\0\x1eé😀\ud800!.", "==", "Aw", "+/", "_-"]


def socket_cases(seed: int, count: int) -> Iterator[list[Frame]]:
    """Frames of one connection each: the corpus, then mutated."""
    yield from SOCKET
    random = Random(seed)
    for _ in range(count):
        frames = list(random.choice(SOCKET))
        if random.random() < 0.3:
            frames = _other_order(random, frames)
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            at = random.randrange(len(frames))
            other = random.choice(random.choice(SOCKET))
            frames[at] = _mutated(random, frames[at], SOCKET_TOKENS, other)
        yield frames


def engine_cases(seed: int, count: int) -> Iterator[Frame]:
    """One frame each."""
    yield from ENGINE
    random = Random(seed)
    for _ in range(count):
        frame: Frame = random.choice(ENGINE)
        for _ in range(random.choice((1, 1, 2, 3))):
            frame = _mutated(random, frame, ENGINE_TOKENS, random.choice(ENGINE))
        yield frame


def payload_cases(seed: int, count: int) -> Iterator[str]:
    """Polling bodies."""
    random = Random(seed)
    texts = [frame for frame in ENGINE if isinstance(frame, str)]
    for _ in range(count):
        frame: Frame = "\x1e".join(random.choice(texts) for _ in range(random.randrange(5)))
        if random.random() < 0.5:
            frame = _mutated(random, frame, ENGINE_TOKENS, random.choice(texts))
        assert isinstance(frame, str)
        yield frame


def json_value(random: Random, depth: int = 3) -> object:
    """A value that events may carry, bytes among it. Without a key `__proto__`: Node's encoder loses it."""
    kind = random.randrange(8 if depth else 6)
    match kind:
        case 0:
            return random.choice((None, True, False))
        case 1:
            return random.randint(-(2**53), 2**53)
        case 2:
            return random.uniform(-1, 1) * 10.0 ** random.randint(-300, 300)
        case 3:
            return random.randbytes(random.randrange(5))
        case 4 | 5:
            return "".join(random.choices('a1"\\/\n\x00\x1e\x7f\u2028é中😀', k=random.randrange(6)))
    size = random.randrange(4)
    if kind == 6:
        return [json_value(random, depth - 1) for _ in range(size)]
    return {random.choice(("a", "b", "7", "进", "")): json_value(random, depth - 1) for _ in range(size)}


def _other_order(random: Random, frames: list[Frame]) -> list[Frame]:
    match random.randrange(4):
        case 0:
            return frames[:-1] or frames
        case 1:
            return [*frames, *random.choice(SOCKET)]
        case 2:
            return [*frames, random.choice(frames)]
    random.shuffle(frames)
    return frames


def _mutated(random: Random, frame: Frame, tokens: list[str], other: Frame) -> Frame:
    if isinstance(frame, bytes):
        return frame + random.randbytes(3)
    start = random.randint(0, min(len(frame), 200))
    end = min(start + random.randrange(6), len(frame))
    match random.randrange(5):
        case 0:  # cut out
            return frame[:start] + frame[end:]
        case 1:  # say twice
            return frame[:end] + frame[start:]
        case 2:  # go on as another
            return frame[:start] + other[start:] if isinstance(other, str) else frame[:start]
        case 3:
            return frame[:start] + random.choice(tokens) + frame[end:]
    return frame[:start] + random.choice(tokens) + frame[start:]
