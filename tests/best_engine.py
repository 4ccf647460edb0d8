"""The engine that `auto` takes for int8 weights on this machine."""

from __future__ import annotations

from turboprop.engines.native.library import refusal

BEST = "openvino" if refusal("int8") else "native"
