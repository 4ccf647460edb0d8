"""What is shown of a hit, on a real index of real files."""

from __future__ import annotations

import codecs
import os
from dataclasses import replace
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.search.excerpt import whole_definitions, with_context

BODY = "".join(f"    value_{number} = compute_{number}(argument_{number})\n" for number in range(90))
LINES = "".join(f"    word_{line} = [{line}, {line}, {line}, {line}]\n" for line in range(91))
TWICE = "".join(
    f"def {name}():\n" + LINES.replace("word", word) + "\n\n"
    for name, word in (("again", "early"), ("between", "middle"), ("again", "late"))
)
FILES = {
    "big.py": f"import os\n\n\ndef long_one(argument):\n{BODY}    return value_1\n\n\ndef short():\n    return 1\n",
    "other.py": "def other():\n    return 2\n",
    "twice.py": TWICE,
}


@pytest.fixture
def index(write_files, shared_cache: Path):
    from turboprop.settings import Settings

    root = write_files(FILES)
    with Index.create(root, settings=Settings(cache_home=shared_cache, offline=True)) as made:
        yield made


def test_full_is_the_whole_definition(index: Index) -> None:
    part = index.search("compute_50 argument_50", 1, "lexical")[0]
    whole = index.search("compute_50 argument_50", 1, "lexical", full=True)[0]
    assert "def long_one" not in part.text
    assert "def long_one(argument):\n    value_0 = " in whole.text
    assert whole.text.rstrip().endswith("return value_1")
    assert whole.start_line <= 4 < 95 <= whole.end_line
    short = index.search("short", 1, "lexical", full=True)[0]
    assert short.text == "def short():\n    return 1\n"


def test_definitions_of_one_name_are_told_apart(index: Index) -> None:
    for word, start in (("early", 1), ("late", 2 * 94 + 1)):
        whole = index.search(f"{word}_50", 1, "lexical", full=True)[0]
        assert (whole.symbol, whole.start_line) == ("again", start)
        assert f"{word}_0 " in whole.text and f"{word}_90 " in whole.text
        assert "middle" not in whole.text


def test_a_definition_that_is_too_long_is_shown_around_the_hit(index: Index) -> None:
    hit = index.search("compute_50 argument_50", 1, "lexical")[0]
    other = index.search("other", 1, "lexical")[0]
    for longest, grows in ((len(hit.text), False), (len(hit.text) * 5 // 2, True)):
        shown, same = whole_definitions(index.reader, [hit, other], longest)
        assert same == other
        assert (shown.start_line < hit.start_line or shown.end_line > hit.end_line) == grows
        assert len(shown.text) <= longest
        lines = FILES["big.py"].splitlines(True)[shown.start_line - 1 : shown.end_line]
        assert shown.text == "".join(lines)


def test_context_adds_lines_of_the_file(index: Index) -> None:
    plain = index.search("short", 1, "lexical")[0]
    around = index.search("short", 1, "lexical", context=2)[0]
    assert around.start_line == plain.start_line - 2
    assert around.text.split("\n")[2:4] == plain.text.rstrip("\n").split("\n")
    assert index.search("other", 1, "lexical", context=50)[0].start_line == 1


def test_a_file_that_changed_or_lies_outside_is_not_read(index: Index, tmp_path: Path) -> None:
    hit = index.search("other", 1, "lexical")[0]
    path = index.repo / "other.py"
    path.write_text("# new line\n" + FILES["other.py"])
    assert with_context(index.repo, hit, 3) == hit
    secret = tmp_path / "secret.py"
    secret.write_text("x\n" + FILES["other.py"])
    path.unlink()
    path.symlink_to(secret)
    assert with_context(index.repo, hit, 3) == hit
    path.unlink()
    os.mkfifo(path)
    assert with_context(index.repo, hit, 3) == hit
    path.unlink()
    assert with_context(index.repo, replace(hit, path="../secret.py", start_line=2, end_line=3), 3).start_line == 2
    assert with_context(index.repo, hit, 3) == hit


def test_context_in_every_encoding_that_is_indexed(write_files, shared_cache: Path) -> None:
    from turboprop.settings import Settings

    root = write_files({"plain.py": "x = 1\n"})
    encodings = {
        "bom": (codecs.BOM_UTF8, "utf-8"),
        "wide": (codecs.BOM_UTF16_LE, "utf-16-le"),
        "big": (codecs.BOM_UTF32_BE, "utf-32-be"),
        "latin": (b"", "cp1252"),
        "dos": (b"", "utf-8"),
    }
    for name, (mark, codec) in encodings.items():
        end = "\r\n" if name == "dos" else "\n"
        lines = ["# größer als zuvor", "", "", f"def {name}_thing():", "    return 'größer'", "", "", "# danach", ""]
        (root / f"{name}.py").write_bytes(mark + end.join(lines).encode(codec))
    with Index.create(root, settings=Settings(cache_home=shared_cache, offline=True)) as index:
        for name in encodings:
            plain = index.search(f"{name}_thing", 1, "lexical")[0]
            around = index.search(f"{name}_thing", 1, "lexical", context=50)[0]
            assert (plain.path, around.path) == (f"{name}.py", f"{name}.py")
            assert (around.start_line, around.end_line) == (1, 8)
            assert around.text == f"# größer als zuvor\n\n\ndef {name}_thing():\n    return 'größer'\n\n\n# danach"


def test_similar_through_the_index_needs_no_model(index: Index) -> None:
    hits = index.similar("other.py", 1, 2)
    assert [hit.path for hit in hits][:1] == ["big.py"]
    assert hits[0].symbol == "short"
