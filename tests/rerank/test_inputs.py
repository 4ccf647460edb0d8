"""What a reranker reads: the special tokens are the template's own, and long texts are cut as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders

from rerank.tiny_rerankers import QUERY, RERANKERS, TinyReranker, with_config
from turboprop.errors import ModelFormatError
from turboprop.models.checkpoint.reranker import open_reranker
from turboprop.models.resolve import resolve
from turboprop.rerank.inputs import INSTRUCTION, Inputs, inputs_of
from turboprop.settings import load_settings


def inputs(tiny: TinyReranker, folder: Path) -> Inputs:
    opened = open_reranker(resolve(str(tiny.save(folder)), load_settings()))
    return inputs_of(opened, opened.checkpoint.max_tokens)


def test_a_pair_of_bert(tmp_path: Path) -> None:
    (one,) = inputs(RERANKERS["bert"], tmp_path).make("ab", ["c"], "")
    # [CLS] a ##b [SEP] | c [SEP]
    assert (one.ids, one.second) == ([2, 5, 32, 3, 7, 3], 4)


def test_two_signs_stand_between_the_texts_of_roberta(tmp_path: Path) -> None:
    (one,) = inputs(RERANKERS["xlm-roberta"], tmp_path).make("open", ["open"], "")
    assert (one.ids, one.second) == ([0, 36, 2, 2, 36, 2], 6)


@pytest.mark.parametrize(
    ("name", "text"),
    [("bert", "[SEP]"), ("xlm-roberta", "</s>"), ("modernbert", "[SEP]"), ("qwen3-reranker", "<|im_end|>")],
)
def test_texts_hold_no_control_tokens(tmp_path: Path, name: str, text: str) -> None:
    tiny = RERANKERS[name]
    control = tiny.tokenizer().token_to_id(text)
    made = inputs(tiny, tmp_path / name)
    counts = [one.ids.count(control) for one in made.make(f"a {text}", ["a", f"a {text} a", text * 5], INSTRUCTION)]
    assert counts == [3 if name == "xlm-roberta" else 2] * 3


def test_the_conversation_ends_as_it_must(tmp_path: Path) -> None:
    tiny = RERANKERS["qwen3-reranker"]
    tokenizer = tiny.tokenizer()
    short, long = inputs(tiny, tmp_path / "qwen3-reranker").make(QUERY, ["a", "open " * 500], "Find it")
    tokenizer.decoder = decoders.ByteLevel()
    text = tokenizer.decode(short.ids, skip_special_tokens=False)
    assert "<Instruct>: Find it\n<Query>: how do i open a file\n<Document>: a<|im_end|>\n<|im_start|>assistant" in text
    assert text.endswith("<think>\n\n</think>\n\n")
    assert len(long.ids) == 512
    assert tokenizer.decode(long.ids, skip_special_tokens=False).endswith(
        "open<|im_end|>\n" + text.split("<|im_end|>\n")[-1]
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_the_longer_text_is_cut_first(tmp_path_factory: pytest.TempPathFactory, query: int, document: int) -> None:
    made = inputs(RERANKERS["bert"], tmp_path_factory.mktemp("bert"))
    (one,) = made.make(" ".join("a" * query), [" ".join("b" * document)], "")
    room = 48 - 3
    kept_query, kept_document = one.second - 2, len(one.ids) - one.second - 1
    assert kept_query + kept_document == min(room, query + document)
    assert kept_query == query or kept_query >= kept_document - 1
    assert kept_document == document or kept_document >= kept_query - 1


def test_tokenizers_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="does not fit its limit"):
        inputs(with_config(RERANKERS["qwen3-reranker"], max_position_embeddings=64), tmp_path / "small-reranker")
    folder = RERANKERS["qwen3-reranker"].save(tmp_path / "bare-reranker")
    tokenizer = RERANKERS["modernbert"].tokenizer()
    tokenizer.add_tokens(["yes", "no"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(ModelFormatError, match=r"lacks <\|im_start\|>"):
        opened = open_reranker(resolve(str(folder), load_settings()))
        inputs_of(opened, 512)
    folder = RERANKERS["bert"].save(tmp_path / "bert")
    plain = RERANKERS["bert"].tokenizer()
    from turboprop.models.tokenizer.parts import bare

    bare(plain)
    plain.save(str(folder / "tokenizer.json"))
    opened = open_reranker(resolve(str(folder), load_settings()))
    with pytest.raises(ModelFormatError, match="nothing between two texts"):
        inputs_of(opened, 48)
