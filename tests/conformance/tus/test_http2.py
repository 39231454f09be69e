"""The same over HTTP/2: streams end alone, refusals can be read, the connection lives on."""

from __future__ import annotations

import pytest

from tests.conformance.http2 import http2_to, open_request, reset
from tests.conformance.lines import tus as line
from tests.conformance.tus.client import OCTET, Tus, content

BODY = content(200_000)
SENT = 60_000  # within the first window of a stream
AT_START = ("Upload-Offset", "0")
VERSION = ("Tus-Resumable", "1.0.0")
LENGTH = ("Content-Length", str(len(BODY)))


@line("P7", "S")
async def test_tus_P7_what_arrived_of_a_reset_stream_is_kept(tus: Tus) -> None:
    upload = await tus.create(len(BODY))
    async with http2_to(tus.target) as client:
        fields = [VERSION, OCTET, AT_START, LENGTH]
        stream = await open_request(client, tus.target, "PATCH", upload.path, fields, end=False)
        await client.send_body(stream, BODY[:SENT], end=False)
        await client.ping()
        await reset(client, stream)
        await client.ping()
    await upload.until_offset(SENT)
    await upload.finish(BODY)


REFUSALS = {
    "wrong offset": ([VERSION, OCTET, ("Upload-Offset", "7")], 409),
    "wrong type": ([VERSION, ("Content-Type", "text/plain"), AT_START], 415),
    "wrong version": ([("Tus-Resumable", "0.2.2"), OCTET, AT_START], 412),
}


@line("P14", "U")
@pytest.mark.parametrize("case", REFUSALS)
async def test_tus_P14_an_early_refusal_can_be_read_on_http2(tus: Tus, case: str) -> None:
    fields, status = REFUSALS[case]
    upload = await tus.create(len(BODY))
    async with http2_to(tus.target) as client:
        for _ in range(10):  # together more than a connection's first window
            stream = await open_request(client, tus.target, "PATCH", upload.path, fields, end=False)
            await client.send_body(stream, BODY)
            assert (await client.answer(stream)).status == status
        fields = [VERSION, OCTET, AT_START]
        stream = await open_request(client, tus.target, "PATCH", upload.path, fields, end=False)
        await client.send_body(stream, BODY)
        answer = await client.answer(stream)
    assert answer.status == 204
    await upload.check_content(BODY)
