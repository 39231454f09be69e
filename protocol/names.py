"""Names: which of a client's are accepted, and how ours are made. No client text becomes a path as it is."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from functools import lru_cache

from penstock.protocol.errors import InvalidMessage, InvalidSession
from penstock.protocol.times import file_stamp

MAX_SAFE_NAME_BYTES = 190
MAX_EXTENSION_BYTES = 32  # longer than that it is not an extension, it is a name with a dot
MAX_FILE_NAME_BYTES = 1024
UPLOAD_NOISE_BYTES = 16
ORDERED_NOISE_BYTES = 10

_FILE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CATEGORY = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_WATCH_KEY = re.compile(r"w_[0-9a-f]{40}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SAFE = re.compile(r"[\w()+,=@-]{1,150}(\.[\w()+,=@-]{1,32})?", re.ASCII)  # most are: left as they are
_UNSAFE = re.compile(r"[^\w.()+,=@-]", re.UNICODE)


def is_file_id(text: str) -> bool:
    """Whether a client may call a file that."""
    return _FILE_ID.fullmatch(text) is not None


def check_file_id(file_id: str, field: str = "fileId") -> str:
    """The id as it is. Raises: InvalidMessage."""
    if not is_file_id(file_id):
        raise InvalidMessage(f"{field}: 1 to 128 of A-Z a-z 0-9 . _ - are allowed")
    return file_id


def is_category(name: str) -> bool:
    """Whether a category may be called that."""
    return _CATEGORY.fullmatch(name) is not None


def is_watch_key(reference: str) -> bool:
    return _WATCH_KEY.fullmatch(reference) is not None


def check_session_reference(reference: str, field: str = "sessionId") -> str:
    """A session id or a watch key, lower-cased. Raises: InvalidSession."""
    folded = reference.lower()
    if _UUID4.fullmatch(folded) or _WATCH_KEY.fullmatch(folded):
        return folded
    raise InvalidSession(f"{field}: a session id (UUID version 4) or a watchKey (w_…) is expected")


def check_file_name(name: str, field: str = "fileName") -> str:
    """A client's name for a file: shown, never used as a path. Raises: InvalidMessage."""
    if not name:
        raise InvalidMessage(f"{field}: must not be empty")
    if len(name.encode(errors="surrogatepass")) > MAX_FILE_NAME_BYTES:
        raise InvalidMessage(f"{field}: at most {MAX_FILE_NAME_BYTES} bytes are allowed")
    if _SURROGATE.search(name):
        raise InvalidMessage(f"{field}: is not valid Unicode (a lone surrogate)")
    return name


def watch_key(server_key: bytes, session_id: str) -> str:
    """What lets its holder watch a session and nothing more: a keyed hash nobody else can make or invert."""
    return "w_" + hmac.new(server_key, b"watch\0" + session_id.encode(), hashlib.sha256).hexdigest()[:40]


def file_id(unix_s: float, noise: bytes) -> str:
    """Of a file whose client has none for it: a UUID, see `_ordered_uuid`."""
    return _ordered_uuid(unix_s, noise)


def upload_id(unix_s: float, noise: bytes) -> str:
    """What nobody guesses: 128 random bits, behind the time (see `_ordered_uuid`), in lower-case hex."""
    return f"{_millis(unix_s)}{noise[:UPLOAD_NOISE_BYTES].hex()}"


def public_id(server_key: bytes, session_id: str, file_id: str, attempt: int, unix_s: float) -> str:
    """A UUID whose random part is a keyed hash: unique per attempt, and no way back to its session."""
    material = "\0".join(("public", session_id, file_id, str(attempt))).encode()
    return _ordered_uuid(unix_s, hashlib.blake2b(material, key=server_key).digest())


def _ordered_uuid(unix_s: float, noise: bytes) -> str:
    """A UUID version 7 (RFC 9562 §5.7): the time in milliseconds, then 74 random bits.

    Ids that are made together stand together in the indexes of a store. With random ones each file would
    change pages of its own, the more of them the more files there are.
    """
    time, dice = _millis(unix_s), noise[:ORDERED_NOISE_BYTES].hex()
    variant = "89ab"[int(dice[3], 16) & 3]
    return f"{time[:8]}-{time[8:]}-7{dice[:3]}-{variant}{dice[4:7]}-{dice[7:19]}"


@lru_cache(maxsize=16)  # a batch of small files has one time
def _millis(unix_s: float) -> str:
    return f"{int(unix_s * 1000) & 0xFFFF_FFFF_FFFF:012x}"


def stored_name(
    server_key: bytes, session_id: str, file_id: str, attempt: int, unix_s: float, name: str
) -> str:
    """The name of a published file: `{publicId}_{time}_{safeName}`."""
    public = public_id(server_key, session_id, file_id, attempt, unix_s)
    return f"{public}_{file_stamp(unix_s)}_{safe_name(name)}"


def safe_name(name: str) -> str:
    """A client's file name made harmless for a path and a URL: no separators, no control characters,
    at most 190 bytes, cut at a character, the extension kept."""
    if _SAFE.fullmatch(name):
        return name
    base = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    cleaned = _UNSAFE.sub("_", base.strip(" ."))
    stem, dot, extension = cleaned.rpartition(".")
    if not dot or not stem or len(extension.encode()) > MAX_EXTENSION_BYTES:
        return _cut(cleaned, MAX_SAFE_NAME_BYTES).rstrip(".") or "file"
    tail = f".{extension}"
    return _cut(stem, MAX_SAFE_NAME_BYTES - len(tail.encode())) + tail


def _cut(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode(errors="ignore")
