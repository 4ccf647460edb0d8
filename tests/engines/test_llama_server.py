"""A llama-server of the user's own: the same contract, spoken over its HTTP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from engines.processes import private_folders, wait_until_gone
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import TokenRequest
from turboprop.engines.llamacpp import load_generator
from turboprop.engines.llamacpp_generate import LlamaCppGenerator
from turboprop.errors import EngineError
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.settings import load_settings

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The stand-in of this folder, as a program."""
    path = tmp_path / "llama-server"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("llama_server.py")}" "$@"\n')
    path.chmod(0o700)
    return path


def load(program: Path) -> LlamaCppGenerator:
    options = EngineOptions(threads=1, programs={"llamacpp": program})
    return load_generator(open_gguf(reference("gguf/stories260K.gguf")), options)


def test_ids_probabilities_and_the_end(program: Path) -> None:
    before = private_folders()
    generator = load(program)
    assert [token.id for token in generator.start(TokenRequest((2, 4), 5))] == [6, 10, 16, 26, 42]
    tokens = list(generator.start(TokenRequest((2, 4), 5, logprobs=2)))
    assert [token.id for token in tokens] == [6, 10, 16, 26, 42]
    assert tokens[0].logprob == -1
    assert tokens[0].top == ((6, -1.0), (7, -2.0))
    long = generator.start(TokenRequest(tuple(range(100, 200)), 4))
    assert [token.id for token in long] == [397, 84, 481, 53]
    assert long.finish == "length"
    worker = generator.worker_pid
    assert worker is not None
    assert b"llama_server" in Path(f"/proc/{worker}/cmdline").read_bytes()
    generator.close()
    wait_until_gone(worker)
    assert private_folders() == before


def test_a_server_that_dies_is_an_error_and_the_next_request_starts_another(program: Path) -> None:
    before = private_folders()
    generator = load(program)
    with pytest.raises(EngineError, match="exit code 7"):
        list(generator.start(TokenRequest((1, 13), 5)))
    assert [token.id for token in generator.start(TokenRequest((1, 2), 3))] == [3, 5, 8]
    worker = generator.worker_pid
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    wait_until_gone(worker)
    assert [token.id for token in generator.start(TokenRequest((1, 2), 3))] == [3, 5, 8]
    generator.close()
    assert private_folders() == before


def test_what_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="TP_LLAMA_SERVER"):
        load(tmp_path / "missing")
    broken = tmp_path / "llama-server"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o700)
    with pytest.raises(EngineError, match="exit code 3"):
        load(broken)


def test_a_version_without_an_option(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it can do without is left away; for what it cannot the error names program and option."""
    monkeypatch.setenv("OLD", "--swa-full --offline")
    generator = load(program)
    assert [token.id for token in generator.start(TokenRequest((1, 2), 3))] == [3, 5, 8]
    generator.close()
    monkeypatch.setenv("OLD", "--cache-type-k")
    program.touch()
    with pytest.raises(EngineError, match=r"TP_LLAMA_SERVER names .*llama-server, which has no option --cache-type-k"):
        load(program)


def test_layers_without_a_gpu_are_a_note(program: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = EngineOptions(threads=1, programs={"llamacpp": program}, gpu_layers=12)
    load_generator(open_gguf(reference("gguf/stories260K.gguf")), options).close()
    assert "finds no GPU for the 12 layers" in caplog.text


def test_the_setting_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().llama_server is None
    monkeypatch.setenv("TP_LLAMA_SERVER", "/opt/llama/llama-server")
    assert load_settings().llama_server == Path("/opt/llama/llama-server")
