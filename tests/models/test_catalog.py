from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.errors import SettingsError
from turboprop.models.catalog import KINDS, POOLINGS, is_repo_name, load_catalog, safe_member


def test_every_name_of_the_catalogue_means_one_model() -> None:
    catalog = load_catalog()
    seen: dict[str, str] = {}
    for row in catalog:
        for name in (row.name, row.canonical, *row.aliases):
            assert seen.setdefault(name.casefold(), row.canonical) == row.canonical, name
            found = catalog.find(name.upper())
            assert found is not None and found.canonical == row.canonical


def test_rows_say_what_a_user_must_know() -> None:
    for row in load_catalog():
        assert row.kind in KINDS and row.pooling in POOLINGS
        assert row.size > 0 and row.licence and row.good_for and row.family, row.name
        if row.kind == "embedding":
            assert row.dimensions > 0 and row.pooling, row.name
        else:
            assert row.context > 0 and bool(row.file) == (row.kind == "language"), row.name


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("nomic-embed-code.Q5_K_S.gguf", "nomic-ai/nomic-embed-code-GGUF:nomic-embed-code.Q5_K_S.gguf"),
        ("minilm", "sentence-transformers/all-MiniLM-L6-v2"),
        ("ms-marco-minilm", "cross-encoder/ms-marco-MiniLM-L6-v2"),
        ("bge-reranker-base", "BAAI/bge-reranker-base"),
        ("gte-reranker-modernbert-base", "Alibaba-NLP/gte-reranker-modernbert-base"),
        ("Qwen3-Reranker-0.6B", "Qwen/Qwen3-Reranker-0.6B"),
        ("qwen3-embedding-0.6b", "Qwen/Qwen3-Embedding-0.6B"),
        ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Embedding-0.6B"),
        ("CodeRankEmbed", "nomic-ai/CodeRankEmbed"),
        ("bge-small-en-v1.5", "BAAI/bge-small-en-v1.5"),
        ("snowflake-arctic-embed-xs", "Snowflake/snowflake-arctic-embed-xs"),
        ("potion-code-16M", "minishlab/potion-code-16M"),
        ("mistral", "TheBloke/Mistral-7B-Instruct-v0.2-GGUF:mistral-7b-instruct-v0.2.Q4_K_M.gguf"),
    ],
)
def test_short_names(name: str, canonical: str) -> None:
    row = load_catalog().find(name)
    assert row is not None and row.canonical == canonical


def test_prompts_that_models_were_trained_with_are_exact() -> None:
    catalog = load_catalog()

    def prompts(name: str) -> tuple[str, str]:
        row = catalog.find(name)
        assert row is not None
        return row.prompts.query, row.prompts.document

    # No space after `Query:`: see the Qwen3-Embedding card.
    assert prompts("qwen3-embedding-0.6b")[0].endswith("\nQuery:")
    assert prompts("nomic-embed-text") == ("search_query: ", "search_document: ")
    assert prompts("nomic-embed-code") == ("Represent this query for searching relevant code: ", "")
    assert prompts("coderankembed") == prompts("nomic-embed-code")
    assert prompts("minilm") == ("", "")


def test_another_quantisation_of_a_known_repository_has_its_facts() -> None:
    catalog = load_catalog()
    row = catalog.row_of("nomic-ai/nomic-embed-code-GGUF", "nomic-embed-code.Q3_K_M.gguf")
    known = catalog.find("nomic-embed-code")
    assert row is not None and known is not None
    assert (row.prompts, row.pooling, row.dimensions) == (known.prompts, known.pooling, known.dimensions)
    assert row.canonical == "nomic-ai/nomic-embed-code-GGUF:nomic-embed-code.Q3_K_M.gguf"
    assert (row.size, row.aliases, row.sha256) == (0, (), {})
    assert catalog.row_of("nomic-ai/nomic-embed-code-GGUF") is None
    assert catalog.row_of("sentence-transformers/all-MiniLM-L6-v2", "x.gguf") is None
    assert catalog.row_of("BAAI/bge-small-en-v1.5") is catalog.find("bge-small")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("minlm", "minilm"), ("mistal", "mistral-7b-instruct"), ("qwen3-embeding-0.6b", "qwen3-embedding-0.6b")],
)
def test_nearest_names(typed: str, meant: str) -> None:
    assert load_catalog().nearest(typed)[0] == meant


def test_nothing_is_near_to_nonsense() -> None:
    assert load_catalog().nearest("zzzzzzzz") == []


def test_a_users_row_comes_first_and_is_complete(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        'threads = 2\n[[models]]\nname = "minilm"\nrepo = "me/mine"\nfile = "mine.gguf"\ndimensions = 64\n'
        'prompts = { query = "q: " }\n',
        "utf-8",
    )
    row = load_catalog(config).find("minilm")
    assert row is not None and row.own
    assert (row.canonical, row.dimensions, row.prompts.query) == ("me/mine:mine.gguf", 64, "q: ")
    assert row.format == "gguf"
    assert load_catalog(config).find("all-minilm-l6-v2") is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[models]]\nrepo = "a/b"', "name is missing"),
        ('[[models]]\nname = "x"', "repo is missing"),
        ('[[models]]\nname = "x"\nrepo = "../b"', "owner/name"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\nfile = "../x.gguf"', "inside the repository"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\nfile = "x.bin"', ".gguf"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\ndimension = 3', "unknown key 'dimension'"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\ndimensions = "3"', "must be int"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\ndimensions = true', "must be int"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\nsize = -1', "negative"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\nkind = "image"', "kind must be one of"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\npooling = "sum"', "pooling must be one of"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\nprompts = { passage = "p" }', "query and document"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\nsha256 = { "m" = "abc" }', "64"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\naliases = [1]', "aliases"),
        ('[[models]]\nname = "x"\nrepo = "a/b"\n[[models]]\nname = "X"\nrepo = "a/c"', "two models"),
        ('models = "x"', "array of tables"),
        ("models = [1]", "must be a table"),
        ("[[models", "not valid TOML"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, text: str, says: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=str(config)) as caught:
        load_catalog(config)
    assert says in str(caught.value)


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "", "a", "C:", "\\", "b.json"])).map("/".join))
def test_a_safe_member_stays_in_its_folder(name: str) -> None:
    if not safe_member(name):
        return
    path = PurePosixPath("/folder") / name
    assert path.parts[:2] == ("/", "folder") and ".." not in path.parts and len(path.parts) > 2
    assert not Path(name).is_absolute() and "\\" not in name and ":" not in name


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/passwd",
        "a/../b",
        "a//b",
        "./a",
        "a/.",
        "",
        "C:\\x",
        "a\\..\\b",
        "a:b",
        "a\0b",
        "a\nb",
        "x/" * 600 + "y",
    ],
)
def test_unsafe_members(name: str) -> None:
    assert not safe_member(name)


@pytest.mark.parametrize(
    "name", ["a", "a/b/c", "../b", "a/..", "a--b/c", "-a/b", "a/b c", "a/" + "b" * 100, "ä/b", "a/.b"]
)
def test_what_is_no_repository(name: str) -> None:
    assert not is_repo_name(name)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-Embedding-0.6B", "a/b", "BAAI/bge-small-en-v1.5", "01-ai/Yi_1"])
def test_what_is_a_repository(name: str) -> None:
    assert is_repo_name(name)
