from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download, snapshot_download

from models import kill_and_resume
from models.hub_server import COMMIT, HubServer, served
from models.model_files import gguf, safetensors, sentence_transformer
from turboprop.errors import DownloadError, ModelError, ModelFormatError, ModelNotFoundError, ModelUnsupportedError
from turboprop.models.catalog import CatalogRow
from turboprop.models.hub.cache import repo_dir
from turboprop.models.hub.client import RetryPolicy
from turboprop.models.hub.download import download_model
from turboprop.models.naming import HubReference
from turboprop.models.resolve import resolve
from turboprop.progress import ModelProgress
from turboprop.settings import Settings, load_settings

QUICK = RetryPolicy(waits=(0.01, 0.02, 0.03), longest=5.0)
NEEDED = {
    "1_Pooling/config.json",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
}


class Told:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.messages: list[str] = []
        self.finished = 0

    def __call__(self, state: ModelProgress) -> None:
        self.sizes, self.done = dict(state.sizes), dict(state.done)
        self.messages += [state.message] if state.message else []
        self.finished += state.ended


def fetch(settings: Settings, repo: str = "o/m", file: str = "", told: Told | None = None) -> Path:
    return download_model(HubReference(repo, file), settings, progress=told, retry=QUICK)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def incomplete(repo: str = "o/m") -> list[Path]:
    return list(repo_dir(repo).glob("blobs/*.incomplete"))


def expect_nothing_visible(repo: str = "o/m") -> None:
    root = repo_dir(repo)
    assert [path for path in root.glob("snapshots/**/*") if path.is_file()] == []
    assert not (root / "refs").exists()


def expect_right(folder: Path, files: dict[str, bytes]) -> None:
    for name in names(folder):
        assert (folder / name).read_bytes() == files[name], name
    assert incomplete() == []


