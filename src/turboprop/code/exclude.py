"""Which files are not worth an index, told by their names: unmistakable data, and lock files.

The name rules come before any byte is read because the change check of every search applies them to each file. What
may be text as well (`.svg`, `.res`, `.dat`, `.sig`) is not among them: its content decides (`read`).
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a file that the walk met is not indexed. The value is what the user reads."""

    BINARY = "binary"
    MINIFIED = "minified"
    GENERATED = "generated"
    LOCK_FILE = "lock file"
    TOO_LARGE = "too large"
    SYMBOLIC_LINK = "symbolic link"
    SPECIAL_FILE = "not a regular file"
    NESTED_REPOSITORY = "nested repository"
    TOOL_FOLDER = "installed or cached"
    TPIGNORE = ".tpignore"
    EXCLUDED = "excluded by settings"
    UNREADABLE = "unreadable"
    NAME_CLASH = "name clash"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BINARY_EXTENSIONS = _words(
    # images, fonts, sound, video
    ".png .jpg .jpeg .gif .bmp .ico .icns .tif .tiff .webp .avif .heic .psd .xcf .svgz .eps"
    " .ttf .otf .woff .woff2 .eot .mp3 .wav .ogg .flac .m4a .aac .mp4 .mov .avi .mkv .webm .swf"
    # archives and packages
    " .zip .gz .tgz .bz2 .xz .zst .lz4 .7z .rar .tar .jar .war .ear .whl .egg .gem .deb .rpm .dmg .iso"
    " .apk .ipa .nupkg .crate .cab .msi"
    # what compilers write
    " .a .o .so .dylib .dll .exe .ilk .pyc .pyo .pyd .wasm .beam .dex .rlib .rmeta .gmo .elf .uf2"
    # documents and data stores
    " .pdf .docx .xlsx .pptx .odt .ods .odp .epub .sqlite .sqlite3"
    " .parquet .feather .arrow .avro .npy .npz .h5 .hdf5 .rds .rdata .joblib .lance .jks .p12 .pfx"
    # model weights
    " .gguf .ggml .safetensors .onnx .pth .tflite .mlmodel .keras .caffemodel"
)

LOCK_FILES = _words(
    "package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb deno.lock"
    " poetry.lock pdm.lock uv.lock pipfile.lock pixi.lock conda-lock.yml cargo.lock gemfile.lock"
    " composer.lock go.sum go.work.sum mix.lock rebar.lock pubspec.lock podfile.lock cartfile.resolved"
    " package.resolved packages.lock.json paket.lock project.assets.json flake.lock gradle.lockfile"
    " .terraform.lock.hcl stack.yaml.lock cabal.project.freeze manifest.toml.lock shard.lock"
    " chart.lock module.bazel.lock conan.lock vcpkg-lock.json buf.lock"
)


def extension_of(name: str) -> str:
    """The last extension of a file name in lower case, with its dot; '' for none or a dotfile."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def reason_by_name(name: str, extension: str) -> Reason | None:
    """Why a file of this name (without folders) is left out, or None."""
    if extension in BINARY_EXTENSIONS:
        return Reason.BINARY
    if name.lower() in LOCK_FILES:
        return Reason.LOCK_FILE
    return None
