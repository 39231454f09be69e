"""The page at `/`: that Penstock runs, and how to upload from a command line. Needs nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import shlex
from html import escape
from string import Template

import penstock

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1f24;background:#fff}pre{background:#f2f4f6;padding:.8rem;overflow-x:auto;border-radius:.4rem}"
    "h1{font-size:1.5rem}@media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#15181b}"
    "pre{background:#22272c}a{color:#8ab8ff}}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

_PAGE = Template(
    """<!doctype html>
<html lang="$lang">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Penstock</title>
<style>$style</style>
<h1>Penstock</h1>
<p>$running</p>
<h2>$upload</h2>
<pre>$commands</pre>
<p>$resume</p>
<pre>$resume_commands</pre>
<p><a href="/api/upload/limits">$limits</a> · <a href="/readyz">$ready</a></p>
</html>
"""
)

_TEXTS = {
    "en": {
        "running": "Version {version} is running.",
        "upload": "Upload a file",
        "resume": "Broken off? Ask how far it got, and send the rest:",
        "limits": "Limits",
        "ready": "State",
    },
    "zh": {
        "running": "Penstock {version} 正在运行。",
        "upload": "上传文件",
        "resume": "传输中断？先查询已保存的字节数，再发送剩余部分：",
        "limits": "限制",
        "ready": "状态",
    },
}

_COMMANDS = """GATEWAY={url}
FILE=movie.mp4
URL=$GATEWAY$(curl -s $GATEWAY/api/upload/sessions -d '{{"files": [{{"fileName": "'$FILE'"}}]}}' |
  sed 's/.*"uploadUrl":"\\([^"]*\\)".*/\\1/')
curl -T $FILE $URL"""

_RESUME = """SIZE=$(wc -c < $FILE | tr -d ' ')
OFFSET=$(curl -sI $URL | grep -i '^upload-offset:' | tr -dc 0-9)
tail -c +$((OFFSET + 1)) $FILE |
  curl -T - -H "Content-Range: bytes $OFFSET-$((SIZE - 1))/$SIZE" $URL"""


def status_page(url: str, language: str) -> str:
    """`url` is how the gateway is reached, without a slash at its end."""
    texts = {key: escape(text.format(version=penstock.__version__)) for key, text in _TEXTS[language].items()}
    return _PAGE.substitute(
        texts,
        lang=language,
        style=_STYLE,
        commands=escape(_COMMANDS.format(url=shlex.quote(url))),
        resume_commands=escape(_RESUME),
    )
