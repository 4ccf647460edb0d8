"""Which llama.cpp the tests of its engine run: the package, or the llama-server that `TP_LLAMA_SERVER` names."""

from __future__ import annotations

import os
from pathlib import Path

PROGRAM = Path(os.environ["TP_LLAMA_SERVER"]) if os.environ.get("TP_LLAMA_SERVER") else None
PROGRAMS = {"llamacpp": PROGRAM} if PROGRAM else {}
