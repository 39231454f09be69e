"""Penstock's own controls, for lines that no other server has a way to check."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from tests.conformance.wire import Target

SESSIONS = "/api/upload/sessions"
FILE = "film"  # the id of its only file


class Session:
    """A session with one file, which uploads may join."""

    def __init__(self, target: Target, session_id: str) -> None:
        self._target = target
        self.id = session_id

    @classmethod
    async def made(cls, target: Target, size: int) -> Session:
        wanted = {"files": [{"fileName": "film.mp4", "fileId": FILE, "fileSize": size}]}
        return cls(target, (await _call(target, SESSIONS, wanted))["sessionId"])

    @property
    def metadata(self) -> tuple[str, str]:
        """What makes a tus upload the file of this session."""
        pairs = {"sessionId": self.id, "fileId": FILE}
        values = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in pairs.items())
        return ("Upload-Metadata", values)

    async def command(self, name: str) -> None:
        """upload-pause, upload-resume or upload-cancel; answered when it is done."""
        await _call(self._target, f"{SESSIONS}/{self.id}/commands", {"type": name, "fileId": FILE})

    async def file(self) -> dict[str, Any]:
        """What watchers know of it."""
        answer = await self._target.ask("GET", f"{SESSIONS}/{self.id}")
        assert answer.status == 200, answer
        file: dict[str, Any] = json.loads(answer.body)["files"][0]
        return file


async def _call(target: Target, path: str, value: object) -> dict[str, Any]:
    answer = await target.ask("POST", path, [], json.dumps(value).encode())
    assert answer.ok, answer
    result: dict[str, Any] = json.loads(answer.body)
    return result
