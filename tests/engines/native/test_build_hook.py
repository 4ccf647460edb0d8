"""What the build asks the package index for, and the wheels it makes for other platforms."""

from __future__ import annotations

import importlib.util
import platform
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engines.native.conftest import PROJECT

NEEDS_ZIG = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")


@pytest.fixture(autouse=True)
def kernels() -> None:
    """The build is the same where the kernels cannot run."""


@pytest.fixture
def hook(build_hook: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hook for a wheel, on a machine without a compiler and with an index that has everything."""
    monkeypatch.delenv("TP_WHEEL_PLATFORM", raising=False)
    monkeypatch.setenv("CC", "")
    monkeypatch.setattr(build_hook.shutil, "which", lambda name: None)
    monkeypatch.setattr(build_hook, "_can_be_had", lambda package: True)

    class OfAWheel(build_hook.KernelHook):  # type: ignore[misc]
        target_name, root = "wheel", str(PROJECT)

    return OfAWheel(str(PROJECT), {}, None, None, str(PROJECT), "wheel")


def test_zig_is_asked_for_where_there_is_no_compiler(hook: Any, build_hook: Any) -> None:
    assert hook.dependencies() == [build_hook.ZIGLANG]


def test_nothing_is_asked_for_where_there_is_one(hook: Any, build_hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_hook.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert hook.dependencies() == []
    monkeypatch.setattr(sys, "platform", "win32")  # the usual compiler miscompiles the kernels there
    assert hook.dependencies() == [build_hook.ZIGLANG]
    monkeypatch.setenv("CC", "clang")
    assert hook.dependencies() == []


def test_nothing_is_asked_for_that_would_end_the_installation(
    hook: Any, build_hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_hook, "_can_be_had", lambda package: False)
    assert hook.dependencies() == []
    monkeypatch.setattr(build_hook, "_can_be_had", lambda package: True)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert hook.dependencies() == []


def test_a_source_archive_needs_no_compiler(hook: Any) -> None:
    hook.target_name = "sdist"
    assert hook.dependencies() == []


def test_an_index_that_is_not_there(build_hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if build_hook._run([sys.executable, "-I", "-m", "pip", "--version"]):
        pytest.skip("there is no pip")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert not build_hook._can_be_had("ziglang")


def test_a_release_takes_the_zig_that_an_installation_takes(build_hook: Any) -> None:
    groups = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    assert build_hook.ZIGLANG in groups["wheels"]


def test_an_unknown_platform(hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TP_WHEEL_PLATFORM", "manylinux2014_riscv64")
    with pytest.raises(ValueError, match="known are manylinux2014_x86_64"):
        hook.initialize("standard", {})


def test_a_release_without_a_compiler_is_none(hook: Any, build_hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TP_WHEEL_PLATFORM", "win_amd64")
    monkeypatch.setattr(build_hook.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="win_amd64 without avx512, avxvnni, avx2, plain: there is no C compiler"):
        hook.initialize("standard", {})


@NEEDS_ZIG
def test_a_wheel_for_another_platform(
    hook: Any, build_hook: Any, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TP_WHEEL_PLATFORM", "macosx_11_0_arm64")
    before = sorted((PROJECT / build_hook.FOLDER).iterdir())
    data: dict[str, Any] = {"force_include": {}}
    hook.initialize("standard", data)
    (built, inside), *others = data["force_include"].items()
    assert not others
    assert inside == "turboprop/engines/native/kernels/kernels-dotprod.so"
    assert Path(built).read_bytes()[:4] == b"\xcf\xfa\xed\xfe"  # Mach-O of 64 bits
    assert data["tag"] == "py3-none-macosx_11_0_arm64"
    hook.finalize("standard", data, "")
    assert not Path(built).exists()
    assert sorted((PROJECT / build_hook.FOLDER).iterdir()) == before
