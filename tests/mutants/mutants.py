"""Bugs on purpose, and the test that finds each: a suite that lets one live is blind there."""

from __future__ import annotations

from tests.mutants import in_appends, in_fast_paths, in_storage, in_uploads
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *in_storage.MUTANTS,
    *in_appends.MUTANTS,
    *in_uploads.MUTANTS,
    *in_fast_paths.MUTANTS,
)
