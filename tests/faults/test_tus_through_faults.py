"""A hundred tus uploads at once, every connection of them cut: all arrive, and hardly a byte comes twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from tests.acceptance.content import Content, file_sha256
from tests.acceptance.gateway import Gateway, running
from tests.acceptance.sizes import MIB, full_or, tell
from tests.faults.proxy import Drop, Fin, Proxy, Rst, Stall, proxied, rough
from tests.faults.tus_client import TusClient, api_at
from tests.running import PATIENCE_S

pytestmark = pytest.mark.acceptance

UPLOADS = 100
SMALLEST_BYTES = full_or(MIB // 4, 16 * MIB)
LARGEST_BYTES = full_or(MIB, 64 * MIB)
SHORTEST_BYTES = 100  # a connection's life; the first is cut within its request's head
LONGEST_BYTES = full_or(MIB // 2, 16 * MIB)
LOST_PER_CUT_BYTES = full_or(64 * 1024, 4 * MIB)
SEED = 7


async def test_a_hundred_uploads_arrive_through_a_rough_network(tmp_path: Path) -> None:
    clients: list[TusClient] = []
    async with running(tmp_path) as gateway:
        url = f"http://{gateway.host}:{gateway.port}"
        before = gateway.read_bytes()
        async with proxied(url, rough(SEED, SHORTEST_BYTES, LONGEST_BYTES)) as (proxy, proxy_url):
            with trio.fail_after(full_or(1, 30) * PATIENCE_S):
                async with trio.open_nursery() as nursery:
                    for content in contents():
                        client = TusClient(api_at(proxy_url), content, f"{len(clients)}.bin")
                        clients.append(client)
                        nursery.start_soon(client.upload)
            received_bytes = gateway.read_bytes() - before
        check_network(proxy, clients)
        check_bytes(proxy, clients, received_bytes)
        await check_stored(gateway, clients)


def contents() -> list[Content]:
    dice = random.Random(SEED)
    return [Content(dice.randint(SMALLEST_BYTES, LARGEST_BYTES), seed=number) for number in range(UPLOADS)]


def check_network(proxy: Proxy, clients: list[TusClient]) -> None:
    """It was as bad as it should be."""
    breaks = sum(client.breaks for client in clients)
    faults = {kind.__name__: count for kind, count in proxy.tripped.items()}
    tell(f"{proxy.connections} connections, {breaks} breaks, {faults}")
    assert proxy.cuts > UPLOADS / 2
    assert all(proxy.tripped[kind] > 5 for kind in (Stall, Drop, Fin, Rst))


def check_bytes(proxy: Proxy, clients: list[TusClient], received_bytes: int) -> None:
    """Hardly one came twice. The server's own count lacks what comes in one piece with a request's head."""
    total_bytes = sum(client.content.size for client in clients)
    tell(f"{received_bytes} received, {proxy.sent_up_bytes} sent of {total_bytes}; {proxy.cuts} cuts")
    assert received_bytes > total_bytes * 0.5, "or it was not measured"
    assert received_bytes <= total_bytes * 1.1 + proxy.cuts * LOST_PER_CUT_BYTES
    assert proxy.sent_up_bytes <= total_bytes * 1.1 + proxy.cuts * LOST_PER_CUT_BYTES


async def check_stored(gateway: Gateway, clients: list[TusClient]) -> None:
    """Each file once, whole, and nothing besides."""
    stored = {path.name.rpartition("_")[2]: path for path in (gateway.data / "upload").rglob("*.bin")}
    assert stored.keys() == {client.name for client in clients}
    for client in clients:
        digest = await trio.to_thread.run_sync(file_sha256, stored[client.name])
        assert digest == client.content.sha256(), client.name
    assert len(list((gateway.data / "upload").rglob("*.bin"))) == UPLOADS
    assert list((gateway.data / "incoming").iterdir()) == []
