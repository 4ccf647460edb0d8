"""All that is kept for a user beside models and indexes: is it what was written, and how it is mended.

Kept vectors, converted models, remembered hashes, the records of downloads and imports, and what is trusted. Each can
be made again, so all but the vectors are mended by removing what is damaged; of the vectors the sound ones are saved.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from turboprop.embed.cache import FILE
from turboprop.embed.cache_health import examine_vectors, mend_vectors
from turboprop.engines.graph_cache import examine_converted
from turboprop.files import remove_any
from turboprop.models.store.faults import examine_models
from turboprop.settings.records import examine_leftovers
from turboprop.settings.trust import examine_trust

if TYPE_CHECKING:
    from turboprop.settings import Settings
    from turboprop.types import CacheFault


def examine_caches(settings: Settings) -> list[CacheFault]:
    """Everything that is wrong, which is not changed. Reads every byte of it: a second for about a gigabyte."""
    return [
        *examine_vectors(settings.cache_home / FILE),
        *examine_leftovers(settings.cache_home),
        *_made_again(settings),
    ]


def mend_caches(settings: Settings) -> None:
    """Remove or make anew what is damaged. Look again afterwards: what may not be written stays as it is.

    Raises `StorageError` where the sound vectors cannot be saved.
    """
    for fault in [*examine_leftovers(settings.cache_home), *_made_again(settings)]:
        with contextlib.suppress(OSError):
            remove_any(fault.path)
    mend_vectors(settings.cache_home / FILE)


def _made_again(settings: Settings) -> list[CacheFault]:
    return [
        *examine_converted(settings.cache_home),
        *examine_models(settings),
        *examine_trust(settings.data_home),
        *examine_leftovers(settings.data_home),
    ]
