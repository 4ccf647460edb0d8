"""The engine that `auto` takes on this machine."""

from __future__ import annotations

from turboprop.engines.native.library import refusal

BEST = "numpy" if refusal() else "native"
