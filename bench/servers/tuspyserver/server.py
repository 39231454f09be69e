"""tuspyserver on FastAPI and uvicorn (with uvloop and httptools) as its documentation shows it.

Usage: python server.py DIRECTORY [--max-file-bytes N]
"""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import uvicorn  # type: ignore[import-not-found]  # only in an environment of its own
from fastapi import FastAPI  # type: ignore[import-not-found]  # the same
from fastapi.middleware.cors import CORSMiddleware  # type: ignore[import-not-found]  # the same
from tuspyserver import create_tus_router  # type: ignore[import-not-found]  # the same

EXPOSED = [
    *("Location", "Upload-Offset", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size"),
    *("Upload-Expires", "Upload-Length"),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--max-file-bytes", type=int, default=128_849_018_880)
    wanted = parser.parse_args()

    app = FastAPI()
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=EXPOSED,
    )
    app.include_router(
        create_tus_router(files_dir=str(wanted.directory / "files"), max_size=wanted.max_file_bytes)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"ready at http://127.0.0.1:{listener.getsockname()[1]}/files/", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
