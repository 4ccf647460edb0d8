"""The HTTP library that the installed huggingface_hub speaks through: httpx2 since its version 2, httpx before.

fastembed keeps huggingface_hub below 2, so both are in use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2 as httpx
else:
    import huggingface_hub

    httpx = import_module("httpx" if huggingface_hub.__version__.startswith("1.") else "httpx2")

__all__ = ["httpx"]
