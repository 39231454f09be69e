"""Servers that are only watched; ours is among the contestants of uploads."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.contestants import SERVERS, Contestant
from bench.peers import NodePeer, PythonPeer

WORKLOADS = ("fanout", "fanout-many", "idle", "storm", "growth-watchers", "growth-connections")


class FrameWriter(Contestant):
    """A bare loop over sockets."""

    name = "frame-writer"
    only = WORKLOADS

    def command(self, directory: Path) -> list[str]:
        return [sys.executable, "-P", str(SERVERS / "frame_writer.py")]


class SocketioNode(NodePeer):
    """socket.io with a room per session."""

    name = "socketio-node"
    place = SERVERS / "socketio_node"
    packages = ("socket.io",)
    only = WORKLOADS


class SocketioPython(PythonPeer):
    """The AsyncServer of python-socketio on uvicorn, with uvloop and httptools."""

    name = "socketio-python"
    place = SERVERS / "socketio_python"
    packages = ("python-socketio", "uvicorn", "websockets", "uvloop")
    only = WORKLOADS


PEERS: tuple[Contestant, ...] = (FrameWriter(), SocketioNode(), SocketioPython())
