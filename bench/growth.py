"""Costs that grow with the work: straight lines are wanted."""

from __future__ import annotations

from bench.workload import Workload

WORKLOADS: tuple[type[Workload], ...] = ()
