"""A model that drafts: which may, and that nothing changes but the time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reference import reference
from turboprop import GenerationOptions, LanguageModel
from turboprop.errors import ModelUnsupportedError, UsageError

GREEDY = GenerationOptions(temperature=0, max_tokens=48)


@pytest.mark.parametrize("memory", [None, 200_000_000])
def test_the_answer_is_the_one_without_it(stories: LanguageModel, stories_file: Path, memory: int | None) -> None:
    expected = stories.generate("Once upon a time", GREEDY)
    name = str(stories_file)
    with LanguageModel.load(name, weights="float32", memory=memory, context=512, draft=name) as model:
        assert model.generate("Once upon a time", GREEDY).text == expected.text
        assert model._generator._loop.draft.kept > 5  # type: ignore[union-attr]


def test_another_vocabulary_is_refused_by_name(stories_file: Path, chat_folder: Callable[..., Path]) -> None:
    folder = chat_folder()
    with pytest.raises(UsageError, match=r"stories260K.* cannot draft for .*chat: it has 512 tokens, and .* has 259"):
        LanguageModel.load(str(folder), draft=str(stories_file))


def test_an_engine_that_takes_none_is_named(stories_file: Path) -> None:
    with pytest.raises(UsageError, match="llamacpp, which takes no draft"):
        LanguageModel.load(str(stories_file), engine="llamacpp", draft=str(stories_file))


def test_what_writes_no_text_drafts_nothing(stories_file: Path) -> None:
    with pytest.raises(ModelUnsupportedError, match="cannot draft"):
        LanguageModel.load(str(stories_file), draft="minilm")


def test_a_draft_that_is_not_there(stories_file: Path) -> None:
    with pytest.raises(Exception, match="no-such-model"):
        LanguageModel.load(str(stories_file), draft="no-such-model")
    assert reference("gguf/stories260K.gguf") == stories_file
