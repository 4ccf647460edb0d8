"""Compiles the kernels of the native engine while the package is built, where a C compiler is at hand."""

from __future__ import annotations

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
FLAGS = ["-O3", "-std=c11", "-D_GNU_SOURCE", "-fPIC", "-pthread"]
WIDE = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mfma", "-mf16c"]
ANYWHERE = ("support.c",)
"""Compiled for any processor: it says whether the others can run."""


def compile_kernels(folder: Path) -> str:
    """Compile `folder`/*.c into kernels.so beside them. Returns why it could not; empty where it did."""
    if platform.machine().lower() not in ("x86_64", "amd64") or sys.platform == "win32":
        return "the kernels are for x86-64 on Linux and macOS"
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(compiler[0]) is None:
        return f"there is no C compiler ({compiler[0]})"
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        for source in sorted(folder.glob("*.c")):
            objects.append(str(Path(scratch) / f"{source.stem}.o"))
            wide = [] if source.name in ANYWHERE else WIDE
            command = [*compiler, *FLAGS, *wide, "-c", str(source), "-o", objects[-1]]
            if reason := _run(command):
                return reason
        library = str(Path(scratch) / "kernels.so")
        if reason := _run([*compiler, "-shared", "-pthread", "-o", library, *objects, "-lm"]):
            return reason
        target = folder / "kernels.so"
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
        if reason := compile_kernels(Path(self.root) / FOLDER):
            self.app.display_warning(f"without the native engine: {reason}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append(str(FOLDER / "kernels.so"))
