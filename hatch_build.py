"""Compiles the kernels of the native engine while the package is built.

The compiler is the one that `CC` names, else `cc`, else Zig's, which comes as the package `ziglang` and is asked for
where there is no other. A package without kernels can be installed, too. With `TP_WHEEL_PLATFORM` a wheel for another
platform is built (`scripts/wheels`), and everything must succeed. With `TP_PROJECT_URL`, the address of the repository
that a release is made from, the package names it, and the links of its README lead there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

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
ZIG_NAMES = {"-march=armv8.2-a+dotprod": "-mcpu=generic+v8_2a+dotprod"}
"""Flags that Zig has in another form."""
ANYWHERE = ("support.c",)
"""Compiled for any processor: it says whether the others can run."""


ZIGLANG = "ziglang>=0.17,<0.18"
"""A C compiler for any platform as a Python package of 90 MB."""
WHEELS = {
    "manylinux2014_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux2014_aarch64": "aarch64-linux-gnu.2.17",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
    "macosx_11_0_x86_64": "x86_64-macos.11.0",
    "macosx_11_0_arm64": "aarch64-macos.11.0",
    "win_amd64": "x86_64-windows-gnu",
}
"""The platforms of a release's wheels as Python names them, and as Zig does."""


def compile_kernels(folder: Path, to: Path | None = None, target: str = "") -> dict[str, str]:
    """Compile `folder`/*.c into kernels-SET.so (.dll for Windows) in `to`, or beside them.

    For the platform `target`, a value of `WHEELS`, or this one. Returns for each set why it could not; empty where it
    did. A compiler that does not know the flags of a set leaves that one out. Sets of other processors are not among
    them.
    """
    here = PROCESSORS.get(target.partition("-")[0] or platform.machine().lower(), ("plain",))
    compiler, reason = _compiler(target)
    suffix = ".dll" if "windows" in (target or _this_platform()) else ".so"
    reasons = {}
    for name in [name for name in SETS if name in here]:
        library = (to or folder) / f"kernels-{name}{suffix}"
        reasons[name] = reason or _compile_set(folder, name, compiler, library)
        if reasons[name]:
            with contextlib.suppress(OSError):
                library.unlink()  # one of another version
    return reasons


