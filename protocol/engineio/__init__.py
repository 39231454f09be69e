"""Engine.IO v4, the server's side of it: packets, the handshake, and one session as a state machine. Pure.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md; where that is silent, packages/engine.io.
"""
