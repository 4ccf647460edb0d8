"""Copies of one thing: told by paths and symbols, the current one is a hit, the others are named with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop import Index
from turboprop.search.copies import Folding, variant_of
from turboprop.search.ranking import Ranked

SAME = [
    ("pkg/v1/client.py", "pkg/v3/client.py"),
    ("pkg/client.py", "pkg/v1/client.py"),
    ("src/legacy/parser.c", "src/parser.c"),
    ("api/v1beta1/types.go", "api/v1/types.go"),
    ("proto/foo_v1.proto", "proto/foo_v2.proto"),
    ("net/poll_linux.go", "net/poll_windows.go"),
    ("net/poll.go", "net/poll_linux_arm64.go"),
    ("src/unix/thread.c", "src/win/thread.c"),
    ("lib/poll.posix.c", "lib/poll.win32.c"),
    ("src/Button.web.tsx", "src/Button.native.tsx"),
    ("core/jvmMain/io/Files.kt", "core/nativeMain/io/Files.kt"),
    ("core/jvm/io/Files.jvm.kt", "core/io/Files.kt"),
]
DIFFERENT = [
    ("a/server.py", "b/server.py"),
    ("src/v8.py", "src/v9.py"),
    ("windows/view.py", "tests/view.py"),
    ("old.py", "new.py"),
    ("lib/graph.py", "lib/graph_node.py"),
    ("docs/react.md", "docs/react-native.md"),
    ("web/config.py", "native/config.py"),
    ("linux.go", "windows.go"),
]
OLDER = [
    ("pkg/v1/a.py", "pkg/v3/a.py"),
    ("pkg/v9/a.py", "pkg/v10/a.py"),
    ("pkg/v1/a.py", "pkg/a.py"),
    ("pkg/a.py", "pkg/v2/a.py"),
    ("pkg/legacy/a.py", "pkg/v1/a.py"),
    ("pkg/v1alpha2/a.go", "pkg/v1beta1/a.go"),
    ("pkg/v1beta2/a.go", "pkg/v1/a.go"),
    ("pkg/v2.1/a.go", "pkg/v2.10/a.go"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_paths_that_differ_by_a_version_or_a_platform(one: str, other: str) -> None:
    assert variant_of(one).place == variant_of(other).place
    assert variant_of(one) != variant_of(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_paths_are_no_copies(one: str, other: str) -> None:
    assert variant_of(one).place != variant_of(other).place


@pytest.mark.parametrize(("older", "newer"), OLDER)
def test_which_version_is_the_current_one(older: str, newer: str) -> None:
    assert variant_of(older).age < variant_of(newer).age


@given(st.text(max_size=80))
def test_any_path_is_judged(path: str) -> None:
    assert variant_of(path).age


CLIENT = """class Client:
    def connect(self, host):
        '''Open a connection to a host and keep it alive.'''
        return open_connection(host, {extra})
"""
POLL = """package net

