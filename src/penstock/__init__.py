"""Penstock: a self-hosted, resumable upload gateway with live control."""

__version__ = "0.1.0"
