"""Where the reference data lies; a test that needs it skips, with the reason, where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REFERENCE = Path(os.environ.get("TP_REFERENCE_DATA") or Path(__file__).parent.parent.parent / "shared" / "data")


def reference(name: str) -> Path:
    """Path of one file or folder of the reference data, or skip the test."""
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"reference data {name} is not beside this checkout (set TP_REFERENCE_DATA)")
    return path
