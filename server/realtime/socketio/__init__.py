"""Socket.IO v5 on Engine.IO: namespaces whose events are handled by registered functions."""
