"""Tests of the native engine are skipped where its kernels cannot run."""

from __future__ import annotations

import pytest

from turboprop.engines.native.library import refusal


@pytest.fixture(autouse=True)
def kernels() -> None:
    """Overridden where a test is about kernels that are missing."""
    if reason := refusal("int8"):
        pytest.skip(reason)
