"""Whose an index is: made here by this user, or brought by a repository.

An index counts as this user's when its manifest has the user's signature, lies in a folder of the user's, and was not
brought by Git. Everything else waits for `tp trust`. `turboprop.index.manifest` asks here for each manifest it reads.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from turboprop.code.gitview import tracks
from turboprop.errors import IndexUntrustedError
from turboprop.settings import user_data_home
from turboprop.settings.trust import is_signed, trusted_file

_MANIFEST = re.compile(r"chunks_[0-9a-f]{16}\.manifest\.json")


def manifest_files(directory: Path) -> list[Path]:
    """The manifests in an index folder, whatever is in them. Raises `IndexUntrustedError` for a link to a folder."""
    if directory.is_symlink():
        raise IndexUntrustedError(
            f"{directory} is a link, and an index folder is none: it did not get there by indexing. Remove it, or "
            "name the folder that you mean with --index DIR"
        )
    return sorted(path for path in directory.glob("*.manifest.json") if _MANIFEST.fullmatch(path.name))


def place_of(path: Path) -> str:
    """The folder of a manifest, whatever links lead to it."""
    return os.path.realpath(path.parent)


def check_owner(directory: Path) -> None:
    """Refuse to write into another user's folder, unless an index there was trusted. Raises `IndexUntrustedError`."""
    if _is_of_another_user(directory) and not any(map(_was_trusted, manifest_files(directory))):
        raise IndexUntrustedError(
            f"the folder {directory} belongs to another user, so no index is made in it. Put yours elsewhere with "
            "--index DIR, or, where there is an index that you want to use, run `tp trust`"
        )


def _is_of_another_user(path: Path) -> bool:
    return hasattr(os, "geteuid") and os.lstat(path).st_uid != os.geteuid()


def _was_trusted(path: Path) -> bool:
    """Whether the user ever trusted what lay there."""
    return trusted_file(user_data_home(), path) is not None


def why_foreign(path: Path, place: str, content: bytes, signature: str) -> str:
    """What shows that a manifest is not of this user and place; empty where nothing does.

    `place` is the folder that it names as its own, `signature` that of `content`.
    """
    if not is_signed(user_data_home(), content, signature):
        return "it came with the repository, or from another machine or user"
    # A folder of someone else's is taken once the user has trusted what lay in it: what we sign there is ours.
    if _is_of_another_user(path) or (_is_of_another_user(path.parent) and not _was_trusted(path)):
        return "it belongs to another user"
    # A repository that was moved takes its index along; one that was cloned with an index in it is someone's word.
    if place != place_of(path) and tracks(str(path.parent), path.name):
        return "it came with the repository, whose Git tracks it"
    return ""
