"""What clients and watchers are told when a store is in trouble."""

from __future__ import annotations

import structlog

from penstock.protocol.errors import GatewayError, InsufficientStorage, ServerError, UploadLocked
from penstock.storage.errors import BlobFault, StoreError, StoreFull

RETRY_AFTER_S = 5  # troubles of a disk take as long as they take: come back, but not at once

log = structlog.get_logger()


class Torn(ServerError):
    """Bytes that were promised are gone: the file fails, nothing is papered over."""


def told(trouble: StoreError) -> GatewayError:
    """The store's own words name blobs, and so upload URLs: for the log only."""
    log.warning("store-trouble", reason=str(trouble))
    if isinstance(trouble, StoreFull):
        return InsufficientStorage("the disk is full; free some space, then resume")
    if isinstance(trouble, BlobFault):
        return Torn("stored bytes are damaged")
    return ServerError("the storage is in trouble; try again later")


def offset_unknown(trouble: StoreError) -> UploadLocked:
    """For who asks for an offset: the upload is there, and clients take a 5xx for the end of it."""
    log.warning("store-trouble", reason=str(trouble))
    return UploadLocked(
        "the storage is in trouble; ask again in a moment", headers={"Retry-After": str(RETRY_AFTER_S)}
    )


def known(error: BaseException) -> GatewayError | None:
    """An error as clients are told of it; None: it is not one that anybody has foreseen."""
    if isinstance(error, StoreError):
        return told(error)
    return error if isinstance(error, GatewayError) else None
