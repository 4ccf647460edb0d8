"""`Index`: one repository, indexed with one model, ready to be searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from turboprop.code.read import read_source
from turboprop.code.walk import Skipped, SourceFile, walk
from turboprop.embed.cache import FILE as CACHE_FILE
from turboprop.embed.cache import EmbeddingCache, cache_key
from turboprop.errors import IndexMismatchError, IndexNotFoundError, UsageError
from turboprop.index.build import Progress, bytes_on_disk, find_changes, update
from turboprop.index.read import IndexReader, index_tables
from turboprop.index.schema import INDEX_FOLDER
from turboprop.settings import Settings, load_settings
from turboprop.types import Hit, IndexedFile, IndexSummary, Prompts, SearchFilter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.embed.model import EmbeddingModel
    from turboprop.engines.contract import WeightFormat
    from turboprop.models.hub_progress import DownloadProgress

Mode = Literal["hybrid", "semantic", "lexical"]
Unit = Literal["chunk", "file"]
MODES: tuple[Mode, ...] = ("hybrid", "semantic", "lexical")
MAX_FILESIZE = 1_000_000
MAX_CHUNK_CHARS = 1_500
"""Of 900 and 1,500 characters the larger ranks better (NDCG@10 0.939 against 0.928 on nine repositories with
all-MiniLM-L6-v2) and makes half the rows."""
MAX_PARTS = 4
"""A chunk of more tokens than the model takes is the mean of its parts, up to so many; a larger one is cut."""


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What `tp status` tells. `updated` is in seconds since the epoch, sizes in bytes."""

    repo: Path
    directory: Path
    model: str
    dimensions: int
    files: int
    chunks: int
    bytes_on_disk: int
    updated: float
    complete: bool
    stale: tuple[str, ...]
    """Files whose content was added or changed since they were indexed."""
    removed: tuple[str, ...]
    """Files that are indexed and no longer there."""


class IndexingEmbedder:
    """An `EmbeddingModel` as the index builds with it: a line too long for it becomes a mean of parts."""

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model
        self.name: str = model.name
        self.fingerprint: str = model.fingerprint
        self.dimensions: int = model.dimensions
        self.prompts: Prompts = model.prompts
        self.cached = 0
        settings = model.settings
        self._space = f"{model.fingerprint} {model.engine} {model.weights} average"
        self._cache = EmbeddingCache(settings.cache_home / CACHE_FILE, settings.embedding_cache)

    @property
    def max_chars(self) -> int:
        """How large the chunker cuts."""
        return MAX_CHUNK_CHARS

    @property
    def tokens_embedded(self) -> int:
        return self._model.tokens_embedded

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, from the user's cache where they are known, float32 [n, dimensions]."""
        import numpy as np

        keys = [cache_key(self._space, "document", text) for text in texts]
        known = self._cache.get(keys, self.dimensions)
        missing = [number for number, key in enumerate(keys) if key not in known]
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for number, key in enumerate(keys):
            if key in known:
                vectors[number] = known[key]
        if missing:
            fresh = self._model.embed_documents([texts[number] for number in missing], overlong="average")
            vectors[missing] = fresh
            with np.errstate(over="ignore"):
                kept = fresh.astype(np.float16)
            sound = np.flatnonzero(np.isfinite(kept).all(axis=1)).tolist()
            self._cache.put({keys[missing[row]]: kept[row] for row in sound})
        self.cached += len(texts) - len(missing)
        return vectors

    def fits(self, texts: Sequence[str]) -> list[bool]:
        """Which texts are `MAX_PARTS` inputs of the model at most."""
        most = self._model.max_tokens * MAX_PARTS
        doubtful = [text for text in texts if most < len(text.encode("utf-8", "replace")) <= 64 * most]
        counts = dict(zip(doubtful, self._model.count_tokens(doubtful), strict=True))
        return [counts[text] <= most if text in counts else len(text) <= most for text in texts]


