"""Runs tests with kernels that the address and undefined-behaviour sanitizers of the C compiler watch.

    python tests/fuzz/sanitized.py [--set avx2] [pytest's options and files]

Without files, the tests of single kernels and all hostile variants of the real models. It needs GCC with libasan.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import shlex
import subprocess
import sys
import tempfile
import types
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROJECT = Path(__file__).parents[2]
_WATCH = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g"]
_FILES = [
    f"tests/engines/native/test_{name}.py" for name in ("attention", "product", "rows", "program", "hostile_models")
]
"""The others take long where the sanitizers are loaded, and run the same kernels."""


def _build_hook() -> types.ModuleType:
    """`hatch_build.py`."""
    spec = importlib.util.spec_from_file_location("hatch_build", PROJECT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_watched(folder: Path, name: str) -> Path:
    """The kernels of one instruction set with the sanitizers, in `folder`."""
    hook = _build_hook()
    define, *instructions = hook.SETS[name]
    target = folder / f"kernels-{name}.so"
    sources = sorted(str(path) for path in (PROJECT / hook.FOLDER).glob("*.c"))
    flags = [flag for flag in hook.FLAGS if flag != "-O3"]
    subprocess.run(
        ["gcc", *flags, "-O1", *_WATCH, define, *instructions, "-shared", "-o", str(target), *sources, "-lm"],
        check=True,
    )
    return target


def _library(name: str) -> str:
    found = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def _watched_bytes(count: int, kind: Any) -> NDArray[Any]:
    """Zeros at a line of the cache that end, but for the rest of that line, where a page begins that none may touch.

    The sanitizers know nothing of memory from `mmap`, and do not look at loads under a mask.
    """
    kind = np.dtype(kind)
    size = -(-count * kind.itemsize // 64) * 64
    pages = -(-max(1, size) // mmap.PAGESIZE) * mmap.PAGESIZE
    mapped = mmap.mmap(-1, pages + mmap.PAGESIZE)
    begin = np.frombuffer(mapped, np.uint8).ctypes.data
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(begin + pages), mmap.PAGESIZE, 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    return np.frombuffer(mapped, kind, count, pages - size)


def _watch_memory() -> None:
    """Let the kernels work in memory that is watched."""
    from turboprop.engines.native import program, weights

    program.aligned = _watched_bytes
    opened = weights.MappedWeights.__init__

    def copied(self: Any, folder: Path) -> None:
        opened(self, folder)
        copy = _watched_bytes(len(self._bytes), np.uint8)
        copy[:] = self._bytes
        self._bytes = copy

    weights.MappedWeights.__init__ = copied  # type: ignore[method-assign]


def _run(library: str, arguments: list[str]) -> int:
    """In the process that the sanitizers were loaded into."""
    import pytest

    from turboprop.engines.native import library as kernels

    installed, load = kernels.LIBRARIES, kernels._load.__wrapped__
    # Tests of each instruction set put other libraries there, which `CC` lets be compiled in the same way.
    kernels._load = cache(lambda: kernels.load_one(Path(library)) if kernels.LIBRARIES is installed else load())
    if reason := kernels.refusal():
        raise SystemExit(f"the kernels do not run here: {reason}")
    ctypes.CDLL(None).__asan_init  # noqa: B018  missing where they do not watch
    _watch_memory()
    return int(pytest.main(["-q", "-p", "no:cacheprovider", *arguments]))


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--within"]:
        raise SystemExit(_run(arguments[1], arguments[2:]))
    chosen = "avx2"
    if arguments[:1] == ["--set"]:
        chosen, arguments = arguments[1], arguments[2:]
    if not any(not argument.startswith("-") for argument in arguments):
        arguments += _FILES
    with tempfile.TemporaryDirectory() as folder:
        target = compile_watched(Path(folder), chosen)
        watched = {
            # Without libstdc++ beside it the sanitizer finds no way to pass C++'s exceptions on, and ends.
            "LD_PRELOAD": ":".join(_library(name) for name in ("libasan.so", "libubsan.so", "libstdc++.so.6")),
            "CC": shlex.join(["gcc", *_WATCH]),
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            "TP_HOSTILE_VARIANTS": "100000",
            **{key: os.environ[key] for key in ("TP_HOSTILE_VARIANTS",) if key in os.environ},
        }
        command = [sys.executable, __file__, "--within", str(target), *arguments]
        raise SystemExit(subprocess.run(command, env={**os.environ, **watched}, cwd=PROJECT, check=False).returncode)


if __name__ == "__main__":
    main()
