"""An event of ours, for the peers to emit: the same fields, the same size."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.protocol.events import CurrentFile, UploadProgress

FILE_ID = "watched"
FILE_NAME = "watched.bin"
FILE_BYTES = 2**20

# As a resume tells it. No number ends with `.0`, which JavaScript does not write.
LIKE_OURS: dict[str, Any] = msgspec.to_builtins(
    UploadProgress(
        session_id="cd586d23-1018-4226-80c1-46f566abf069",
        seq=10,
        epoch="1bd0313c520f9b12",
        file_id=FILE_ID,
        progress=0.5,
        speed=0.5,
        uploaded_bytes=0,
        total_bytes=FILE_BYTES,
        estimated_time_remaining=-1.5,
        timestamp="2026-11-29T22:24:21.650Z",
        overall_status="pending",
        total_progress=0.5,
        completed_files=0,
        failed_files=0,
        current_file=CurrentFile(FILE_ID, FILE_NAME, 0.5, "uploading", 0.5),
        message="Upload resumed",
        durable_bytes=0,
        attempt=1,
        fact=True,
    )
)
