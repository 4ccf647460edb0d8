"""Tiny rerankers of every kind: folders as their repositories have them, with seeded weights and tokenizers.

Written from the models' own repositories, so that nothing here is read from the code under test.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from architectures.tiny_models import MODELS, Shapes, TinyModel

QUERY = "how do i open a file"
DOCUMENTS = (
    "def open(path): return handle(path)",
    "the weather is mild",
    "",
    "open " * 40 + "a very long text that no model here takes whole",
    "close the file, then open it again",
)
LONG_QUERY = "which of the many ways to open a file is the one that closes it again in the end " * 2
LETTERS = [chr(97 + number) for number in range(26)]


@dataclass(frozen=True)
class TinyReranker:
    """`settings` is tokenizer_config.json."""

    model: TinyModel
    tokenizer: Callable[[], Tokenizer]
    settings: dict[str, Any]

    def save(self, folder: Path) -> Path:
        """config.json, model.safetensors, tokenizer.json and tokenizer_config.json."""
        self.model.save(folder)
        self.tokenizer().save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **self.settings})
        )
        return folder


def with_config(tiny: TinyReranker, **more: Any) -> TinyReranker:
    """The same with other values in config.json."""
    return replace(tiny, model=replace(tiny.model, config={**tiny.model.config, **more}))


def word_pieces() -> Tokenizer:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    tokens += [".", ",", "(", ")", ":", "[", "]"]
    tokenizer = Tokenizer(models.WordPiece({token: at for at, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens[:5]])
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def unigrams() -> Tokenizer:
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(letter, -3.0 - at / 100) for at, letter in enumerate([*LETTERS, ".", ",", "(", ")", ":"])]
    pieces += [("\u2581open", -4.0), ("\u2581the", -4.0), ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _byte_pairs(merges: list[tuple[str, str]], special: list[str], plain: list[str]) -> Tokenizer:
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(merge) for merge in merges)]
    vocabulary = {word: at for at, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in plain])
    return tokenizer


def modern_pieces() -> Tokenizer:
    tokenizer = _byte_pairs([("o", "p"), ("e", "n")], ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], [])
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    return tokenizer


def qwen_pieces() -> Tokenizer:
    merges = [("y", "e"), ("ye", "s"), ("n", "o"), ("o", "p"), ("e", "n"), ("op", "en")]
    return _byte_pairs(merges, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], ["<think>", "</think>"])


def _classifier(base: str, prefix: str, head: Callable[[dict[str, Any]], Shapes], **config: Any) -> TinyModel:
    """A tiny encoder under `prefix`, with a head of its own beside it."""

    def shapes(c: dict[str, Any]) -> Shapes:
        return {f"{prefix}{name}": shape for name, shape in MODELS[base].shapes(c).items()} | head(c)

    return TinyModel({**MODELS[base].config, **config}, shapes, MODELS[base].gguf_family)


def _layer(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _labels(config: dict[str, Any]) -> int:
    return len(config["id2label"])


def _bert_head(c: dict[str, Any]) -> Shapes:
    width = c["hidden_size"]
    return _layer("bert.pooler.dense", width, width) | _layer("classifier", _labels(c), width)


def _roberta_head(c: dict[str, Any]) -> Shapes:
    width = c["hidden_size"]
    return _layer("classifier.dense", width, width) | _layer("classifier.out_proj", _labels(c), width)


def _modern_head(c: dict[str, Any]) -> Shapes:
    width = c["hidden_size"]
    head = {"head.dense.weight": (width, width), "head.norm.weight": (width,)}
    return head | _layer("classifier", _labels(c), width)


def _words(names: tuple[str, str, str, str, str], limit: int, **more: Any) -> dict[str, Any]:
    keys = ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")
    return {**dict(zip(keys, names, strict=True)), "model_max_length": limit, **more}


_BERT_WORDS = ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")
_ONE, _TWO = {"0": "LABEL_0"}, {"0": "no", "1": "yes"}
_TYPES = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
_NO_TYPES = {"model_input_names": ["input_ids", "attention_mask"]}

RERANKERS = {
    "bert": TinyReranker(
        _classifier("bert", "bert.", _bert_head, architectures=["BertForSequenceClassification"], id2label=_ONE),
        word_pieces,
        _words(_BERT_WORDS, 48, **_TYPES),
    ),
    "bert-two-labels": TinyReranker(
        _classifier("bert", "bert.", _bert_head, architectures=["BertForSequenceClassification"], id2label=_TWO),
        word_pieces,
        _words(_BERT_WORDS, 48, **_TYPES),
    ),
    "xlm-roberta": TinyReranker(
        _classifier(
            "xlm-roberta",
            "roberta.",
            _roberta_head,
            architectures=["XLMRobertaForSequenceClassification"],
            id2label=_ONE,
        ),
        unigrams,
        _words(("<s>", "</s>", "<pad>", "<unk>", "<mask>"), 46, bos_token="<s>", eos_token="</s>", **_NO_TYPES),
    ),
    "modernbert": TinyReranker(
        _classifier(
            "modernbert",
            "model.",
            _modern_head,
            architectures=["ModernBertForSequenceClassification"],
            id2label=_ONE,
            classifier_pooling="mean",
            vocab_size=263,
        ),
        modern_pieces,
        _words(_BERT_WORDS, 48, **_NO_TYPES),
    ),
    "modernbert-cls": TinyReranker(
        _classifier(
            "modernbert",
            "model.",
            _modern_head,
            architectures=["ModernBertForSequenceClassification"],
            id2label=_ONE,
            classifier_pooling="cls",
            vocab_size=263,
        ),
        modern_pieces,
        _words(_BERT_WORDS, 48, **_NO_TYPES),
    ),
    "qwen3-reranker": TinyReranker(
        _classifier(
            "qwen3",
            "model.",
            lambda _: {},
            architectures=["Qwen3ForCausalLM"],
            tie_word_embeddings=True,
            max_position_embeddings=512,
            vocab_size=267,
        ),
        qwen_pieces,
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "model_max_length": 512, **_NO_TYPES},
    ),
    "qwen3-reranker-untied": TinyReranker(
        _classifier(
            "qwen3",
            "model.",
            lambda c: {"lm_head.weight": (c["vocab_size"], c["hidden_size"])},
            architectures=["Qwen3ForCausalLM"],
            tie_word_embeddings=False,
            max_position_embeddings=512,
            vocab_size=267,
        ),
        qwen_pieces,
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "model_max_length": 512, **_NO_TYPES},
    ),
}
