"""One upload by tuspy. Usage: python -P tuspy_upload.py '{"server": URL, "path": FILE, …}'

options: those of its uploader; stop_at: bytes after which to stop; urls: where it remembers the URLs of its
uploads, to go on with the one of this file. Prints the upload's URL and how far it came, as JSON.
"""

from __future__ import annotations

import json
import sys

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

wanted = json.loads(sys.argv[1])
client = TusClient(wanted["server"] + "/files/")
options = wanted["options"]
if "urls" in wanted:
    options |= {"store_url": True, "url_storage": FileStorage(wanted["urls"])}  # type: ignore[no-untyped-call]
uploader = client.uploader(wanted["path"], **options)
began_at = uploader.offset
uploader.upload(wanted.get("stop_at"))
print(json.dumps({"url": uploader.url, "began_at": began_at, "offset": uploader.offset}))
