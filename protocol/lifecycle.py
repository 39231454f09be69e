"""The states of a file, as data: which input is legal in which state, and what follows from it.

`TRANSITIONS` decides every (state, input) pair. A cell is the next state, a refusal (the input is answered
with that error and changes nothing), or `None`: the pair cannot occur, and asking for it is a bug of ours.
Diagrams, documents and the "every pair is decided" test read the same table.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from penstock.protocol.errors import (
    GatewayError,
    UploadAlreadyCompleted,
    UploadCancelled,
    UploadFailed,
    UploadLocked,
)


class State(StrEnum):
    """Where a file stands. Clients see `retrying` as `failed` with `canRetry: true`."""

    PENDING = "pending"
    UPLOADING = "uploading"
    PAUSED = "paused"
    RETRYING = "retrying"
    FINISHING = "finishing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Input(StrEnum):
    """What can happen to a file."""

    START = "start"  # admitted by a command, or its first byte came
    BYTES_END = "bytes-end"  # a request ended as announced, more is to come
    LAST_BYTE = "last-byte"
    BROKE_OFF = "broke-off"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    FINISHED = "finished"
    FAILS = "fails"


class Circumstances(NamedTuple):
    """What a cell may depend on besides the state."""

    untouched: bool = False  # no byte was ever stored and it was never started
    broke_off: bool = False  # its last append broke off
    published: bool = False  # finishing has already put it into its final place


PLAIN = Circumstances()

Refusal = type[GatewayError]
Cell = State | Refusal | None

ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
UNFINISHED = frozenset(State) - ENDED

_S = State
_I = Input

TRANSITIONS: dict[State, dict[Input, Cell]] = {
    _S.PENDING: {
        _I.START: _S.UPLOADING,
        _I.BYTES_END: _S.PENDING,
        _I.LAST_BYTE: _S.FINISHING,
        _I.BROKE_OFF: _S.PENDING,
        _I.PAUSE: _S.PAUSED,
        _I.RESUME: _S.PENDING,
        _I.CANCEL: _S.CANCELLED,
        _I.FINISHED: None,
        _I.FAILS: _S.FAILED,
    },
    _S.UPLOADING: {
        _I.START: _S.UPLOADING,
        _I.BYTES_END: _S.UPLOADING,
        _I.LAST_BYTE: _S.FINISHING,
        _I.BROKE_OFF: _S.RETRYING,
        _I.PAUSE: _S.PAUSED,
        _I.RESUME: _S.UPLOADING,
        _I.CANCEL: _S.CANCELLED,
        _I.FINISHED: None,
        _I.FAILS: _S.FAILED,
    },
    _S.PAUSED: {
        _I.START: UploadLocked,
        _I.BYTES_END: _S.PAUSED,
        _I.LAST_BYTE: None,
        _I.BROKE_OFF: _S.PAUSED,
        _I.PAUSE: _S.PAUSED,
        _I.RESUME: _S.UPLOADING,  # or as before the pause: see _resumed
        _I.CANCEL: _S.CANCELLED,
        _I.FINISHED: None,
        _I.FAILS: _S.FAILED,
    },
    _S.RETRYING: {
        _I.START: _S.UPLOADING,
        _I.BYTES_END: _S.RETRYING,
        _I.LAST_BYTE: _S.FINISHING,
        _I.BROKE_OFF: _S.RETRYING,
        _I.PAUSE: _S.PAUSED,
        _I.RESUME: _S.RETRYING,
        _I.CANCEL: _S.CANCELLED,
        _I.FINISHED: None,
        _I.FAILS: _S.FAILED,
    },
    _S.FINISHING: {
        _I.START: UploadLocked,
        _I.BYTES_END: _S.FINISHING,
        _I.LAST_BYTE: None,
        _I.BROKE_OFF: _S.FINISHING,
        _I.PAUSE: UploadLocked,
        _I.RESUME: _S.FINISHING,
        _I.CANCEL: _S.CANCELLED,  # refused once it is published: see advance
        _I.FINISHED: _S.COMPLETED,
        _I.FAILS: _S.FAILED,
    },
    _S.COMPLETED: {
        _I.START: UploadAlreadyCompleted,
        _I.BYTES_END: None,
        _I.LAST_BYTE: None,
        _I.BROKE_OFF: None,
        _I.PAUSE: UploadAlreadyCompleted,
        _I.RESUME: UploadAlreadyCompleted,
        _I.CANCEL: UploadAlreadyCompleted,
        _I.FINISHED: None,
        _I.FAILS: None,
    },
    _S.FAILED: {
        _I.START: _S.UPLOADING,
        _I.BYTES_END: None,
        _I.LAST_BYTE: None,
        _I.BROKE_OFF: None,
        _I.PAUSE: UploadFailed,
        _I.RESUME: UploadFailed,
        _I.CANCEL: _S.FAILED,  # and its bytes are removed
        _I.FINISHED: None,
        _I.FAILS: None,
    },
    _S.CANCELLED: {
        _I.START: UploadCancelled,
        _I.BYTES_END: None,
        _I.LAST_BYTE: None,
        _I.BROKE_OFF: None,
        _I.PAUSE: UploadCancelled,
        _I.RESUME: UploadCancelled,
        _I.CANCEL: _S.CANCELLED,
        _I.FINISHED: None,
        _I.FAILS: None,
    },
}


class ImpossibleInput(RuntimeError):
    """A pair the table rules out: a bug in the caller, never a client's fault."""

    def __init__(self, state: State, got: Input) -> None:
        super().__init__(f"{got.value} cannot happen to a {state.value} file")


def advance(state: State, got: Input, circumstances: Circumstances = PLAIN) -> State:
    """The state that follows, or the table's refusal raised.

    Raises: the refusing `GatewayError`; `ImpossibleInput` for a pair that cannot occur.
    """
    if state is State.PAUSED and got is Input.RESUME:
        return _resumed(circumstances)
    if state is State.FINISHING and got is Input.CANCEL and circumstances.published:
        raise UploadLocked("the file is being published and can no longer be cancelled")
    cell = TRANSITIONS[state][got]
    if cell is None:
        raise ImpossibleInput(state, got)
    if isinstance(cell, State):
        return cell
    raise cell.on_input(got.value, state.value)


def _resumed(circumstances: Circumstances) -> State:
    if circumstances.untouched:
        return State.PENDING
    return State.RETRYING if circumstances.broke_off else State.UPLOADING