// Poll waits until a descriptor is ready.
func Poll(fd int) error {{
	return {call}(fd)
}}
"""
FILES = {
    "pkg/v1/client.py": CLIENT.format(extra="1") + "\n\ndef keep_connection_alive(host):\n    return host\n",
    "pkg/v3/client.py": CLIENT.format(extra="retry=3, version=3"),
    "pkg/v2/client.py": CLIENT.format(extra="2"),
    "net/poll_linux.go": POLL.format(call="epoll"),
    "net/poll_windows.go": POLL.format(call="iocp"),
    "net/other.go": "package net\n\nfunc Other(fd int) error {\n\treturn nil\n}\n",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    root = tmp_path_factory.mktemp("copies")
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Index.create(root, "none")


def test_the_current_version_is_the_hit_and_the_others_are_named(index: Index) -> None:
    hits = [hit for hit in index.search("open a connection to a host") if hit.symbol.startswith("Client")]
    assert [(hit.path, hit.sure) for hit in hits] == [("pkg/v3/client.py", "strong")]
    assert {(each.path, each.kind) for each in hits[0].copies} == {
        ("pkg/v1/client.py", "older"),
        ("pkg/v2/client.py", "older"),
    }
    assert all((each.start_line, each.end_line) == (1, 4) for each in hits[0].copies if "v2" in each.path)


def test_a_version_that_is_asked_for_is_the_hit(index: Index) -> None:
    best = index.search("v1 open a connection to a host")[0]
    assert best.path == "pkg/v1/client.py"
    assert {(each.path, each.kind) for each in best.copies} == {
        ("pkg/v2/client.py", "newer"),
        ("pkg/v3/client.py", "newer"),
    }


def test_one_implementation_a_platform(index: Index) -> None:
    for query, kept, other in (
        ("wait for a descriptor with epoll", "linux", "windows"),
        ("windows Poll", "windows", "linux"),
    ):
        found = [hit for hit in index.search(query) if hit.path.startswith("net/poll")]
        assert [hit.path for hit in found] == [f"net/poll_{kept}.go"]
        assert [(each.path, each.kind) for each in found[0].copies] == [(f"net/poll_{other}.go", "variant")]


def test_what_only_the_old_version_has_is_found(index: Index) -> None:
    best = index.search("keep_connection_alive")[0]
    assert best.path == "pkg/v1/client.py"
    assert "def keep_connection_alive" in best.text


def test_numbers_and_letters_of_a_question_are_no_version(index: Index) -> None:
    for query in (
        "open a connection to a host step 7",
        "open a connection to a host v 7",
        "open a connection to a host localhost:8080",
    ):
        assert next(hit.path for hit in index.search(query) if hit.path.startswith("pkg/")) == "pkg/v3/client.py", query


def test_a_current_version_that_says_less_hides_nothing(write_files: Callable[[dict[str, str]], Path]) -> None:
    old = """def fetch(url):
    '''Fetch a page with exponential backoff between retries.'''
    for attempt in range(5):
        time.sleep(2 ** attempt)  # backoff
"""
    root = write_files({
        "client.py": "def fetch(url):\n    return session.get(url)\n", "legacy/client.py": old,
        **{f"other{number}.py": f"def other{number}(x):\n    return x + {number}\n" for number in range(8)},
    })  # fmt: skip
    with Index.create(root, "none") as index:
        best = index.search("exponential backoff between retries")[0]
        assert best.path == "legacy/client.py"
        assert "backoff" in best.text


def test_copies_of_a_later_part_join_the_row_that_is_shown() -> None:
    paths = {1: "v1/api.py", 2: "api.py", 3: "v2/api.py", 4: "other.py"}
    folding = Folding("q", lambda row: paths[row[1]], lambda rows: ["load"] * len(rows))

    def take(*rows: int) -> list[int]:
        return [one.row for _, one in folding.take([(0, Ranked(row, 1.0 / row, {})) for row in rows])]

    assert take(1, 4) == [1, 4]
    assert take(2, 3) == []
    assert folding.copies == {(0, 1): [((0, 2), "newer"), ((0, 3), "newer")]}


def test_files_are_folded_by_their_paths(index: Index) -> None:
    found = index.search("connection", by="file")
    assert [hit.path for hit in found if hit.path.startswith("pkg")] == ["pkg/v3/client.py"]


def test_a_place_that_was_typed_is_meant(index: Index) -> None:
    assert index.search("pkg/v1/client.py:3")[0].path == "pkg/v1/client.py"


def test_the_first_hits_do_not_hang_on_the_limit(tmp_path: Path, write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files(
        {f"pkg/v{version}/m{number}.py": f"def task{number}(x):\n    '''Run a task.'''\n    return {version}\n"
         for number in range(40) for version in (1, 2)}
    )  # fmt: skip
    with Index.create(root, "none") as index:
        every = [hit.path for hit in index.search("run a task", 50)]
        assert len(every) == 40
        for limit in (1, 5, 10, 25):
            assert [hit.path for hit in index.search("run a task", limit)] == every[:limit]