def _this_platform() -> str:
    """The platform that this is, as Zig names it; empty where Zig is not for it."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    # Other than without a name, a library for it runs on any processor of the kind, and with any glibc since 2012.
    linux = "linux-gnu.2.17" if platform.libc_ver()[0] == "glibc" else "linux-musl"
    system = {"linux": linux, "darwin": "macos", "win32": "windows-gnu"}.get(sys.platform)
    return f"{machine}-{system}" if system and machine in PROCESSORS else ""


def _own_compiler() -> list[str]:
    """The compiler that this machine has; none where it has none."""
    # GCC for Windows keeps AVX registers at addresses that are not aligned for them (its bug 54412).
    usual = ["cc"] if shutil.which("cc") and sys.platform != "win32" else []
    return shlex.split(os.environ.get("CC", ""), posix=sys.platform != "win32") or usual


def _compiler(target: str) -> tuple[list[str], str]:
    """The compiler, and why there is none; empty where there is one."""
    own = [] if target else _own_compiler()
    if own:
        return own, "" if shutil.which(own[0]) else f"there is no C compiler ({own[0]})"
    if not (target or _this_platform()):
        return [], "there is no C compiler (cc)"
    if importlib.util.find_spec("ziglang") is None:
        return [], "there is no C compiler (cc), and the package ziglang could not be had in its place"
    return [sys.executable, "-m", "ziglang", "cc", "-target", target or _this_platform()], ""


def _can_be_had(package: str) -> bool:
    """Whether the package index has a package for this machine, as far as pip can be asked.

    A requirement of the build that cannot be had would end the installation.
    """
    # -I: the environment that the build is isolated in has no pip, the one that it is isolated from may have.
    pip = [sys.executable, "-I", "-m", "pip"]
    if _run([*pip, "--version"]):
        return True
    return not _run([*pip, "--retries=0", "--timeout=10", "index", "versions", package])


def _compile_set(folder: Path, name: str, compiler: list[str], target: Path) -> str:
    define, *instructions = SETS[name]
    link = ["-pthread", "-lm"]
    if "ziglang" in compiler:
        instructions = [ZIG_NAMES.get(flag, flag) for flag in instructions]
        # Zig's name of musl is not the one that `auditwheel` knows; and it is in the process before this library is.
        link = ["-s", "-nostdlib"] if "musl" in compiler[-1] else ["-s", *link]
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        for source in sorted(folder.glob("*.c")):
            objects.append(str(Path(scratch) / f"{source.stem}.o"))
            wide = [] if source.name in ANYWHERE else instructions
            command = [*compiler, *FLAGS, define, *wide, "-c", str(source), "-o", objects[-1]]
            if reason := _run(command):
                return reason
        library = str(Path(scratch) / target.name)  # Windows has it inside, too
        if reason := _run([*compiler, "-shared", "-o", library, *objects, *link]):
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
    def dependencies(self) -> list[str]:
        if self.target_name != "wheel":
            return []
        if os.environ.get("TP_WHEEL_PLATFORM"):
            return [ZIGLANG]
        return [ZIGLANG] if not _own_compiler() and _this_platform() and _can_be_had("ziglang") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        wanted = os.environ.get("TP_WHEEL_PLATFORM", "")
        if wanted and wanted not in WHEELS:
            raise ValueError(f"TP_WHEEL_PLATFORM is {wanted}; known are {', '.join(WHEELS)}")
        sources = Path(self.root) / FOLDER
        # A wheel takes nothing from the sources' folder, where those of an editable installation are.
        self.built = tempfile.TemporaryDirectory()
        to = sources if version == "editable" else Path(self.built.name)
        reasons = compile_kernels(sources, to, WHEELS.get(wanted, ""))
        for reason in dict.fromkeys(filter(None, reasons.values())):
            names = ", ".join(name for name, other in reasons.items() if other == reason)
            if wanted:
                self.built.cleanup()
                raise RuntimeError(f"{wanted} without {names}: {reason}")
            self.app.display_warning(f"the native engine without {names}: {reason}")
        made = [path for path in to.glob("kernels-*") if path.suffix in (".so", ".dll")]
        if not made:
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{wanted or sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        inside = FOLDER.relative_to("src").as_posix()
        build_data["force_include"] |= {str(path): f"{inside}/{path.name}" for path in made}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        if self.target_name == "wheel":
            self.built.cleanup()


class Metadata(MetadataHookInterface):
    """What depends on where a release is made: the project's addresses, and the README with links that lead there."""

    def update(self, metadata: dict[str, Any]) -> None:
        address = os.environ.get("TP_PROJECT_URL", "").rstrip("/")
        text = (Path(self.root) / "README.md").read_text("utf-8")
        if address:
            text = absolute_links(text, address, f"v{project_version(Path(self.root))}")
            metadata["urls"] = {
                "Homepage": address,
                "Documentation": f"{address}/tree/HEAD/docs",
                "Changelog": f"{address}/blob/HEAD/CHANGELOG.md",
                "Issues": f"{address}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def project_version(root: Path) -> str:
    """The version that pyproject.toml states."""
    return str(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def absolute_links(text: str, address: str, tag: str) -> str:
    """Markdown whose relative links and pictures lead to the file at a tag of the repository at `address`."""

    def absolute(match: re.Match[str]) -> str:
        opening, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        kind = "raw" if opening.startswith("!") else "tree" if target.endswith("/") else "blob"
        return f"{opening}{address}/{kind}/{tag}/{target}"

    # The text of a link has no line of its own, and code between backticks has no `](`.
    return re.sub(r"(!?\[[^\]]*\]\()([^)\s]+)", absolute, text)
