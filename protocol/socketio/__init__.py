"""Socket.IO v5, the server's side of it: packets, the decoder, and one connection's namespaces. Pure.

Source: socketio/socket.io, docs/socket.io-protocol/v5-current.md; where that is silent, packages/socket.io
and packages/socket.io-parser. A frame is what an Engine.IO message carries; the `4` before it is Engine.IO's.
"""
