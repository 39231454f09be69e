"""Measurements: uploads through Penstock, through express + multer, and through a bare socket loop.

`python -P -m bench --help` says how; `docs/performance.md` says what the figures mean.
"""
