"""Typed changes → SQL statements. Pure: what is in the rows is copied here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from penstock.storage.state.base import (
    AddFact,
    Change,
    DropAnswers,
    DropFinished,
    DropSession,
    SaveAnswer,
    SaveFile,
    SaveFinished,
    SaveSession,
)
from penstock.storage.state.rows import ANSWERS, FILES, FINISHED, SESSIONS, Parameters

_ADD_FACT = "INSERT INTO facts (session_id, seq, payload) VALUES (?, ?, ?)"
_PRUNE_FACTS = "DELETE FROM facts WHERE session_id = ? AND seq <= ?"
_DROP_FINISHED = "DELETE FROM finished WHERE category = ? AND stored_name = ?"
_DROP_ANSWERS = "DELETE FROM answers WHERE created_at < ?"
_DROP_SESSION = tuple(
    f"DELETE FROM {table} WHERE session_id = ?" for table in ("sessions", "files", "facts", "answers")
)


MOST_ROWS = 64  # of an INSERT: each execution hands Python's lock over and costs a start
MOST_VARIABLES = 999  # older SQLite takes no more

_VALUES = re.compile(r"(?<=VALUES )(\([?, ]+\))")


@cache
def _for_rows(sql: str, count: int) -> str:
    head, row, tail = _VALUES.split(sql)
    return f"{head}{', '.join([row] * count)}{tail}"


class Batch(NamedTuple):
    """One statement, executed for each of its parameters."""

    sql: str
    parameters: list[Parameters]

    def pieces(self) -> Iterator[tuple[str, list[Parameters]]]:
        """The same in fewer executions: an INSERT takes many rows at once."""
        rows = self.parameters
        at_once = min(MOST_ROWS, MOST_VARIABLES // len(rows[0])) if self.sql.startswith("INSERT") else 1
        many = len(rows) // at_once * at_once if at_once > 1 else 0
        if many:
            joined = (chain.from_iterable(rows[at : at + at_once]) for at in range(0, many, at_once))
            yield _for_rows(self.sql, at_once), [*map(tuple, joined)]
        if many < len(rows):
            yield self.sql, rows[many:]

    @property
    def fenced(self) -> bool:
        """Whether a row that was not changed means a stale fence."""
        return self.sql is FILES.upsert


class Commit(NamedTuple):
    """What is applied whole or not at all, and whose it is."""

    session_ids: frozenset[str]
    batches: list[Batch]


def prepared(changes: Sequence[Change], kept_facts: int) -> Commit:
    """The statements of one commit, in order; neighbours of one kind are one batch."""
    batches: list[Batch] = []
    sql = ""
    for change in changes:
        for wanted, parameters in _statements(change, kept_facts):
            if wanted is not sql:
                sql, same = wanted, list[Parameters]()
                batches.append(Batch(sql, same))
            same.append(parameters)
    return Commit(frozenset(session_ids(changes)), batches)


def session_ids(changes: Sequence[Change]) -> Iterator[str]:
    """Whose rows and facts they write."""
    for change in changes:
        match change:
            case AddFact(session_id=session_id):
                yield session_id
            case SaveFile(row=file):
                yield file.session_id
            case SaveSession(row=session):
                yield session.session_id


def _statements(change: Change, kept_facts: int) -> Iterable[tuple[str, Parameters]]:
    match change:
        case AddFact():
            return _add_fact(change, kept_facts)
        case SaveFile(row=file):
            return ((FILES.upsert, FILES.parameters(file)),)
        case SaveSession(row=session):
            return ((SESSIONS.upsert, SESSIONS.parameters(session)),)
        case SaveFinished(row=finished):
            return ((FINISHED.upsert, FINISHED.parameters(finished)),)
        case SaveAnswer(row=answer):
            return ((ANSWERS.upsert, ANSWERS.parameters(answer)),)
        case DropFinished(category=category, stored_name=stored_name):
            return ((_DROP_FINISHED, (category, stored_name)),)
        case DropAnswers(created_before=created_before):
            return ((_DROP_ANSWERS, (created_before,)),)
        case DropSession(session_id=session_id):
            return tuple((sql, (session_id,)) for sql in _DROP_SESSION)


def _add_fact(fact: AddFact, kept_facts: int) -> Iterable[tuple[str, Parameters]]:
    added = (_ADD_FACT, (fact.session_id, fact.seq, fact.payload))
    if fact.seq % max(1, kept_facts // 100):
        return (added,)
    pruned = (_PRUNE_FACTS, (fact.session_id, fact.seq - kept_facts))
    return (added, pruned)  # now and then: 1 % too many is cheaper than always
