"""The benchmark suite: Penstock and its peers at the same work, side by side in one run.

`python -P -m bench --help` says how; `docs/performance.md` says what the figures mean.
"""