def test_only_what_is_needed_is_fetched_and_then_it_is_here(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(300_000)
    hub.add("o/m", files)
    told = Told()
    found = resolve("o/m", settings, progress=told)
    assert names(found.path) == NEEDED
    expect_right(found.path, files)
    assert told.done == told.sizes and told.finished == 1
    before = len(hub.requests)
    assert resolve("o/m", settings) == found
    assert len(hub.requests) == before, "a model that is here needs no network"


def test_the_cache_is_shared_with_huggingface_hub(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(100_000)
    hub.add("o/m", files)
    ours = fetch(settings)
    cache = repo_dir("o/m").parent
    theirs = snapshot_download("o/m", cache_dir=cache, local_files_only=True)
    assert Path(theirs) == ours
    hub.requests.clear()
    path = hf_hub_download("o/m", "model.safetensors", cache_dir=cache, endpoint=hub.endpoint)
    assert Path(path).read_bytes() == files["model.safetensors"]
    assert hub.sent() == 0, "huggingface_hub takes our blob for its own"


def test_what_huggingface_hub_fetched_is_ours(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(100_000)
    hub.add("o/m", files)
    cache = repo_dir("o/m").parent
    for name in NEEDED:
        hf_hub_download("o/m", name, cache_dir=cache, endpoint=hub.endpoint)
    found = resolve("o/m", replace(settings, offline=True))
    assert found.source == "hub cache"
    expect_right(found.path, files)


def test_a_connection_that_breaks_at_every_tenth_is_resumed(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(800_000)
    hub.add("o/m", files)
    hub.faults.drop_at = [tenth / 10 for tenth in range(1, 10)]
    folder = fetch(settings)
    expect_right(folder, files)
    assert hub.faults.drop_at == []
    ranges = [request.headers.get("range") for request in hub.requests if request.origin == "cdn"]
    assert len(ranges) == 10 and all(ranges[1:])
    size = len(files["model.safetensors"])
    assert hub.sent() < 1.5 * size, "each try goes on where the last one ended"


def test_a_broken_download_is_taken_up_by_the_next_run(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(800_000)
    hub.add("o/m", files)
    hub.faults.drop_at = [0.5, *[0.5 + n / 1e6 for n in range(1, 40)]]
    with pytest.raises(DownloadError, match="kept"):
        fetch(settings)
    expect_nothing_visible()
    (partial,) = incomplete()
    assert partial.stat().st_size >= 400_000
    hub.faults.drop_at = []
    hub.requests.clear()
    expect_right(fetch(settings), files)
    assert hub.sent() < 0.6 * len(files["model.safetensors"])


def test_a_wrong_byte_is_fetched_once_more(hub: HubServer, settings: Settings) -> None:
    files = {"m.gguf": gguf(200_000)}
    hub.add("o/m", files)
    hub.faults.corrupt = 1
    told = Told()
    path = fetch(settings, file="m.gguf", told=told)
    assert path.read_bytes() == files["m.gguf"]
    assert any("wrong bytes" in message for message in told.messages)
    assert told.done == told.sizes


def test_wrong_bytes_again_are_an_error_and_leave_nothing(hub: HubServer, settings: Settings) -> None:
    hub.add("o/m", {"m.gguf": gguf(200_000)})
    hub.faults.corrupt = 2
    with pytest.raises(DownloadError, match=r"wrong bytes \(its sha256 is .* expected"):
        fetch(settings, file="m.gguf")
    expect_nothing_visible()
    assert list(repo_dir("o/m").glob("blobs/*")) == []


def test_a_small_file_is_checked_by_its_git_object_id(hub: HubServer, settings: Settings) -> None:
    hub.add("o/m", sentence_transformer() | {"model.safetensors": safetensors(100)})
    config = hub.repos["o/m"]["config.json"]
    config.content = config.read(0, config.size)[:-1] + b" "
    with pytest.raises(DownloadError, match=r"o/m:config\.json came twice with the wrong bytes \(its Git object id"):
        fetch(settings)
    expect_nothing_visible()


def test_a_wrong_byte_left_by_an_earlier_try_is_found(hub: HubServer, settings: Settings) -> None:
    data = gguf(200_000)
    hub.add("o/m", {"m.gguf": data})
    blob = repo_dir("o/m") / "blobs" / hashlib.sha256(data).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.with_name(blob.name + ".incomplete").write_bytes(b"x" + data[1:100_000])
    assert fetch(settings, file="m.gguf").read_bytes() == data


def test_a_partial_file_longer_than_the_whole_starts_again(hub: HubServer, settings: Settings) -> None:
    data = gguf(10_000)
    hub.add("o/m", {"m.gguf": data})
    blob = repo_dir("o/m") / "blobs" / hashlib.sha256(data).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.with_name(blob.name + ".incomplete").write_bytes(b"x" * 20_000)
    assert fetch(settings, file="m.gguf").read_bytes() == data


def test_a_blob_that_was_cut_short_is_fetched_again(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(100_000)
    hub.add("o/m", files)
    folder = fetch(settings)
    (folder / "model.safetensors").resolve().write_bytes(b"short")
    expect_right(fetch(settings), files)


@pytest.mark.parametrize("fault", ["ignore_ranges", "wrong_range", "longer", "encode"])
def test_servers_that_answer_otherwise_than_asked(hub: HubServer, settings: Settings, fault: str) -> None:
    data = gguf(400_000)
    hub.add("o/m", {"m.gguf": data})
    hub.faults.drop_at = [] if fault == "encode" else [0.5]
    setattr(hub.faults, fault, 1 if fault in ("wrong_range", "longer") else True)
    assert fetch(settings, file="m.gguf").read_bytes() == data


def test_a_slow_server_is_waited_for(hub: HubServer, settings: Settings) -> None:
    data = gguf(300_000)
    hub.add("o/m", {"m.gguf": data})
    hub.faults.bytes_per_second = 400_000
    assert fetch(settings, file="m.gguf").read_bytes() == data


@pytest.mark.parametrize("where", ["api_status", "file_status"])
@pytest.mark.parametrize("status", [(500, {}), (503, {}), (429, {"Retry-After": "1"}), (429, {})])
def test_a_fault_that_passes(
    hub: HubServer, settings: Settings, where: str, status: tuple[int, dict[str, str]]
) -> None:
    data = gguf(10_000)
    hub.add("o/m", {"m.gguf": data})
    setattr(hub.faults, where, [status])
    told = Told()
    start = time.monotonic()
    assert fetch(settings, file="m.gguf", told=told).read_bytes() == data
    if "Retry-After" in status[1]:
        assert time.monotonic() - start >= 1.0 and told.messages


@pytest.mark.parametrize(
    ("statuses", "says"),
    [
        ([(500, {})] * 9, "fault of its own (500)"),
        ([(429, {"Retry-After": "3600"})], "try again in 3600 s"),
        ([(429, {})] * 9, "limits the rate"),
        ([(403, {})], "forbids o/m"),
        ([(403, {"X-Error-Code": "GatedRepo"})], "accept its terms"),
        ([(418, {})], "answers 418"),
    ],
)
@pytest.mark.parametrize("where", ["api_status", "file_status"])
def test_a_fault_that_stays(
    hub: HubServer, settings: Settings, where: str, statuses: list[tuple[int, dict[str, str]]], says: str
) -> None:
    hub.add("o/m", {"m.gguf": gguf(10_000)})
    setattr(hub.faults, where, list(statuses))
    with pytest.raises(DownloadError) as caught:
        fetch(settings, file="m.gguf")
    assert says in str(caught.value)
    expect_nothing_visible()


def test_missing_repository(hub: HubServer, settings: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match="no model o/m on http://127"):
        fetch(settings)


def test_missing_file_and_missing_revision(hub: HubServer, settings: Settings) -> None:
    hub.add("o/m", {"model.Q4_K_M.gguf": gguf(), "model.Q8_0.gguf": gguf()})
    with pytest.raises(ModelNotFoundError, match=r"holds no 'model\.Q4_K_S\.gguf'; it holds o/m:model\.Q4_K_M"):
        fetch(settings, file="model.Q4_K_S.gguf")
    with pytest.raises(ModelNotFoundError, match="no revision 'v9'"):
        download_model(HubReference("o/m", revision="v9"), settings, retry=QUICK)


def test_a_file_that_vanishes_between_the_list_and_the_download(hub: HubServer, settings: Settings) -> None:
    hub.add("o/m", {"m.gguf": gguf()})
    hub.faults.file_status = [(404, {"X-Error-Code": "EntryNotFound"})]
    with pytest.raises(ModelNotFoundError, match=r"o/m:m\.gguf is not on"):
        fetch(settings, file="m.gguf")


def test_a_bad_token_is_named(hub: HubServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("o/m", {"m.gguf": gguf()})
    hub.tokens = {"hf_good"}
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    with pytest.raises(DownloadError, match="refused the token"):
        fetch(settings)


def test_a_gated_model_says_how_to_get_in(hub: HubServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gguf()
    hub.add("o/m", {"m.gguf": data})
    hub.gated.add("o/m")
    with pytest.raises(DownloadError, match=r"gated: open .*/o/m .*HF_TOKEN"):
        fetch(settings)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert fetch(settings).read_bytes() == data


def test_the_token_stays_with_the_hub(hub: HubServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("o/m", sentence_transformer(10_000))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(settings)
    by_origin = {origin: [r for r in hub.requests if r.origin == origin] for origin in ("hub", "cdn")}
    assert by_origin["cdn"] and by_origin["hub"]
    assert all(request.headers.get("authorization") == "Bearer hf_secret" for request in by_origin["hub"])
    assert all("hf_secret" not in str(request.headers) + request.path for request in by_origin["cdn"])


def test_requests_say_nothing_about_the_user(hub: HubServer, settings: Settings) -> None:
    hub.add("o/m", {"m.gguf": gguf()})
    fetch(settings)
    agents = {request.headers.get("user-agent", "") for request in hub.requests}
    assert all(agent.startswith("turboprop/") and ";" not in agent for agent in agents)
    paths = [request.path for request in hub.requests if request.origin == "hub"]
    assert all("/o/m" in path for path in paths), "nothing is asked of the hub but the model"


def test_a_renamed_repository_is_followed(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(10_000)
    hub.add("new/name", files)
    hub.renamed["o/m"] = "new/name"
    told = Told()
    folder = fetch(settings, told=told)
    expect_right(folder, files)
    assert told.messages == ["o/m is called new/name now"]
    assert resolve("o/m", settings, download=False).path == folder


def test_a_mirror_that_lists_names_only(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(50_000)
    hub.add("o/m", files)
    hub.faults.hide_metadata = True
    expect_right(fetch(settings), files)


def test_an_etag_that_is_no_hash_is_refused(hub: HubServer, settings: Settings, home: Path) -> None:
    hub.add("o/m", {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": safetensors()})
    hub.repos["o/m"]["config.json"].git_id = "../../../../evil"
    with pytest.raises(DownloadError, match="neither size nor hash"):
        fetch(settings)
    assert not list(home.rglob("*evil*"))


@pytest.mark.parametrize("name", ["../1_Evil/config.json", "/etc/1_Evil/config.json", "a/../../1_Evil/config.json"])
def test_a_name_that_leaves_the_folder_is_refused(hub: HubServer, settings: Settings, home: Path, name: str) -> None:
    hub.add("o/m", sentence_transformer() | {name: b"{}"})
    with pytest.raises(DownloadError, match="refused"):
        fetch(settings)
    assert not list(home.rglob("*Evil*"))


def test_an_index_that_points_outside_is_refused_and_nothing_shows(hub: HubServer, settings: Settings) -> None:
    index = json.dumps({"weight_map": {"a": "../../x.safetensors"}}).encode()
    hub.add("o/m", {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors.index.json": index})
    with pytest.raises(ModelFormatError, match="refused"):
        fetch(settings)
    expect_nothing_visible()


def test_a_repository_that_is_not_whole(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer()
    del files["1_Pooling/config.json"]
    hub.add("o/m", files)
    with pytest.raises(ModelFormatError, match="lacks 1_Pooling/config"):
        fetch(settings)
    expect_nothing_visible()


def test_shards_and_their_index(hub: HubServer, settings: Settings) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": safetensors(20_000, n) for n in (1, 2)}
    index = json.dumps({"weight_map": {str(n): name for n, name in enumerate(shards)}}).encode()
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors.index.json": index, **shards}
    hub.add("o/m", files | {"consolidated.safetensors": b"the same again", "original/model.safetensors": b"x"})
    folder = fetch(settings)
    assert names(folder) == set(files)


def test_of_a_gguf_repository_one_file_is_fetched(hub: HubServer, settings: Settings) -> None:
    files = {f"m.{kind}.gguf": gguf(seed=n) for n, kind in enumerate(("Q4_K_M", "Q8_0"))}
    hub.add("o/m", files | {"README.md": b""})
    path = fetch(settings, file="m.Q8_0.gguf")
    assert path.read_bytes() == files["m.Q8_0.gguf"]
    assert names(path.parent) == {"m.Q8_0.gguf"}
    with pytest.raises(ModelNotFoundError, match=r"several models; name one: o/m:m\.Q4_K_M\.gguf, o/m:m\.Q8_0\.gguf"):
        fetch(settings)
    assert fetch(settings, file="m.Q4_K_M.gguf").parent == path.parent
    assert names(path.parent) == set(files)


def test_all_parts_of_a_split_are_fetched(hub: HubServer, settings: Settings) -> None:
    files = {f"q4/m-0000{n}-of-00003.gguf": gguf(seed=n) for n in (1, 2, 3)}
    hub.add("o/m", files)
    found = resolve("o/m", settings)
    assert found.name == "o/m:q4/m-00001-of-00003.gguf"
    assert {f"q4/{name}" for name in names(found.path.parent)} == set(files)


def test_pickles_are_not_fetched(hub: HubServer, settings: Settings) -> None:
    hub.add("o/m", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(ModelUnsupportedError, match="pickle"):
        fetch(settings)
    hub.add("o/n", {"README.md": b""})
    with pytest.raises(ModelUnsupportedError, match="neither"):
        fetch(settings, "o/n")
    assert hub.sent("hub") == 0


def test_a_pinned_hash_is_checked_before_a_byte_is_fetched(hub: HubServer, settings: Settings) -> None:
    hub.add("o/m", sentence_transformer())
    row = CatalogRow("m", "o/m", sha256={"model.safetensors": "0" * 64})
    with pytest.raises(DownloadError, match="this catalogue knows 0000"):
        download_model(HubReference("o/m", row=row), settings, retry=QUICK)
    assert hub.sent() == 0


def test_the_disk_is_asked_first(hub: HubServer, settings: Settings) -> None:
    hub.add("o/m", {"m.gguf": gguf()})
    file = served(gguf(), True)
    file.size = 40 * 10**9 * 10**6
    hub.repos["o/m"]["m.gguf"] = file
    with pytest.raises(DownloadError, match=r"over 50 GB|needs .* GB more"):
        fetch(settings)
    file.size = 45 * 10**9
    hub.add("o/many", {})
    hub.repos["o/many"] = {f"m-{n:05d}-of-00099.gguf": replace(file, sha256=f"{n:064x}") for n in range(1, 100)}
    with pytest.raises(DownloadError, match=r"needs 4,455\.00 GB more, but .* free; make room"):
        fetch(settings, "o/many")
    assert hub.sent() == 0


@pytest.mark.skipif(os.name != "posix", reason="limits a process's file size, which Windows cannot")
def test_a_disk_that_fills_up(hub: HubServer, settings: Settings) -> None:
    data = gguf(600_000)
    hub.add("o/m", {"m.gguf": data})
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from turboprop.errors import DownloadError\n"
        "from turboprop.models.resolve import resolve\n"
        "from turboprop.settings import load_settings\n"
        "try: resolve('o/m', load_settings())\n"
        "except DownloadError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the disk is full: m.gguf" in done.stdout and "HF_HOME" in done.stdout
    expect_nothing_visible()
    hub.requests.clear()
    assert fetch(settings).read_bytes() == data
    assert hub.sent() < len(data), "what fitted was kept"


def test_a_cache_that_cannot_be_made(hub: HubServer, settings: Settings, home: Path) -> None:
    hub.add("o/m", {"m.gguf": gguf()})
    (home / "hf").write_bytes(b"a file where a folder should be")
    with pytest.raises(DownloadError, match="set HF_HOME"):
        fetch(settings)


def test_no_route_says_how_to_bring_the_model(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(ModelNotFoundError, match="cannot be reached") as caught:
        resolve("o/m:m.gguf", settings)
    assert time.monotonic() - start < 5.0
    assert "tp model import" in str(caught.value) and "m.gguf" in str(caught.value)


def test_a_hub_that_never_answers(hub: HubServer, settings: Settings) -> None:
    hub.faults.stall = True
    process = _start(RESOLVE, HF_HUB_ETAG_TIMEOUT="1")
    _, errors = process.communicate()
    assert process.returncode == 1 and "does not answer in time" in errors and "tp model import" in errors


def test_a_proxy_is_used(hub: HubServer, settings: Settings) -> None:
    data = gguf(50_000)
    hub.add("o/m", {"m.gguf": data})
    process = _start(RESOLVE, HF_ENDPOINT="http://hub.invalid", HTTP_PROXY=hub.endpoint, NO_PROXY="localhost")
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert Path(out.strip()).read_bytes() == data
    assert all(request.path.startswith("http://hub.invalid/") for request in hub.requests if request.origin == "hub")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_ca_of_ones_own_is_trusted_when_it_is_named(
    hub: HubServer, settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    certificate, key = home / "hub.pem", home / "hub.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)),
        ],
        check=True,
        capture_output=True,
    )
    data = gguf(50_000)
    hub.add("o/m", {"m.gguf": data})
    hub.encrypt(certificate, key)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    _, errors = _start(RESOLVE).communicate()
    assert "the certificate of https://127.0.0.1" in errors and "SSL_CERT_FILE" in errors
    process = _start(RESOLVE, **{variable: str(certificate)})
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert Path(out.strip()).read_bytes() == data


def test_offline_asks_nothing_of_the_network(hub: HubServer, settings: Settings) -> None:
    hub.add("o/m", {"m.gguf": gguf()})
    with pytest.raises(ModelNotFoundError, match="offline mode is on"):
        fetch(replace(settings, offline=True))
    assert hub.requests == []


def test_an_endpoint_that_is_no_hub(hub: HubServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint + "/elsewhere")
    with pytest.raises(ModelError):
        fetch(settings)


def _start(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


RESOLVE = (
    "from turboprop.models.resolve import resolve; from turboprop.settings import load_settings\n"
    "print(resolve('o/m', load_settings()).path)"
)


def test_two_processes_download_once(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(2_000_000)
    hub.add("o/m", files)
    hub.faults.bytes_per_second = 2_000_000
    processes = [_start(RESOLVE) for _ in range(3)]
    answers = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(answers) == 1
    expect_right(Path(answers.pop()), files)
    assert hub.sent() == len(files["model.safetensors"])


def test_a_download_waits_for_huggingface_hub_too(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(2_000_000)
    hub.add("o/m", files)
    hub.faults.bytes_per_second = 2_000_000
    theirs = _start(
        "import sys; from huggingface_hub import hf_hub_download\nhf_hub_download('o/m', 'model.safetensors')"
    )
    while not [request for request in hub.requests if request.origin == "cdn"]:
        time.sleep(0.01)
        assert theirs.poll() is None
    told = Told()
    expect_right(fetch(settings, told=told), files)
    _, errors = theirs.communicate()
    assert theirs.returncode == 0, errors
    assert hub.sent() == len(files["model.safetensors"])
    assert told.messages == ["another process is downloading model.safetensors; waiting for it"]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to another process")
def test_ctrl_c_keeps_what_arrived(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer(4_000_000)
    hub.add("o/m", files)
    hub.faults.bytes_per_second = 1_500_000
    process = _start(RESOLVE)
    while hub.sent() < 1_500_000:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode != 0 and errors.rstrip().endswith("KeyboardInterrupt")
    expect_nothing_visible()
    (partial,) = incomplete()
    kept = partial.stat().st_size
    assert kept >= 1 << 20
    hub.faults.bytes_per_second = 0.0
    hub.requests.clear()
    expect_right(fetch(settings), files)
    assert hub.sent() == len(files["model.safetensors"]) - kept


def test_killed_downloads_end_with_the_right_bytes(home: Path) -> None:
    command = [sys.executable, kill_and_resume.__file__, "8", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rounds, kills = re.findall(r"\d+", done.stdout)
    assert int(rounds) == 8
    assert int(kills) > 0


def test_the_record_says_where_a_model_came_from(hub: HubServer, settings: Settings) -> None:
    files = sentence_transformer()
    hub.add("o/m", files)
    fetch(settings)
    record = json.loads((settings.models_dir / ".hub" / "o--m.json").read_bytes())
    assert (record["commit"], record["revision"]) == (COMMIT, "main")
    expected = hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert record["files"]["model.safetensors"] == {"size": len(files["model.safetensors"]), "etag": expected}


def test_without_symbolic_links_files_are_linked_hard(
    hub: HubServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sentence_transformer()
    hub.add("o/m", files)

    def refuse(self: Path, target: object) -> None:
        raise OSError("no symbolic links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = fetch(settings)
    expect_right(folder, files)
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert (folder / "model.safetensors").stat().st_nlink == 2


def test_settings_are_read_anew(hub: HubServer, home: Path) -> None:
    hub.add("o/m", {"m.gguf": gguf()})
    assert resolve("o/m", load_settings()).source == "hub cache"
