"""Makes docs/pictures/upload.svg: a real `penstock upload` in a real terminal (tmux), caught half way.

Run it with the environment of `make setup`, and tmux installed: .venv/bin/python -P docs/pictures/record.py
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).parent / "penstock"
FILES = {"movie.mp4": 900, "照片.zip": 300, "notes.pdf": 12}  # MB: big enough to be caught half way
COLUMNS, ROWS = 100, 7
SESSION = "penstock-picture"
HALF_WAY = re.compile(r"movie\.mp4.* [4-7]\d\.\d% ")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for name, megabytes in FILES.items():
            with (place / name).open("wb") as file:
                file.truncate(megabytes * 1_000_000)
        server = subprocess.Popen(
            [COMMAND, "serve", "--port", "0", "--data-dir", place / "data"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert server.stdout is not None
        url = server.stdout.readline().split()[5]
        try:
            screen = _watch(place, url)
        finally:
            server.terminate()
            server.wait()
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"$ penstock upload {' '.join(FILES)}\n{screen}"))
    picture = console.export_svg(title="penstock upload")
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # a picture fetches nothing
    picture = re.sub(r"<!-- Generated.*?-->", "", picture, flags=re.DOTALL)
    (HERE / "upload.svg").write_text(f"<!-- Made by docs/pictures/record.py -->\n{picture}", encoding="utf-8")


def _watch(place: Path, url: str) -> str:
    call = f"{COMMAND} upload {' '.join(FILES)}"
    environ = ["-e", f"PENSTOCK_URL={url}", "-e", f"XDG_STATE_HOME={place / 'state'}"]
    size = ["-x", str(COLUMNS), "-y", str(ROWS)]
    tmux = ["tmux", "new-session", "-d", "-s", SESSION, "-c", str(place), *size, *environ, call]
    subprocess.run(tmux, check=True)
    try:
        while True:
            time.sleep(0.05)
            capture = ["tmux", "capture-pane", "-p", "-e", "-t", SESSION]
            screen = subprocess.run(capture, check=True, capture_output=True, text=True).stdout
            if HALF_WAY.search(screen):
                return "\n".join(screen.rstrip().splitlines()[-5:])
    finally:
        subprocess.run(["tmux", "kill-session", "-t", SESSION], check=False, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