class Index:
    """An index of one repository. Use it as a context manager, or call `close()`.

    The model is loaded by the first search that needs it. Searches see the version that was current
    when the index was opened; `update` moves to the new one.
    """

    def __init__(
        self,
        repo: Path,
        directory: Path,
        reader: IndexReader,
        settings: Settings,
        model: EmbeddingModel | None,
        loading: _Loading,
    ) -> None:
        self._repo = repo
        self._directory = directory
        self._reader = reader
        self._settings = settings
        self._model = model
        self._loading = loading
        self._owns_model = True

    @classmethod
    def create(
        cls,
        repo: str | Path,
        model: str | None = None,
        *,
        index_dir: str | Path | None = None,
        limit: int | None = None,
        max_filesize: int = MAX_FILESIZE,
        rebuild: bool = False,
        engine: str | None = None,
        weights: WeightFormat | None = None,
        memory: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        model_progress: DownloadProgress | None = None,
        embedding: EmbeddingModel | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Index a repository, or bring its index up to date, and open it.

        `limit` indexes the first files only, `max_filesize` is in bytes, `rebuild` starts anew. `memory` in
        bytes bounds the conversion of a model; `model_progress` is told of its download and conversion.
        `embedding` is a loaded model to index with, which stays the caller's. `index.summary` says what was
        done. Raises `UsageError`, `ModelError`, `RepositoryIndexError`.
        """
        settings = settings or load_settings()
        root = checked_repo(repo)
        directory = index_directory(root, index_dir)
        loading = _Loading(engine, weights, settings, memory, model_progress)
        if model is None and not rebuild:
            model = _recorded_model(directory)
        used = embedding if embedding is not None else loading.load(model)
        try:
            summary = _update(root, directory, used, limit, max_filesize, rebuild, progress)
            index = cls._open(root, directory, used.fingerprint, settings, used, loading)
        except BaseException:
            if embedding is None:
                used.close()
            raise
        index.summary = summary
        index._owns_model = embedding is None
        return index

    @classmethod
    def open(
        cls,
        repo: str | Path,
        model: str | None = None,
        *,
        index_dir: str | Path | None = None,
        engine: str | None = None,
        weights: WeightFormat | None = None,
        model_progress: DownloadProgress | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Open an index that exists; without `model`, the one written last.

        Raises `IndexNotFoundError` where there is none and `IndexMismatchError`, naming both, where it
        was made with another model.
        """
        settings = settings or load_settings()
        root = checked_repo(repo)
        directory = index_directory(root, index_dir)
        loading = _Loading(engine, weights, settings, None, model_progress)
        if model is None:
            return cls._open(root, directory, None, settings, None, loading)
        embedding = loading.load(model)
        try:
            return cls._open(root, directory, embedding.fingerprint, settings, embedding, loading)
        except BaseException:
            embedding.close()
            raise

    @classmethod
    def _open(
        cls,
        root: Path,
        directory: Path,
        fingerprint: str | None,
        settings: Settings,
        model: EmbeddingModel | None,
        loading: _Loading,
    ) -> Self:
        reader = IndexReader.open(directory, fingerprint, model.name if model else "")
        return cls(root, directory, reader, settings, model, loading)

    summary: IndexSummary | None = None
    """What the run of `create` or the last `update` did."""

    @property
    def repo(self) -> Path:
        """The repository's root."""
        return self._repo

    @property
    def reader(self) -> IndexReader:
        """The version that searches see."""
        return self._reader

    @property
    def embedding_model(self) -> EmbeddingModel:
        """The model, loaded now where it has not been yet."""
        return self._embedding_model()

    @property
    def model_name(self) -> str:
        """The model that the index was made with."""
        return self._reader.header.spec.model

    def search(
        self,
        query: str,
        limit: int = 10,
        mode: Mode = "hybrid",
        *,
        filters: Sequence[str] = (),
        languages: Sequence[str] = (),
        extensions: Sequence[str] = (),
        threshold: float | None = None,
        by: Unit = "chunk",
        context: int = 0,
        full: bool = False,
        vector: NDArray[np.float32] | None = None,
    ) -> list[Hit]:
        """The best chunks for a query, best first; with `by="file"` the best chunk of each file.

        `filters` are path globs (`src/**`, `!tests/**`), `languages` and `extensions` (`.py`) narrow
        further; all hold before the top `limit` is taken. Hits under `threshold` are left out; scores
        grow with relevance and compare between queries of one index. `full` widens a hit to its whole
        definition, `context` adds lines around it. `vector` is the query's, float32 [dimensions], from the
        index's own model, where the caller has it.
        """
        from turboprop.search.search import search

        if mode not in MODES:
            raise UsageError(f"there is no search mode {mode!r}; there are: {', '.join(MODES)}")
        if limit < 1:
            raise UsageError(f"limit must be at least 1, not {limit}")
        if not query.strip():
            raise UsageError("the query is empty; say what to look for")
        if mode == "lexical":
            vector = None
        elif vector is None:
            vector = self._embedding_model().embed_query(query)
        wanted = _filter(filters, languages, extensions)
        hits = search(self._reader, query, vector, limit=limit, mode=mode, filters=wanted, threshold=threshold, by=by)
        return self._shown(hits, context, full)

    def similar(
        self,
        path: str,
        line: int,
        limit: int = 10,
        *,
        filters: Sequence[str] = (),
        languages: Sequence[str] = (),
        extensions: Sequence[str] = (),
        context: int = 0,
        full: bool = False,
    ) -> list[Hit]:
        """The chunks most like the one at a line of an indexed file, by cosine similarity; itself left out.

        Needs no model: the stored vectors are compared. `path` is relative to the repository. Raises
        `UsageError` where nothing is indexed at that place.
        """
        from turboprop.search.search import similar_to

        wanted = _filter(filters, languages, extensions)
        return self._shown(similar_to(self._reader, path, line, limit=limit, filters=wanted), context, full)

    def _shown(self, hits: list[Hit], context: int, full: bool) -> list[Hit]:
        from turboprop.search.excerpt import whole_definition, with_context

        if full:
            hits = [whole_definition(self._reader, hit) for hit in hits]
        return [with_context(self._repo, hit, context) for hit in hits] if context > 0 else hits

    def update(
        self,
        *,
        limit: int | None = None,
        max_filesize: int = MAX_FILESIZE,
        progress: Callable[[Progress], None] | None = None,
    ) -> IndexSummary:
        """Index what changed since; nothing is embedded where nothing did."""
        model = self._embedding_model()
        self.summary = _update(self._repo, self._directory, model, limit, max_filesize, False, progress)
        reader = IndexReader.open(self._directory, model.fingerprint, model.name)
        self._reader.close()
        self._reader = reader
        return self.summary

    def status(self) -> IndexStatus:
        """What is indexed and what changed since; reads only files whose size or time changed."""
        header = self._reader.header
        manifest = self._reader.manifest()
        changes = find_changes(walk(self._repo).files, manifest.files, manifest.left_out)
        return IndexStatus(
            repo=self._repo,
            directory=self._directory,
            model=header.spec.model,
            dimensions=header.spec.dimensions,
            files=header.file_count,
            chunks=header.rows,
            bytes_on_disk=bytes_on_disk(self._directory),
            updated=header.updated,
            complete=header.complete,
            stale=tuple(file.path for file in changes.to_read if _differs(file, manifest.files.get(file.path))),
            removed=tuple(changes.removed),
        )

    def close(self) -> None:
        """Let go of the model and the table; a second call does nothing."""
        self._reader.close()
        if self._model is not None and self._owns_model:
            self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _embedding_model(self) -> EmbeddingModel:
        if self._model is None:
            spec = self._reader.header.spec
            model = self._loading.load(spec.model)
            if model.fingerprint != spec.fingerprint:
                model.close()
                raise IndexMismatchError(
                    f"the index in {self._directory} was made with {spec.model} ({spec.fingerprint[:16]}), and "
                    f"the model of that name here is another ({model.fingerprint[:16]}): its weights, pooling "
                    "or prompts differ. Bring the same model, or index again with `tp index`"
                )
            self._model = model
        return self._model


@dataclass(frozen=True, slots=True)
class _Loading:
    """How a model is loaded once its name is known."""

    engine: str | None
    weights: WeightFormat | None
    settings: Settings
    memory: int | None
    progress: DownloadProgress | None

    def load(self, name: str | None) -> EmbeddingModel:
        from turboprop.embed.model import EmbeddingModel

        return EmbeddingModel.load(
            name,
            engine=self.engine,
            weights=self.weights,
            memory=self.memory,
            progress=self.progress,
            settings=self.settings,
        )


def checked_repo(repo: str | Path) -> Path:
    """The repository's absolute path. Raises `UsageError` unless it is a folder that can be read."""
    root = Path(repo).expanduser()
    try:
        if not root.is_dir():
            what = "is a file, not a folder" if root.exists() else "does not exist"
            raise UsageError(f"{root} {what}; give the repository's folder with --repo")
        next(root.iterdir(), None)
    except PermissionError as error:
        raise UsageError(f"the folder {root} cannot be read: {error.strerror}") from error
    return root.resolve()


def index_directory(root: Path, index_dir: str | Path | None) -> Path:
    """Where the index of a repository lies."""
    return root / INDEX_FOLDER if index_dir is None else Path(index_dir).expanduser().absolute()


def _update(
    root: Path,
    directory: Path,
    model: EmbeddingModel,
    limit: int | None,
    max_filesize: int,
    rebuild: bool,
    progress: Callable[[Progress], None] | None,
) -> IndexSummary:
    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}")
    found = walk(root, max_filesize=max_filesize)
    if not found.files and not _recorded_model(directory):  # an index may be emptied, but not begun empty
        left = f" ({len(found.skipped)} left out; see `tp index --dry-run`)" if found.skipped else ""
        raise UsageError(f"{root} holds no files to index{left}")
    counts: dict[str, int] = {}
    for skipped in found.skipped:
        counts[skipped.reason] = counts.get(skipped.reason, 0) + 1
    return update(
        directory,
        found.files,
        IndexingEmbedder(model),
        rebuild=rebuild,
        limit=limit,
        max_filesize=max_filesize,
        skipped=counts,
        progress=progress,
    )


def _differs(file: SourceFile, known: IndexedFile | None) -> bool:
    """Whether the bytes differ, where size or time do: a checkout or `touch` changes the time alone."""
    if known is None:
        return True
    source = read_source(file)
    return isinstance(source, Skipped) or source.digest != known.digest


def _recorded_model(directory: Path) -> str | None:
    try:
        tables = index_tables(directory)
    except (IndexMismatchError, IndexNotFoundError):
        return None
    return tables[0].spec.model if tables else None


def _filter(filters: Sequence[str], languages: Sequence[str], extensions: Sequence[str]) -> SearchFilter:
    return SearchFilter(
        tuple(language.lower() for language in languages),
        tuple(_extension(extension) for extension in extensions),
        tuple(filters),
    )


def _extension(extension: str) -> str:
    extension = extension.lower()
    return extension if extension.startswith(".") else f".{extension}"
