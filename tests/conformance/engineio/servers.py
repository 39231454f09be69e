"""Which servers the suites of Engine.IO and Socket.IO talk to: all are `penstock serve --conformance`."""

from __future__ import annotations

# No ping comes in a test's time: what ends a session here is not its heartbeat.
STEADY = ("--conformance", "--ping-interval", "60s", "--ping-timeout", "60s")
QUICK_INTERVAL_S, QUICK_TIMEOUT_S = 0.3, 0.2  # those of the official suites
QUICK = ("--conformance", "--ping-interval", "300ms", "--ping-timeout", "200ms")
IMPATIENT = (
    "--conformance",
    "--upgrade-timeout",
    "200ms",
    "--connect-timeout",
    "200ms",
)  # defaults otherwise
