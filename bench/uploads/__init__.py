"""Workloads of uploads and downloads, in the order of a report."""

from bench.uploads.one import One
from bench.workload import Workload

WORKLOADS: tuple[type[Workload], ...] = (One,)
