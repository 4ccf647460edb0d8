"""`tp agents`: what is written, what is left alone, and that removing brings back what was there, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from turboprop.edges.mcp.agent_files import HOOK

SKILL = ".claude/skills/turboprop/SKILL.md"
SETTINGS = ".claude/settings.json"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def tp(*arguments: str, cwd: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "turboprop", "agents", *arguments]
    return subprocess.run(command, cwd=cwd, input=given, capture_output=True, text=True, check=False)


def all_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_everything_is_written_once_and_taken_out(repo: Path) -> None:
    done = tp("init", cwd=repo)
    assert (done.returncode, done.stdout.count("written: ")) == (0, 5)
    first = all_of(repo)
    assert set(first) == {
        "AGENTS.md",
        SKILL,
        ".agents/skills/turboprop/SKILL.md",
        ".claude/agents/code-finder.md",
        SETTINGS,
    }
    again = tp("init", cwd=repo)
    assert again.stdout.count("unchanged: ") == 5
    assert all_of(repo) == first
    assert tp("remove", cwd=repo).returncode == 0
    assert all_of(repo) == {}
    assert not (repo / ".claude").exists()
    assert tp("remove", cwd=repo).returncode == 1


def test_front_matter_is_what_agents_read(repo: Path) -> None:
    tp("init", cwd=repo)
    for name, called in ((SKILL, "turboprop"), (".claude/agents/code-finder.md", "code-finder")):
        _, head, body = (repo / name).read_text().split("---\n", 2)
        front: dict[str, Any] = yaml.safe_load(head)
        assert front["name"] == called
        assert len(front["description"]) < 1_024
        assert body.strip()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"])
def test_the_text_of_others_comes_back_as_it_was(repo: Path, newline: str, last: str) -> None:
    notes = ("# Notes\n\nBe kind." + last).replace("\n", newline).encode()
    settings = b'{\n    "hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": []}]},\n    "model": "opus"\n}\n'
    (repo / "CLAUDE.md").write_bytes(notes)
    (repo / ".claude").mkdir()
    (repo / SETTINGS).write_bytes(settings)
    assert tp("init", cwd=repo).returncode == 0
    assert not (repo / "AGENTS.md").exists()
    written = (repo / "CLAUDE.md").read_bytes()
    assert written.startswith(notes)
    assert b"search_code" in written
    kept = json.loads((repo / SETTINGS).read_text())
    assert [group["matcher"] for group in kept["hooks"]["PreToolUse"]] == ["Bash", "Grep"]
    assert kept["model"] == "opus"
    assert tp("remove", cwd=repo).returncode == 0
    assert (repo / "CLAUDE.md").read_bytes() == notes
    assert json.loads((repo / SETTINGS).read_text()) == json.loads(settings)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_settings_keep_their_layout(repo: Path, newline: str) -> None:
    written = '{\n  "permissions": {"allow": ["Bash(ls:*)", "Read"]},\n  "limit": 1.50\n}\n'.replace("\n", newline)
    (repo / ".claude").mkdir()
    (repo / SETTINGS).write_bytes(written.encode())
    tp("init", cwd=repo)
    made = (repo / SETTINGS).read_bytes()
    assert b'"permissions": {"allow": ["Bash(ls:*)", "Read"]}' in made
    assert json.loads(made)["hooks"]["PreToolUse"][0]["hooks"][0]["command"] == HOOK
    tp("remove", cwd=repo)
    assert (repo / SETTINGS).read_bytes() == written.encode()


def test_a_text_with_both_kinds_of_line_ends_keeps_them(repo: Path) -> None:
    notes = b"# Notes\r\n\nBe kind.\nAlways.\r\n"
    (repo / "AGENTS.md").write_bytes(notes)
    tp("init", cwd=repo)
    assert (repo / "AGENTS.md").read_bytes().startswith(notes)
    assert tp("init", cwd=repo).stdout.count("written: ") == 0
    tp("remove", cwd=repo)
    assert (repo / "AGENTS.md").read_bytes() == notes


def test_what_somebody_changed_is_left_alone(repo: Path) -> None:
    tp("init", cwd=repo)
    for name in ("AGENTS.md", SKILL):
        text = (repo / name).read_text()
        (repo / name).write_text(text.replace("search_code", "search_code (our favourite)", 1))
    before = all_of(repo)
    done = tp("init", cwd=repo)
    assert done.stdout.count("left alone: ") == 2
    assert "so it is yours" in done.stdout
    assert all_of(repo) == before
    tp("remove", cwd=repo)
    assert set(all_of(repo)) == {"AGENTS.md", SKILL}


def test_older_text_of_ours_is_replaced(repo: Path) -> None:
    from hashlib import sha256

    old = "## Code search\n\nOlder words.\n"
    digest = sha256(old.encode()).hexdigest()[:12]
    (repo / "AGENTS.md").write_text(f"A\n\n<!-- turboprop:begin {digest} -->\n{old}<!-- turboprop:end -->\nB\n")
    tp("init", cwd=repo)
    text = (repo / "AGENTS.md").read_text()
    assert "Older words" not in text
    assert text.startswith("A\n\n<!-- turboprop:begin ")
    assert text.endswith("<!-- turboprop:end -->\nB\n")


def test_files_of_others_and_links_are_left_alone(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (repo / SKILL).parent.mkdir(parents=True)
    (repo / SKILL).write_text("---\nname: turboprop\n---\nMine.\n")
    (repo / SETTINGS).write_text('{ // a comment\n "model": "opus" }\n')
    (repo / ".agents").symlink_to(outside)
    (repo / "AGENTS.md").symlink_to(outside / "AGENTS.md")
    done = tp("init", cwd=repo)
    assert done.stdout.count("left alone: ") == 4
    assert [*outside.iterdir()] == []
    assert (repo / SKILL).read_text().endswith("Mine.\n")
    assert "// a comment" in (repo / SETTINGS).read_text()
    tp("remove", cwd=repo)
    assert (repo / SKILL).read_text().endswith("Mine.\n")
    assert (repo / "AGENTS.md").is_symlink()


@pytest.mark.parametrize("how", ["link", "import"])
def test_a_claude_file_that_reads_agents_gets_no_section(repo: Path, how: str) -> None:
    (repo / "AGENTS.md").write_text("# Notes\n")
    if how == "link":
        (repo / "CLAUDE.md").symlink_to("AGENTS.md")
    else:
        (repo / "CLAUDE.md").write_text("@AGENTS.md\n")
    tp("init", cwd=repo)
    assert "search_code" in (repo / "AGENTS.md").read_text()
    if how == "import":
        assert (repo / "CLAUDE.md").read_text() == "@AGENTS.md\n"
    tp("remove", cwd=repo)
    assert (repo / "AGENTS.md").read_text() == "# Notes\n"


def test_print_writes_nothing(repo: Path) -> None:
    done = tp("init", "--print", cwd=repo)
    assert HOOK in done.stdout
    assert all_of(repo) == {}
    assert HOOK not in tp("init", "--print", "--no-hook", cwd=repo).stdout


def test_the_hook_offers_once_in_a_session_and_never_fails(repo: Path) -> None:
    asked = json.dumps({"session_id": "one", "tool_name": "Grep", "tool_input": {"pattern": "sign"}})
    said = json.loads(tp("hook", cwd=repo, given=asked).stdout)["hookSpecificOutput"]
    assert said["hookEventName"] == "PreToolUse"
    assert "search_code" in said["additionalContext"]
    assert "permissionDecision" not in said
    assert tp("hook", cwd=repo, given=asked).stdout == ""
    assert tp("hook", cwd=repo, given=asked.replace("one", "two")).stdout != ""
    for wrong in ("", "no JSON", "[]", "\x00"):
        done = tp("hook", cwd=repo, given=wrong)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # As an agent runs it: a colleague may have no `tp`.
    ran = subprocess.run(["/bin/sh", "-c", HOOK], env={"PATH": "/nowhere"} | {"HOME": os.environ["HOME"]}, input=b"{}")
    assert ran.returncode == 0
