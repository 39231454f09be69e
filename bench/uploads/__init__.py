"""Workloads of uploads and downloads, in the order of a report."""

from bench.uploads.chunks import Chunks
from bench.uploads.digest import Digest
from bench.uploads.downloads import Downloads
from bench.uploads.fsync import Fsync
from bench.uploads.http2 import Http2
from bench.uploads.many import Many
from bench.uploads.one import One
from bench.uploads.small import Small
from bench.uploads.startup import Startup
from bench.uploads.syncs import Syncs
from bench.workload import Workload

WORKLOADS: tuple[type[Workload], ...] = (
    *(One, Many, Small, Chunks, Digest, Fsync),
    *(Http2, Downloads, Startup, Syncs),
)
