"""Digests: every algorithm against values known from elsewhere, fed in any pieces."""

from __future__ import annotations

import base64
import hashlib
import zlib

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.server.uploads.digests import ALGORITHMS, Digest, new_hash

# Of the nine bytes "123456789": the check values of the catalogues of CRCs, and coreutils.
CHECK = {
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    "sha512": "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274a"
    "d27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "crc32": "cbf43926",
    "crc32c": "e3069283",
}
EMPTY = {name: hashlib.new(name).digest() for name in ("sha1", "sha256", "sha512", "md5")}
EMPTY |= {"crc32": bytes(4), "crc32c": bytes(4)}

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


def test_all_are_checked() -> None:
    assert set(ALGORITHMS) == CHECK.keys()


@every_algorithm
def test_known_values(algorithm: str) -> None:
    running = new_hash(algorithm)
    assert running.digest() == EMPTY[algorithm]
    running.update(memoryview(b"123456789"))
    assert running.digest().hex() == CHECK[algorithm]


@every_algorithm
@given(pieces=st.lists(st.binary(max_size=40), max_size=6))
def test_pieces_of_a_buffer_that_is_used_again(algorithm: str, pieces: list[bytes]) -> None:
    running, whole = new_hash(algorithm), new_hash(algorithm)
    buffer = bytearray(50)
    for piece in pieces:
        buffer[5 : 5 + len(piece)] = piece
        running.update(memoryview(buffer)[5 : 5 + len(piece)])
    whole.update(memoryview(b"".join(pieces)))
    assert running.digest() == whole.digest()


@every_algorithm
def test_hashes_do_not_share_state(algorithm: str) -> None:
    one, other = new_hash(algorithm), new_hash(algorithm)
    one.update(memoryview(b"123456789"))
    assert other.digest() == EMPTY[algorithm]


@every_algorithm
def test_a_digest_knows_what_matches(algorithm: str) -> None:
    digest = Digest(algorithm, bytes.fromhex(CHECK[algorithm]))
    running = digest.start()
    assert not digest.matches(running)
    running.update(memoryview(b"123456789"))
    assert digest.matches(running)
    assert not Digest(algorithm, digest.expected[:-1]).matches(running)
    assert not Digest(algorithm, digest.expected[::-1]).matches(running)


@pytest.mark.parametrize(("algorithm", "header"), [("crc32", "y/Q5Jg=="), ("crc32c", "4waSgw==")])
def test_crcs_are_big_endian_as_tus_clients_send_them(algorithm: str, header: str) -> None:
    digest = Digest(algorithm, base64.b64decode(header))
    running = digest.start()
    running.update(memoryview(b"123456789"))
    assert digest.matches(running)


@pytest.mark.parametrize("leading", ["crc32", "crc32c"])
def test_a_small_crc_has_four_bytes_all_the_same(leading: str) -> None:
    compute = {"crc32": zlib.crc32, "crc32c": google_crc32c.value}[leading]
    data = next(data for n in range(10_000) if compute(data := b"%d" % n) < 1 << 24)
    running = new_hash(leading)
    running.update(memoryview(data))
    assert len(running.digest()) == 4
    assert running.digest()[0] == 0


@pytest.mark.parametrize("algorithm", ["", "SHA1", "sha-256", "sha3_256", "crc64"])
def test_other_algorithms(algorithm: str) -> None:
    with pytest.raises(ValueError, match="no digest algorithm"):
        new_hash(algorithm)
    with pytest.raises(ValueError, match="no digest algorithm"):
        Digest(algorithm, b"").start()


def test_the_fast_crc32c_is_there() -> None:
    assert google_crc32c.implementation == "c"
