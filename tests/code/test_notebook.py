"""Notebooks by their cells, as Jupyter and others write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code.chunk import chunk_text
from turboprop.code.inside import lines_inside
from turboprop.code.notebook import cells_of, read_notebook
from turboprop.code.read import SourceText, read_source
from turboprop.code.walk import Skipped, walk

IMAGE = "iVBORw0KGgo" * 40_000


def cell(kind: str, source: str, **more: Any) -> dict[str, Any]:
    lines = source.splitlines(keepends=True)
    found: dict[str, Any] = {
        "cell_type": kind,
        "metadata": {"source": ["no"], "cells": [{"source": ["no"]}]},
        "source": lines,
    }
    if kind == "code":
        output = {"data": {"image/png": IMAGE, "text/plain": ["out\n", "put"]}, "output_type": "display_data"}
        found |= {"execution_count": 1, "outputs": [output]}
    return dict(sorted((found | more).items()))  # as nbformat sorts them


def notebook(*cells: dict[str, Any], language: str = "python") -> dict[str, Any]:
    metadata = {"kernelspec": {"language": language, "name": "python3"}, "language_info": {"name": language}}
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


CELLS = (
    cell("markdown", "# Churn model\n\nWe fit a tree on monthly usage."),
    cell("code", ""),
    cell("code", "%matplotlib inline\nimport pandas as pd\n\ndef plot_churn(frame):\n    return frame.plot()\n"),
    cell("raw", "a raw text"),
)


def indexed(folder: Path, content: str) -> SourceText:
    (folder / "a.ipynb").write_text(content, "utf-8")
    (file,) = walk(folder).files
    read = read_source(file)
    assert isinstance(read, SourceText), read
    return read


@pytest.mark.parametrize("indent", [1, 2, 4, None], ids=str)
def test_cells_are_read_and_outputs_dropped(tmp_path: Path, indent: int | None) -> None:
    read = indexed(tmp_path, json.dumps(notebook(*CELLS), indent=indent))
    chunks = chunk_text(read.path, read.text, read.language)
    assert [(chunk.symbol, chunk.language) for chunk in chunks] == [
        ("cell 1, Churn model", "markdown"),
        ("cell 3, plot_churn", "python"),
        ("cell 4", ""),
    ]
    assert (
        chunks[1].text == "%matplotlib inline\nimport pandas as pd\n\ndef plot_churn(frame):\n    return frame.plot()\n"
    )
    assert "iVBOR" not in read.text
    assert '"no"' not in read.text


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    content = json.dumps(notebook(*CELLS), indent=1)
    read = indexed(tmp_path, content)
    in_file = content.split("\n")
    assert len(read.text.split("\n")) == len(in_file)
    for chunk in chunk_text(read.path, read.text, read.language):
        own = chunk.text.removesuffix("\n").split("\n")
        there = in_file[chunk.start_line - 1 : chunk.end_line]
        assert [json.loads(line.strip().rstrip(",")).rstrip("\n") for line in there] == own
        assert lines_inside(tmp_path, "a.ipynb")[chunk.start_line - 1 : chunk.end_line] == own


def test_a_large_notebook_is_small_without_its_images(tmp_path: Path) -> None:
    content = json.dumps(notebook(*(CELLS[2] for _ in range(9))), indent=1)
    assert len(content) > 3_000_000
    read = indexed(tmp_path, content)
    assert len(cells_of(read.text)) == 9


def test_the_language_is_the_kernels(tmp_path: Path) -> None:
    code = cell("code", "f <- function(x) x\n")
    assert indexed(tmp_path, json.dumps(notebook(code, language="R"))).language == "r"
    assert indexed(tmp_path, json.dumps(notebook(code, language="C++17"))).language == "cpp"
    assert indexed(tmp_path, json.dumps(notebook(code, language="brainfuck"))).language == ""
    assert indexed(tmp_path, json.dumps({"cells": [code]})).language == "python"


def test_a_notebook_from_before_2015(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "code", "input": ["def old(): pass"], "outputs": []},
        {"cell_type": "heading", "source": "Title"},
    ]
    read = indexed(tmp_path, json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}, indent=1))
    assert [chunk.symbol for chunk in chunk_text(read.path, read.text, read.language)] == ["cell 1, old", "cell 2"]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", '{"cells": [ broken', "[]", "null", "3", '"text"', '{"cells": 3}', "def f(): pass\n", "[" * 100_000),
        *('{"cells": ' * 50_000, '{"a": 1}', "<html></html>", '{"worksheets": 3}', '{"worksheets": [1]}x'),
    ],
)
def test_what_is_no_notebook_is_plain_text(tmp_path: Path, content: str) -> None:
    read = indexed(tmp_path, content)
    assert (read.text, read.language) == (content, "")
    assert any("no notebook" in note for note in read.notes)
    assert "".join(chunk.text for chunk in chunk_text(read.path, read.text, read.language)).startswith(content[:40])


@pytest.mark.parametrize(
    "content", ['{"cells": []}', '{"cells": [1, null]}', '{"cells": [{}, {"source": 3}, {"source": [1]}]}']
)
def test_a_notebook_without_a_line_has_no_chunks(tmp_path: Path, content: str) -> None:
    read = indexed(tmp_path, content)
    assert chunk_text(read.path, read.text, read.language) == []


def test_cells_of_more_than_the_limit_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook(cell("code", "x = 1\n" * 200_000))))
    (file,) = walk(tmp_path).files
    read = read_source(file)
    assert isinstance(read, Skipped)
    assert read.reason == "too large"


SOURCES = st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=40), max_size=5)


@given(SOURCES, st.sampled_from([1, 2, None]), st.booleans())
def test_no_line_of_a_cell_is_lost(sources: list[str], indent: int | None, ascii_only: bool) -> None:
    cells = [{"cell_type": "code", "source": [line + "\n" for line in source.split("\n")]} for source in sources]
    read = read_notebook(json.dumps(notebook(*cells), indent=indent, ensure_ascii=ascii_only))
    assert read is not None
    found = {one.number: "\n".join(read.text.split("\n")[one.start : one.end]) for one in cells_of(read.text)}
    for number, source in enumerate(sources, 1):
        if source.strip() and "# %%" not in source:
            assert found[number].rstrip() == source.rstrip()


@given(
    st.recursive(
        st.none() | st.text(max_size=9) | st.integers(),
        lambda one: (
            st.lists(one, max_size=3)
            | st.dictionaries(
                st.sampled_from(["cells", "source", "cell_type", "worksheets", "metadata"]), one, max_size=3
            )
        ),
    )
)
def test_every_json_is_survived(content: Any) -> None:
    for text in (json.dumps(content), json.dumps({"cells": content}), json.dumps({"cells": [content]}, indent=1)):
        read = read_notebook(text)
        assert read is None or isinstance(cells_of(read.text), list)
