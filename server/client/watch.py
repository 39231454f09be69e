"""`penstock watch`: what happens in a session, a line an event, until it is over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.server.client.api import open_api
from penstock.server.client.follow import Follower
from penstock.server.client.patience import reach
from penstock.server.client.texts import clean, percent_text, size_text, time_text
from penstock.server.exits import Exit

EXITS = {"completed": Exit.OK, "partial": Exit.FAILED, "failed": Exit.FAILED, "cancelled": Exit.CANCELLED}


async def watch(session: str, url: str, *, as_json: bool, give_up_s: float) -> Exit:
    """Print what happens. Raises: ClientError."""
    show = Objects() if as_json else People()
    async with open_api(url) as api:
        await reach(partial(api.snapshot, session), api.url)
        await Follower(api, session, show.told, give_up_s=give_up_s).run()
    return EXITS.get(show.status, Exit.OK)


class Objects:
    """One JSON object a line. `status`: the session's, as told last."""

    def __init__(self) -> None:
        self.status = ""

    def told(self, event: str, payload: dict[str, Any]) -> None:
        self.status = payload.get("overallStatus", self.status)
        self.show(event, payload)

    def show(self, event: str, payload: dict[str, Any]) -> None:
        print(json.dumps({"event": event, **payload}), flush=True)


class People(Objects):
    """One line an event. Names of files are learnt from the events on the way."""

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, str] = {}
        self._tell: dict[str, Callable[[dict[str, Any]], str]] = {
            "snapshot": self._snapshot,
            "upload-started": lambda told: f"{self._name(told)}: started, {size_text(told['fileSize'])}",
            "upload-progress": self._progress,
            "upload-completed": self._completed,
            "upload-failed": self._failed,
            "upload-cancelled": lambda told: f"{self._name(told)}: cancelled ({clean(told['reason'])})",
            "session-completed": self._session_completed,
            "session-error": lambda told: f"session: {clean(told['error']['message'])}",
        }

    def show(self, event: str, payload: dict[str, Any]) -> None:
        if tell := self._tell.get(event):
            print(f"{time.strftime('%H:%M:%S')}  {tell(payload)}", flush=True)

    def _name(self, told: dict[str, Any]) -> str:
        name = told.get("fileName") or self._names.get(told["fileId"], told["fileId"])
        self._names[told["fileId"]] = name
        return clean(name)

    def _snapshot(self, told: dict[str, Any]) -> str:
        for file in told["files"]:
            self._name(file)
        total = told.get("totalProgress")
        shown = "" if total is None else f", {percent_text(total)}"
        return f"session: {told['overallStatus']}{shown}, {told['filesTotal']} files"

    def _progress(self, told: dict[str, Any]) -> str:
        if told["fileId"] is None:
            return f"session: {told['overallStatus']}, {percent_text(told['totalProgress'])}"
        if current := told.get("currentFile"):
            self._names[told["fileId"]] = current["originalName"]
        parts = [f"{percent_text(told['progress'])} of {size_text(told['totalBytes'])}"]
        if not told["totalBytes"]:
            parts = [size_text(told["uploadedBytes"])]
        if told.get("fact") and current:
            parts.append("goes on" if current["status"] == "uploading" else current["status"])
        elif told["speed"]:
            left = time_text(told["estimatedTimeRemaining"])
            parts.append(f"{size_text(told['speed'])}/s, {left} left")
        return f"{self._name(told)}: {', '.join(parts)}"

    def _completed(self, told: dict[str, Any]) -> str:
        size, took = size_text(told["fileSize"]), time_text(told["duration"])
        return f"{self._name(told)}: completed, {size} in {took}, {told['uploadPath']}"

    def _failed(self, told: dict[str, Any]) -> str:
        outlook = "; it can be continued" if told["canRetry"] else ""
        return f"{self._name(told)}: {clean(told['error']['message'])}{outlook}"

    def _session_completed(self, told: dict[str, Any]) -> str:
        summary = told["summary"]
        uploaded = size_text(summary["uploadedSize"])
        return f"session: {summary['completedFiles']} of {summary['totalFiles']} files uploaded, {uploaded}"
