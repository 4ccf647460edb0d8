from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from models.hub_server import HubServer
from models.model_files import gguf, sentence_transformer
from turboprop.edges.cli.model import model
from turboprop.errors import DownloadError, ModelFormatError, ModelNotFoundError, UsageError
from turboprop.models.catalog import load_catalog
from turboprop.models.inventory import RECOMMENDED

SOME = "some/thing"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "TP_OFFLINE", "HF_HUB_OFFLINE", "TP_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TP_HOME": "data", "TP_CACHE": "cache", "TP_CONFIG": "config.toml", "HF_HOME": "hf"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path


def on_terminal(columns: int, *arguments: str) -> str:
    """What a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "turboprop", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "xterm"},
    )
    os.close(theirs)
    printed = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(ours, 65536):
            printed += piece
    os.close(ours)
    assert process.wait() == 0
    return printed.decode()


def test_a_narrow_terminal_leaves_columns_out_and_cuts_none(home: Path) -> None:
    wide, narrow = (on_terminal(width, "model", "list", "--all") for width in (200, 40))
    assert "licence" in wide
    assert "licence" not in narrow
    for shown in (wide, narrow):
        assert re.search(r"^nomic-embed-code-q5_k_s +5.3 GB", shown, re.MULTILINE)
    long = home / "hf/hub/models--an-owner-of-models--a-model-whose-name-is-longer-than-half-a-terminal/snapshots/abc"
    long.mkdir(parents=True)
    (long / "a.Q8_0.gguf").write_bytes(gguf())
    refs = long.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    lines = on_terminal(60, "model", "list").splitlines()
    at = lines.index("an-owner-of-models/a-model-whose-name-is-longer-than-half-a-terminal:a.Q8_0.gguf")
    assert re.fullmatch(r" +4.1 kB +hub cache.*", lines[at + 1]), lines
    assert [line for line in lines if len(line) > 60 and "longer" not in line] == []


def test_the_list_has_what_is_here_first_and_the_rest_on_request(home: Path) -> None:
    short = run("list").stdout.splitlines()
    assert [line.split()[0] for line in short[1:3]] == ["minilm", "coderankembed"]
    assert not [line for line in short if line.startswith("phi-2 ")]
    assert [line for line in run("list", "--all").stdout.splitlines() if line.startswith("phi-2 ")]
    names = {row.name for row in load_catalog()}
    assert set(RECOMMENDED) <= names


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(model, list(arguments), prog_name="tp model")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def listed(*arguments: str) -> dict[str, dict[str, object]]:
    return {entry["name"]: entry for entry in json.loads(run("list", "--json", *arguments).stdout)}


def test_list_shows_the_catalogue_and_what_is_here(hub: HubServer) -> None:
    hub.add(SOME, sentence_transformer())
    path = run("download", SOME).stdout.strip()
    models = listed()
    assert models[SOME] | {"size": 0} == {
        "name": SOME,
        "model": SOME,
        "kind": "embedding",
        "format": "safetensors",
        "family": "",
        "dimensions": None,
        "context": None,
        "pooling": "",
        "licence": "",
        "gated": False,
        "good_for": "",
        "aliases": [],
        "prompts": {},
        "size": 0,
        "state": "hub cache",
        "path": path,
        "fits_memory": True,
    }
    assert models["coderankembed"]["dimensions"] == 768 and models["coderankembed"]["state"] == "remote"
    assert SOME in listed("--local") and "coderankembed" not in listed("--local")
    assert SOME not in listed("--remote") and "coderankembed" in listed("--remote")


def test_the_table_has_every_column(hub: HubServer) -> None:
    lines = run("list", "--all").stdout.splitlines()
    columns = ["name", "size", "state", "kind", "dimensions", "context", "licence", "good", "for"]
    assert lines[0].split() == columns
    (row,) = [line.split() for line in lines if line.startswith("coderankembed ")]
    assert row == [
        "coderankembed",
        "548.0",
        "MB",
        "embedding",
        "768",
        "8192",
        "MIT",
        *["code", "search", "on", "a", "CPU"],
    ]
    assert any("embeddinggemma" in line and "(gated)" in line for line in lines)


def test_what_memory_cannot_hold_is_marked(home: Path) -> None:
    (home / "config.toml").write_text(
        '[[models]]\nname = "giant"\nrepo = "a/giant"\nsize = 900_000_000_000_000\n', "utf-8"
    )
    assert listed()["giant"]["fits_memory"] is False
    out = run("list").stdout
    assert any(line.startswith("giant ") and "TB!" not in line and "GB!" in line for line in out.splitlines())
    assert "more memory than this machine has" in out


def test_a_partial_download_is_a_state(home: Path) -> None:
    blobs = home / "hf" / "hub" / "models--nomic-ai--CodeRankEmbed" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / ("0" * 64 + ".incomplete")).write_bytes(b"x" * 5000)
    assert listed()["coderankembed"]["state"] == "partial"
    assert json.loads(run("du", "--json").stdout)["models"][-1] == {
        "model": "nomic-ai/CodeRankEmbed",
        "state": "partial",
        "size": 5000,
    }


def test_nothing_here_is_exit_code_1(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    result = run("list", "--local", code=1)
    assert result.stdout == "" and "tp model download minilm" in result.stderr
    assert run("verify", code=1).stdout == ""


def test_download_prints_the_path_and_then_finds_it(hub: HubServer) -> None:
    hub.add(SOME, sentence_transformer())
    first = run("download", SOME)
    assert Path(first.stdout.strip()).is_dir() and first.stderr == ""
    count = len(hub.requests)
    again = run("download", SOME, "--json")
    assert json.loads(again.stdout) == {"model": SOME, "path": first.stdout.strip(), "source": "hub cache"}
    assert "here already" in again.stderr and len(hub.requests) == count
    assert run("path", SOME).stdout == first.stdout


def test_messages_of_a_download_go_to_stderr(hub: HubServer) -> None:
    hub.add("new/name", {"m.gguf": gguf()})
    hub.renamed[SOME] = "new/name"
    result = run("download", SOME)
    assert "is called new/name now" in result.stderr and result.stdout.endswith("m.gguf\n")


def test_errors_are_raised_for_the_entry_to_print(hub: HubServer) -> None:
    hub.gated.add(SOME)
    hub.add(SOME, {"m.gguf": gguf()})
    with pytest.raises(DownloadError, match="gated"):
        run("download", SOME)
    with pytest.raises(ModelNotFoundError, match="did you mean minilm"):
        run("info", "minlm")
    with pytest.raises(ModelNotFoundError, match=f"tp model download {SOME}"):
        run("path", SOME)


def test_info(hub: HubServer) -> None:
    text = run("info", "qwen3-embedding-0.6b").stdout
    for part in ("Qwen/Qwen3-Embedding-0.6B", "1024", "32768", "last", "Apache-2.0", r"\nQuery:", "remote"):
        assert part in text
    hub.add(SOME, sentence_transformer())
    path = Path(run("download", SOME).stdout.strip())
    facts = json.loads(run("info", SOME, "--json").stdout)
    assert facts["commit"] == path.name and facts["state"] == "hub cache" and facts["size"] > 4096


def test_import_verify_remove(home: Path) -> None:
    file = home / "nomic-embed-code.Q5_K_S.gguf"
    file.write_bytes(gguf())
    result = run("import", str(file))
    stored = Path(result.stdout.strip())
    assert "imported as nomic-ai/nomic-embed-code-GGUF:" in result.stderr
    assert run("path", "nomic-embed-code").stdout.strip() == str(stored)
    assert listed()["nomic-embed-code-q5_k_s"]["state"] == "store"
    checks = json.loads(run("verify", "nomic-embed-code", "--json").stdout)
    assert [check["state"] for checked in checks.values() for check in checked] == ["ok"]
    data = bytearray(gguf())
    data[-1] ^= 1
    stored.unlink()
    stored.write_bytes(data)
    with pytest.raises(ModelFormatError, match=r"Q5_K_S\.gguf is wrong"):
        run("verify", "nomic-embed-code")
    with pytest.raises(UsageError, match="--yes"):
        run("remove", "nomic-embed-code")
    assert json.loads(run("remove", "nomic-embed-code", "--yes", "--json").stdout)["freed"] >= len(gguf())
    assert not stored.exists() and file.exists()


def test_import_under_a_name(home: Path) -> None:
    for name, data in sentence_transformer().items():
        (home / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "m" / name).write_bytes(data)
    result = run("import", str(home / "m"), "--name", SOME, "--json")
    assert json.loads(result.stdout)["model"] == SOME
    assert "some/thing" in run("du").stdout


def test_a_path_is_not_ours_to_remove(home: Path) -> None:
    file = home / "own.gguf"
    file.write_bytes(gguf())
    with pytest.raises(UsageError, match="delete it yourself"):
        run("remove", str(file), "--yes")
    assert file.exists()


def test_list_loads_nothing_heavy(home: Path) -> None:
    code = (
        "import sys; from turboprop.edges.cli.model import model\n"
        "model(['list', '--json'], standalone_mode=False)\n"
        "heavy = ('huggingface_hub', 'httpx', 'httpx2', 'numpy', 'lance', 'onnxruntime', 'tokenizers', 'rich')\n"
        "sys.stderr.write(str([name for name in heavy if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stderr == "[]" and json.loads(done.stdout)


ENTRY = "from turboprop.edges.cli.entry import main; main()"


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to another process")
def test_ctrl_c_says_that_what_arrived_is_kept(hub: HubServer) -> None:
    hub.add(SOME, {"m.gguf": gguf(4_000_000)})
    hub.faults.bytes_per_second = 1_000_000
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, "model", "download", SOME],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while hub.sent() < 1_500_000:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "what has arrived is kept" in errors and "Traceback" not in errors


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_sees_one_bar_a_file_and_one_in_all(hub: HubServer) -> None:
    import pty

    hub.add(SOME, sentence_transformer(1_000_000))
    hub.faults.bytes_per_second = 2_000_000
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, "model", "download", SOME],
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux tells that the other end is closed
        while block := os.read(master, 65536):
            shown += block
    os.close(master)
    out, _ = process.communicate()
    assert process.returncode == 0 and Path(out.strip()).is_dir()
    for part in (b"in all", b"model.safetensors", b"1_Pooling/config.json", b"MB/s"):
        assert part in shown
