"""Where an instruction goes, by family, and who takes none."""

from __future__ import annotations

import dataclasses

import pytest

from turboprop.embed.instruction import instructed
from turboprop.errors import UsageError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.families import model_facts
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.types import Prompts

QWEN = "Instruct: Given a code search query, retrieve code that answers the query\nQuery:"


@pytest.fixture(scope="module")
def bert() -> Checkpoint:
    return open_checkpoint(resolve(None, load_settings()))


def as_family(checkpoint: Checkpoint, family: str, prompts: Prompts) -> Checkpoint:
    return dataclasses.replace(checkpoint, family=family, prompts=prompts)


def test_qwen3_takes_one_for_queries_without_a_space_after_the_colon(bert: Checkpoint) -> None:
    qwen = as_family(bert, "qwen3", Prompts(query=QWEN))
    assert instructed(qwen, "query", "Find the test") == "Instruct: Find the test\nQuery:"
    with pytest.raises(UsageError, match="queries only"):
        instructed(qwen, "document", "Find the test")


def test_a_renamed_qwen3_has_the_form_of_its_family(bert: Checkpoint) -> None:
    assert instructed(as_family(bert, "qwen3", Prompts()), "query", "Do it") == "Instruct: Do it\nQuery:"


def test_embeddinggemma(bert: Checkpoint) -> None:
    facts = model_facts("gemma-embedding", ["embeddinggemma-300m"])
    gemma = as_family(bert, "gemma-embedding", facts.prompts)
    assert instructed(gemma, "query", "fact checking") == "task: fact checking | query: "


@pytest.mark.parametrize("side", ["query", "document"])
def test_nomic_text_has_four_tasks_on_both_sides(bert: Checkpoint, side: str) -> None:
    nomic = as_family(bert, "nomic-bert", model_facts("nomic-bert", ["nomic-embed-text-v1.5"]).prompts)
    assert instructed(nomic, side, "clustering") == "clustering: "  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="classification"):
        instructed(nomic, side, "translate")  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", ["", "Represent this query for searching relevant code: "])
def test_others_take_none(bert: Checkpoint, prompt: str) -> None:
    with pytest.raises(UsageError, match="takes no instruction"):
        instructed(as_family(bert, "qwen2", Prompts(query=prompt)), "query", "Find code")


def test_an_empty_instruction_is_refused(bert: Checkpoint) -> None:
    with pytest.raises(UsageError, match="empty"):
        instructed(as_family(bert, "qwen3", Prompts(query=QWEN)), "query", "  ")
