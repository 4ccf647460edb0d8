"""From a model's name to its files on this disk, downloading them only where they are nowhere.

The order: the local store, the Hugging Face cache of this machine, an installed package that carries
the model, the folders of LM Studio and Ollama, the hub. All but the last need no network and no heavy import.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.errors import ModelNotFoundError, ModelUnsupportedError
from turboprop.models.catalog import is_repo_name, load_catalog
from turboprop.models.checkpoint.onnx import onnx_file
from turboprop.models.endpoint import API_KEY, BATCH, PARALLEL, TIMEOUT, Endpoint, is_address, split_address
from turboprop.models.families import model_facts
from turboprop.models.hub.missing import not_here_message
from turboprop.models.inventory import find_held, held_models, listed
from turboprop.models.local import NOWHERE, LocalModel, check_pins, find_local, local_model
from turboprop.models.naming import HubReference, adapted_name, parse_name, split_adapter
from turboprop.models.store.contents import missing_files, only_gguf, split_names
from turboprop.types import Prompts

if TYPE_CHECKING:
    from turboprop.models.catalog import Catalog
    from turboprop.progress import DownloadProgress
    from turboprop.settings import Settings

_FASTEMBED = "fastembed:"


def resolve(
    name: str | None,
    settings: Settings,
    *,
    download: bool = True,
    progress: DownloadProgress | None = None,
) -> LocalModel:
    """Find a model (None: the one of the settings), and download it if it is nowhere here.

    Raises `ModelNotFoundError` (unknown name; not here and offline or `download=False`),
    `ModelFormatError` (files are here, but not what they should be) and `DownloadError`.
    """
    wanted, adapter = split_adapter(settings.model if name is None else name)
    if adapter is not None:
        return _with_adapter(resolve(wanted, settings, download=download, progress=progress), adapter)
    may_download = download and not settings.offline
    if wanted.startswith(_FASTEMBED):
        return _in_fastembed(wanted, settings, may_download)
    found = look_up(wanted, settings)
    if isinstance(found, LocalModel):
        if found.endpoint is not None and settings.offline:
            raise ModelNotFoundError(
                f"{found.name} runs on another machine, and offline mode is on: nothing is sent. Switch it off "
                "(TP_OFFLINE=0), or take a model that is here"
            )
        return found
    if not may_download:
        why = "offline mode is on" if settings.offline else "downloading was not asked for"
        here = listed(held_models(settings, load_catalog(settings.config_file)))
        raise ModelNotFoundError(f"{not_here_message(found, settings.models_dir, why)}\nHere are: {here or 'none'}")
    from turboprop.models.hub.download import download_model  # huggingface_hub: 0.3 s, only when it is needed

    return local_model(found, download_model(found, settings, progress=progress), "hub cache", settings)


def look_up(name: str, settings: Settings) -> LocalModel | HubReference:
    """What a name means: a model that is here, else what can be downloaded under it. Never uses the network.

    What is here wins over a folder of the same name in the current one, as the catalogue does. Raises
    `ModelNotFoundError` for a name that means nothing or several models.
    """
    name, adapter = split_adapter(name)
    if adapter is not None:
        base = look_up(name, settings)
        return _with_adapter(base, adapter) if isinstance(base, LocalModel) else base
    if name.startswith(_FASTEMBED):
        return _in_fastembed(name, settings, download=False)
    catalog = load_catalog(settings.config_file)
    if (remote := _behind_an_address(name, catalog)) is not None:
        return remote
    meaning = parse_name(name, catalog)
    if isinstance(meaning, Path):
        return _from_path(meaning, catalog)
    if meaning is not None and (found := find_local(meaning, settings)) is not None:
        return found
    held = held_models(settings, catalog)
    if (found := find_held(name, held, catalog)) is not None:
        check_pins(found, settings)
        return found
    if catalog.find(name) is None and Path(name).exists():
        return _from_path(Path(name), catalog)
    if meaning is None:
        raise _unknown(name, held, catalog)
    return meaning


def _with_adapter(local: LocalModel, folder: Path) -> LocalModel:
    """Raises `ModelUnsupportedError` for a model whose weights are not here, `ModelNotFoundError` for no folder."""
    if local.endpoint is not None:
        raise ModelUnsupportedError(f"{local.name} runs behind an address: an adapter is merged where its weights are")
    if not folder.is_dir():
        raise ModelNotFoundError(f"there is no adapter at {folder}: give the folder that PEFT's save_pretrained wrote")
    return replace(local, name=adapted_name(local.name, folder), adapter=folder)


def _behind_an_address(name: str, catalog: Catalog) -> LocalModel | None:
    """A model that runs elsewhere: a row with a `url`, or an address that has none. Raises `UsageError`."""
    row = catalog.find(name)
    if row is None and is_address(name):
        url, model = split_address(name)
        row = catalog.find(f"{url}#{model}")
        if row is None:
            known = catalog.find(model)
            facts = model_facts(None, [model])
            endpoint = Endpoint(
                url,
                model,
                kind=known.kind if known else None,
                # Whoever wrote the address, a key goes only where a row of the user's own sends it: a name that a
                # repository stated is in its index later, and nothing tells the two apart there.
                api_key_env="",
                prompts=known.prompts if known else facts.prompts,
                context=known.context if known else 0,
            )
            return LocalModel(endpoint.canonical, NOWHERE, "endpoint", endpoint=endpoint)
    if row is None or not row.url:
        return None
    endpoint = Endpoint(
        row.url,
        row.model,
        row.kind,
        row.api_key_env or API_KEY,
        row.prompts if row.prompts != Prompts() else model_facts(None, [row.model]).prompts,
        row.context,
        row.dimensions,
        row.normalize,
        row.batch or BATCH,
        row.parallel or PARALLEL,
        row.timeout or TIMEOUT,
        row.requests_per_minute,
        row.plain_http,
    )
    return LocalModel(endpoint.canonical, NOWHERE, "endpoint", endpoint=endpoint)


def _in_fastembed(name: str, settings: Settings, download: bool) -> LocalModel:
    from turboprop.models.fastembed_catalog import find

    return find(name.removeprefix(_FASTEMBED), settings, download)


def _unknown(name: str, held: list[LocalModel], catalog: Catalog) -> ModelNotFoundError:
    repo, colon, _ = name.partition(":")
    if colon and is_repo_name(repo):
        return ModelNotFoundError(
            f"{name!r} is not a model: owner/name is followed by ':' and the name of a .gguf file there"
        )
    near = catalog.nearest(name, [local.name for local in held])
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    here = f"here are {listed(held)}; " if held else ""
    return ModelNotFoundError(
        f"no model is called {name!r}; {guess}{here}`tp model list` shows the names known, and owner/name, "
        "owner/name:file.gguf, a .gguf file or a model's folder work too"
    )


def _from_path(path: Path, catalog: Catalog) -> LocalModel:
    """A model of the user's own; a GGUF file that still has the name the catalogue knows gets its facts.

    GGUF carries no prompts, and a model without its prompts returns plausible, worse vectors.
    """
    path = path.absolute()
    try:
        found = _found_at(path, catalog)
        with open(found.path, "rb") if found.path.is_file() else os.scandir(found.path):
            return found
    except OSError as error:
        raise ModelNotFoundError(f"the model at {path} cannot be read: {error.strerror}") from error


def _found_at(path: Path, catalog: Catalog) -> LocalModel:
    if path.is_dir():
        if missing := missing_files(path):
            if (gguf := only_gguf(path, str(path))) is not None:
                return LocalModel(str(gguf), gguf, "path", catalog.find(gguf.name))
            if (onnx := onnx_file(path)) is not None:
                return LocalModel(str(onnx), onnx, "path")
            raise ModelNotFoundError(f"the folder {path} is no model: it lacks {', '.join(missing)}")
        return LocalModel(str(path), path, "path")
    if not path.exists():
        raise ModelNotFoundError(f"there is no model at {path}: no such file or folder")
    if path.suffix == ".onnx" and path.is_file():
        return LocalModel(str(path), path, "path")
    if path.suffix != ".gguf":
        raise ModelNotFoundError(
            f"{path} is not a .gguf file; for safetensors give the folder that holds it and its config.json"
        )
    parts = [path.with_name(Path(part).name) for part in split_names(path.name)]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise ModelNotFoundError(f"{path} is one part of a split model; {', '.join(missing)} must lie beside it")
    return LocalModel(str(path), parts[0], "path", catalog.find(parts[0].name))
