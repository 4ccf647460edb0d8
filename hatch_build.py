"""Compiles the kernels of the native engine while the package is built, where a C compiler is at hand."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("src/turboprop/engines/native/kernels")
FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-D_GNU_SOURCE", "-fPIC", "-pthread"]
"""Clang joins products and sums unless told not to: results would differ from GCC's in their last bit."""
SETS = {
    "avx512": ["-DKERNELS_AVX512", *(f"-mavx512{part}" for part in ("f", "bw", "dq", "vl", "vnni")), "-mfma", "-mf16c"],
    "avxvnni": ["-DKERNELS_AVXVNNI", "-mavx2", "-mfma", "-mf16c", "-mavxvnni"],
    "avx2": ["-DKERNELS_AVX2", "-mavx2", "-mfma", "-mf16c"],
    # GCC's scheduling before it chooses registers, off on x86, takes 2.9 times as many reads and writes of memory here.
    "dotprod": ["-DKERNELS_DOTPROD", "-march=armv8.2-a+dotprod", "-fno-schedule-insns"],
    "plain": ["-DKERNELS_PLAIN"],
}
"""The instruction sets that the same sources are compiled for, each into a library of its own."""
PROCESSORS = {
    "x86_64": ("avx512", "avxvnni", "avx2", "plain"),
    "amd64": ("avx512", "avxvnni", "avx2", "plain"),
    "aarch64": ("dotprod", "plain"),
    "arm64": ("dotprod", "plain"),
}
"""Those that a processor may have, by the names that systems give it."""
ANYWHERE = ("support.c",)
"""Compiled for any processor: it says whether the others can run."""


def compile_kernels(folder: Path) -> dict[str, str]:
    """Compile `folder`/*.c into kernels-SET.so beside them. Returns for each set why it could not; empty where it did.

    A compiler that does not know the flags of a set leaves that one out. Sets of other processors are not among them.
    """
    reason = ""
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    here = PROCESSORS.get(platform.machine().lower(), ())
    if not here or sys.platform == "win32":
        reason = "the kernels are for x86-64 and 64-bit ARM on Linux and macOS"
    elif shutil.which(compiler[0]) is None:
        reason = f"there is no C compiler ({compiler[0]})"
    reasons = {}
    for name in [name for name in SETS if name in here or not here]:
        target = folder / f"kernels-{name}.so"
        reasons[name] = reason or _compile_set(folder, name, compiler, target)
        if reasons[name]:
            with contextlib.suppress(OSError):
                target.unlink()  # one of another version
    return reasons


def _compile_set(folder: Path, name: str, compiler: list[str], target: Path) -> str:
    define, *instructions = SETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        for source in sorted(folder.glob("*.c")):
            objects.append(str(Path(scratch) / f"{source.stem}.o"))
            wide = [] if source.name in ANYWHERE else instructions
            command = [*compiler, *FLAGS, define, *wide, "-c", str(source), "-o", objects[-1]]
            if reason := _run(command):
                return reason
        library = str(Path(scratch) / "kernels.so")
        if reason := _run([*compiler, "-shared", "-pthread", "-o", library, *objects, "-lm"]):
            return reason
        try:
            shutil.copyfile(library, target.with_suffix(".new"))
            target.with_suffix(".new").replace(target)  # a process that has the old one mapped keeps it
        except OSError as error:
            return str(error)
    return ""


def _run(command: list[str]) -> str:
    """Why a command failed; empty where it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        return str(error)
    return (done.stderr.strip() or f"{command[0]} ended with {done.returncode}") if done.returncode else ""


class KernelHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if self.target_name != "wheel":
            return
        reasons = compile_kernels(Path(self.root) / FOLDER)
        made = [name for name, reason in reasons.items() if not reason]
        for reason in dict.fromkeys(filter(None, reasons.values())):
            names = ", ".join(name for name, other in reasons.items() if other == reason)
            self.app.display_warning(f"the native engine without {names}: {reason}")
        if not made:
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"] += [str(FOLDER / f"kernels-{name}.so") for name in made]
