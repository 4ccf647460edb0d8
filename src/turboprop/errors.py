"""The tree of errors that TurboProp raises; every message names the cause and the next step.

`TurboPropError` is the root: a caller who catches it catches everything of ours. The command line
prints the message and ends with exit code 2.
"""

from __future__ import annotations


class TurboPropError(Exception):
    """Root of every error raised on purpose by this package."""


class UsageError(TurboPropError):
    """The caller asked for something that cannot be (a wrong argument, a path that is no folder)."""


class SettingsError(TurboPropError):
    """A settings file or an environment variable holds a value that cannot be used."""


class ModelError(TurboPropError):
    """Root of what can be wrong with a model."""


class ModelNotFoundError(ModelError):
    """No such model here, or it cannot be had offline; the message says the ways to get it."""


class ModelFormatError(ModelError):
    """The bytes of a model file are not what its format promises (damaged, truncated, hostile)."""


class ModelUnsupportedError(ModelError):
    """A sound model that no engine of ours can run, or an option that it does not have."""


class DownloadError(ModelError):
    """A model download failed; what had arrived is kept for the next try."""


class EngineError(TurboPropError):
    """An engine is missing, failed to load or failed while running."""


class OutOfMemoryError(EngineError):
    """A device (the machine, or a GPU) had no memory left for a model or for what it was given."""


class EndpointError(EngineError):
    """A model behind an address cannot be reached, refuses, or answers what is no answer.

    `status` is that of its answer, None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class InputTooLongError(TurboPropError):
    """A text has more tokens than the model can take and truncation was not asked for."""


class RepositoryIndexError(TurboPropError):
    """Root of what can be wrong with an index."""


class IndexNotFoundError(RepositoryIndexError):
    """The repository has no index yet; the message says how to make one."""


class IndexMismatchError(RepositoryIndexError):
    """The index was made by another model, chunker or schema version; the message names both."""


class IndexUntrustedError(RepositoryIndexError):
    """The index was not made here by this user; the message says what shows it, and the two ways on."""


class IndexDamagedError(RepositoryIndexError):
    """Rows and manifest differ, or a file of the index cannot be read."""


class IndexBusyError(RepositoryIndexError):
    """Another process is writing this index; the message names it."""


class StorageError(RepositoryIndexError):
    """The disk is full or the folder cannot be written; the last committed index is still there."""


class MemoryBudgetError(TurboPropError):
    """What was asked for does not fit into the memory that was allowed."""


class BusyError(TurboPropError):
    """More work is waiting than the queue holds, or what is asked for is in use; try again in a while."""


class ModelLoadingError(TurboPropError):
    """The model is still being loaded and the caller did not want to wait longer."""
