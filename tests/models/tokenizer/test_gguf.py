"""A tokenizer built from GGUF metadata gives the ids of the model's own tokenizer."""

from __future__ import annotations

import heapq
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from models.bounded import run_bounded
from models.gguf_bytes import ARRAY, BOOL, F32, I32, STRING, U8, U32, File, pair
from reference import reference
from turboprop.errors import InputTooLongError, ModelFormatError, ModelUnsupportedError
from turboprop.models.gguf.file import GGUFFile
from turboprop.models.gguf.vocabulary import TokenType, Vocabulary
from turboprop.models.tokenizer.gguf import tokenizer_from_gguf
from turboprop.models.tokenizer.load import encode_texts, longest_text, tokenizer_from_path

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=60) | st.text(
    "the Hello wörld é漢字 123\t\n'_.,!?()", max_size=120
)
relaxed = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
VOCABULARIES = ["bert-bge", "gpt-2", "llama-spm", "phi-3", "qwen2", "starcoder"]


@pytest.fixture(scope="module")
def vocabulary() -> Callable[[str], Tokenizer]:
    built: dict[str, Tokenizer] = {}

    def build(name: str) -> Tokenizer:
        if name not in built:
            built[name] = tokenizer_from_path(reference(f"tokenizers/ggml-vocab-{name}.gguf"))
        return built[name]

    return build


def cases(name: str) -> list[tuple[str, list[int]]]:
    folder = reference("tokenizers")
    data = (folder / f"ggml-vocab-{name}.gguf.inp").read_bytes().decode()
    texts = data.split("\n__ggml_vocab_test__\n")
    lines = (folder / f"ggml-vocab-{name}.gguf.out").read_text().split("\n")
    assert len(lines) == len(texts) == 47
    assert texts[-1] == lines[-1] == ""
    return [(text, [int(number) for number in line.split()]) for text, line in zip(texts, lines, strict=True)]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_reference_line(name: str, vocabulary: Callable[[str], Tokenizer]) -> None:
    tokenizer = vocabulary(name)
    for text, expected in cases(name):
        assert tokenizer.encode(text, add_special_tokens=False).ids == expected


def test_every_reference_line_of_phi_2() -> None:
    tokenizer = tokenizer_from_path(reference("tokenizers/phi-2.tokenizer.json"))
    for text, expected in cases("phi-2"):
        assert tokenizer.encode(text, add_special_tokens=False).ids == expected


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("bert-bge", [101], [102]),
        ("gpt-2", [], []),
        ("llama-spm", [1], []),
        ("phi-3", [1], []),
        ("qwen2", [], []),
        ("starcoder", [], []),
    ],
)
def test_begin_and_end_tokens(
    name: str, before: list[int], after: list[int], vocabulary: Callable[[str], Tokenizer]
) -> None:
    tokenizer = vocabulary(name)
    for text in ("", "hello world"):
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text).ids == before + plain + after
    assert tokenizer.padding is None
    assert tokenizer.truncation is None


@pytest.mark.parametrize(
    ("name", "token", "number"),
    [
        ("bert-bge", "[SEP]", 102),
        ("gpt-2", "<|endoftext|>", 50256),
        ("llama-spm", "</s>", 2),
        ("phi-3", "<|end|>", 32007),
        ("qwen2", "<|im_end|>", 151645),
        ("starcoder", "<fim_prefix>", 1),
    ],
)
def test_control_tokens_in_a_text(name: str, token: str, number: int, vocabulary: Callable[[str], Tokenizer]) -> None:
    tokenizer = vocabulary(name)
    assert tokenizer.encode(f"a{token}", add_special_tokens=False).ids[-1] == number
    tokenizer.encode_special_tokens = True
    assert number not in tokenizer.encode(f"a{token}", add_special_tokens=False).ids
    tokenizer.encode_special_tokens = False


@pytest.mark.parametrize("name", ["gpt-2", "qwen2", "llama-spm", "phi-3"])  # starcoder lacks some bytes
@relaxed
@given(text=TEXTS)
def test_decoding_gives_the_text_back(name: str, text: str, vocabulary: Callable[[str], Tokenizer]) -> None:
    tokenizer = vocabulary(name)
    tokenizer.encode_special_tokens = True
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    expected = normalizers.NFC().normalize_str(text) if name == "qwen2" else text
    if name in ("llama-spm", "phi-3"):
        expected = expected.replace("\u2581", " ")
    assert tokenizer.decode(ids, skip_special_tokens=False) == expected
    tokenizer.encode_special_tokens = False


def test_composed_and_decomposed_letters_are_one_for_qwen(vocabulary: Callable[[str], Tokenizer]) -> None:
    tokenizer = vocabulary("qwen2")
    assert tokenizer.encode("caf\u00e9").ids == tokenizer.encode("cafe\u0301").ids


def test_the_word_piece_vocabulary_is_restored() -> None:
    folder = reference("golden/synthetic-arch")
    lines = (folder / "tiny-bert-mean/vocab.txt").read_bytes().decode().split("\n")[:-1]
    built = tokenizer_from_path(folder / "tiny-bert-mean.gguf")
    assert built.get_vocab() == {token: number for number, token in enumerate(lines)}


@relaxed
@given(text=TEXTS)
def test_word_piece_equals_the_official_tokenizer(text: str, minilm_folder: Path, official: list[Tokenizer]) -> None:
    if not official:
        official.append(Tokenizer.from_file(str(minilm_folder / "tokenizer.json")))
        official[0].no_padding()
        official[0].no_truncation()
        official.append(tokenizer_from_path(reference("golden/synthetic-arch/tiny-bert-mean.gguf")))
        official.append(tokenizer_from_path(reference("golden/synthetic-arch/tiny-bert-mean")))
    expected = official[0].encode(text).ids
    assert official[1].encode(text).ids == expected
    assert official[2].encode(text).ids == expected


@pytest.fixture(scope="module")
def official() -> list[Tokenizer]:
    return []


def merged(text: str, vocabulary: Vocabulary, ids: dict[str, int]) -> list[int]:
    """SentencePiece BPE as it is defined: join the best-scored pair, the leftmost of equals."""
    scores = vocabulary.scores
    symbols = list(text)
    after = [*range(1, len(symbols)), -1]
    before = list(range(-1, len(symbols) - 1))
    queue: list[tuple[float, int, int, str]] = []

    def consider(left: int, right: int) -> None:
        if left >= 0 and right >= 0:
            whole = symbols[left] + symbols[right]
            if whole in ids:
                heapq.heappush(queue, (-float(scores[ids[whole]]), left, right, whole))

    for place in range(len(symbols) - 1):
        consider(place, place + 1)
    while queue:
        _, left, right, whole = heapq.heappop(queue)
        if symbols[left] and symbols[right] and symbols[left] + symbols[right] == whole:
            symbols[left], symbols[right] = whole, ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            consider(before[left], left)
            consider(left, after[left])
    found: list[int] = []
    for symbol in filter(None, symbols):
        found += [ids[symbol]] if symbol in ids else [3 + byte for byte in symbol.encode()]
    return found


@pytest.mark.parametrize("path", ["tokenizers/ggml-vocab-llama-spm.gguf", "gguf/stories260K.gguf"])
def test_sentencepiece_equals_its_definition(path: str) -> None:
    with GGUFFile.open(reference(path)) as file:
        vocabulary = Vocabulary.read(file.metadata)
        tokenizer = tokenizer_from_gguf(file)
    tokenizer.encode_special_tokens = True
    apart = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.BYTE)
    ids = {token: n for n, token in enumerate(vocabulary.tokens) if vocabulary.types[n] not in apart}
    chance = random.Random(20)
    tokens = list(ids)
    for turn in range(2000):
        if turn % 3 == 0:
            text = "".join(chance.choices(tokens, k=chance.randint(1, 12)))
        elif turn % 3 == 1:
            text = "".join(chance.choices("ab c\ne-=", k=chance.randint(1, 60)))
        else:
            text = chance.choice("a e-=_.0\t é漢") * chance.randint(1, 70)
        escaped = "\u2581" + text.replace(" ", "\u2581")
        assert tokenizer.encode(text, add_special_tokens=False).ids == merged(escaped, vocabulary, ids)


WORDS = {"tokenizer.ggml.tokens": (ARRAY, (STRING, ["<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "\u2581ab"]))}
SCORES = {"tokenizer.ggml.scores": (ARRAY, (F32, [0, 0, 0, -4, -5, -6, -1, -2]))}
TYPES = {"tokenizer.ggml.token_type": (ARRAY, (I32, [2, 3, 3, 1, 1, 1, 1, 1]))}
BPE = {
    "tokenizer.ggml.model": (STRING, "gpt2"),
    "tokenizer.ggml.pre": (STRING, "gpt-2"),
    "tokenizer.ggml.tokens": (ARRAY, (STRING, ["a", "b", "ab", "<x>", "<y>", "Ġ"])),
    "tokenizer.ggml.token_type": (ARRAY, (I32, [1, 1, 1, 3, 4, 1])),
    "tokenizer.ggml.merges": (ARRAY, (STRING, ["a b"])),
}
SPM = {"tokenizer.ggml.model": (STRING, "llama"), **WORDS, **SCORES, **TYPES}
T5 = {"tokenizer.ggml.model": (STRING, "t5"), **WORDS, **SCORES, **TYPES}
BERT = {
    "tokenizer.ggml.model": (STRING, "bert"),
    "tokenizer.ggml.tokens": (ARRAY, (STRING, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581he", "llo", "\u2581a"])),
}


def write(tmp_path: Path, keys: dict[str, tuple[int, object]], **changes: object) -> Path:
    """A vocabulary; a change to None takes the key away."""
    keys = keys | {f"tokenizer.ggml.{name}": value for name, value in changes.items()}  # type: ignore[dict-item]
    path = tmp_path / "vocabulary.gguf"
    pairs = [pair(key, *value) for key, value in keys.items() if value is not None]
    path.write_bytes(File(pairs).bytes())
    return path


def build(tmp_path: Path, keys: dict[str, tuple[int, object]], **changes: object) -> Tokenizer:
    return tokenizer_from_path(write(tmp_path, keys, **changes))


def test_ends_of_text_are_control_tokens_whatever_the_file_says(tmp_path: Path) -> None:
    """As in llama.cpp: Gemma's files call `</s>` user-defined, and its text is spelled out there."""
    tokens = (ARRAY, (STRING, ["<unk>", "<", "/", "s", ">", "</s>", "<b>", "</"]))
    kinds = (ARRAY, (I32, [2, 1, 1, 1, 1, 4, 4, 1]))
    ends = {"add_space_prefix": (BOOL, False), "add_bos_token": (BOOL, False)}
    tokenizer = build(tmp_path, SPM, tokens=tokens, token_type=kinds, scores=(ARRAY, (F32, [0.0] * 8)), **ends)
    assert tokenizer.encode("<b></s>", add_special_tokens=False).tokens == ["<b>", "</s>"]
    tokenizer.encode_special_tokens = True
    assert tokenizer.encode("<b></s>", add_special_tokens=False).tokens == ["<b>", "</", "s", ">"]


@pytest.mark.parametrize("name", ["chameleon", "cohere2moe", "deepseek-llm", "exaone-moe", "jais-2", "tiny_aya"])
def test_texts_end_early_where_the_rules_take_square_time(tmp_path: Path, name: str) -> None:
    """llama.cpp's own patterns of these names read a long run of spaces or digits again from each of its places."""
    tokenizer = build(tmp_path, BPE, pre=(STRING, name), add_bos_token=(BOOL, False))
    assert longest_text(tokenizer) == 16_384
    assert len(encode_texts(tokenizer, ["a" * 16_384])) == 1
    with pytest.raises(InputTooLongError, match="at most 16384"):
        encode_texts(tokenizer, ["a" * 16_385])
    assert longest_text(build(tmp_path, BPE)) > 16_384


def test_user_defined_tokens_stay_with_special_tokens_off(tmp_path: Path) -> None:
    tokenizer = build(tmp_path, BPE)
    assert tokenizer.encode("ab<x>a<y>").ids == [2, 3, 0, 4]
    assert tokenizer.decode([2, 3, 0, 4]) == "aba<y>"
    tokenizer.encode_special_tokens = True
    assert 3 not in tokenizer.encode("<x>").ids
    assert tokenizer.encode("<y>").ids == [4]


@pytest.mark.parametrize(
    ("keys", "changes", "expected"),
    [
        (SPM, {}, [1, 7]),
        (SPM, {"add_bos_token": (BOOL, 0)}, [7]),
        (SPM, {"add_bos_token": (BOOL, 0), "add_eos_token": (BOOL, 1)}, [7, 2]),
        (SPM, {"bos_token_id": (U32, 2), "add_eos_token": (BOOL, 1), "eos_token_id": (U32, 1)}, [2, 7, 1]),
        (SPM, {"bos_token_id": (U32, 2**32 - 1)}, [1, 7]),
        (SPM, {"add_space_prefix": (BOOL, 0)}, [1, 6]),
        (T5, {"unknown_token_id": (U32, 0)}, [7, 1]),
        (T5, {"add_bos_token": (BOOL, 1), "bos_token_id": (U32, 1), "eos_token_id": (U32, 2)}, [1, 7, 2]),
        (T5, {"add_space_prefix": (BOOL, 0), "add_eos_token": (BOOL, 0)}, [6]),
        (BPE, {"add_bos_token": (BOOL, 1), "bos_token_id": (U32, 3)}, [3, 2]),
        (BPE, {"add_eos_token": (BOOL, 1), "eos_token_id": (I32, 3)}, [2, 3]),
        (BPE, {"pre": (STRING, "llama-bpe"), "bos_token_id": (U32, 3)}, [3, 2]),
    ],
)
def test_the_rules_of_begin_and_end(
    tmp_path: Path, keys: dict[str, tuple[int, object]], changes: dict[str, object], expected: list[int]
) -> None:
    assert build(tmp_path, keys, **changes).encode("ab").ids == expected


def test_a_token_with_template_syntax_is_only_a_token(tmp_path: Path) -> None:
    tokens = (ARRAY, (STRING, ["a", "b", "ab", "$A:1 x", "<y>", "Ġ"]))
    tokenizer = build(tmp_path, BPE, tokens=tokens, bos_token_id=(U32, 3), add_bos_token=(BOOL, 1))
    assert tokenizer.encode("ab").ids == [3, 2]
    assert tokenizer.encode("ab").tokens[0] == "$A:1 x"


def test_bert_ids_come_from_keys_or_names(tmp_path: Path) -> None:
    assert build(tmp_path, BERT).encode("Hello a").ids == [2, 4, 5, 6, 3]
    assert build(tmp_path, BERT).encode("zzz").ids == [2, 1, 3]
    changed = build(tmp_path, BERT, bos_token_id=(U32, 0), seperator_token_id=(U32, 2))
    assert changed.encode("a", "a").ids == [0, 6, 2, 6, 2]
    assert build(tmp_path, BERT, cls_token_id=(U32, 3)).encode("a").ids == [3, 6, 3]


def test_case_of_a_bert_vocabulary(tmp_path: Path) -> None:
    tokens = (ARRAY, (STRING, ["[UNK]", "[CLS]", "[SEP]", "\u2581É", "\u2581A", "\u2581a", "\u2581e"]))
    assert build(tmp_path, BERT, tokens=tokens).encode("A É").ids == [1, 4, 3, 2]
    lower = build(tmp_path, BERT, tokens=tokens, **{"normalizer.lowercase": (BOOL, 1)})
    assert lower.encode("A É").ids == [1, 5, 6, 2]
    kept = build(tmp_path, BERT, **{"normalizer.strip_accents": (BOOL, 0)})
    assert kept.encode("á").ids == [2, 1, 3]
    assert build(tmp_path, BERT).encode("á").ids == [2, 6, 3]


@pytest.mark.parametrize(
    ("keys", "changes", "words"),
    [
        (BPE, {"model": None}, "has no tokenizer"),
        (BPE, {"model": (STRING, "rwkv")}, "kind 'rwkv'"),
        (BPE, {"pre": None}, "does not name its pre-tokenizer"),
        (BPE, {"pre": (STRING, "kimi-k2")}, "pre-tokenizer 'kimi-k2', which is not known here.*llamacpp"),
        (T5, {"treat_whitespace_as_suffix": (BOOL, 1)}, "spaces behind words"),
    ],
)
def test_what_is_not_read(
    tmp_path: Path, keys: dict[str, tuple[int, object]], changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ModelUnsupportedError, match=words):
        build(tmp_path, keys, **changes)


@pytest.mark.parametrize(
    ("keys", "changes", "words"),
    [
        (BPE, {"model": (U32, 1)}, r"tokenizer\.ggml\.model is 1"),
        (BPE, {"tokens": None}, r"no key tokenizer\.ggml\.tokens"),
        (BPE, {"merges": None}, r"no key tokenizer\.ggml\.merges"),
        (BPE, {"merges": (ARRAY, (STRING, ["ab"]))}, "the merge 'ab' is not two tokens"),
        (BPE, {"merges": (ARRAY, (STRING, ["a "]))}, "is not two tokens"),
        (BPE, {"merges": (ARRAY, (STRING, ["a z"]))}, "cannot be built"),
        (BPE, {"merges": (ARRAY, (STRING, ["b a"]))}, "cannot be built"),
        (BPE, {"token_type": (ARRAY, (I32, [1, 1]))}, "has 2 elements for 6 tokens"),
        (BPE, {"token_type": (ARRAY, (F32, [1.0] * 6))}, "holds FLOAT32 values"),
        (BPE, {"tokens": (ARRAY, (STRING, ["a", "b", "ab", "a", "<y>", "Ġ"]))}, "'a' has two ids, 0 and 3"),
        (BPE, {"pre": (STRING, "llama3")}, "bos token is to be added"),
        (BPE, {"add_eos_token": (BOOL, 1)}, "eos token is to be added"),
        (BPE, {"add_eos_token": (U32, 1)}, "not a bool"),
        (BPE, {"add_bos_token": (BOOL, 1), "bos_token_id": (U32, 6)}, "bos token is to be added"),
        (SPM, {"scores": None}, "without tokenizer.ggml.scores"),
        (SPM, {"scores": (ARRAY, (F32, [float("nan")] * 8))}, "not finite"),
        (SPM, {"tokens": (ARRAY, (U8, [1, 2])), "token_type": None}, "not an array of strings"),
        (SPM, {"tokens": (ARRAY, (STRING, [*"abcdefg", "x" * 2**20]))}, "has 1048576 characters"),
        (T5, {"tokens": (ARRAY, (STRING, [*"abcdefg", "x" * 1025]))}, "more than the 1024 allowed"),
        (T5, {"scores": None}, "without tokenizer.ggml.scores"),
        (T5, {"precompiled_charsmap": (ARRAY, (F32, [1.0]))}, "holds no bytes"),
        (T5, {"precompiled_charsmap": (ARRAY, (U8, [1, 2]))}, "cannot be built"),
        (BERT, {"tokens": (ARRAY, (STRING, ["\u2581a"]))}, r"without \[CLS\]"),
    ],
)
def test_what_contradicts_itself(
    tmp_path: Path, keys: dict[str, tuple[int, object]], changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ModelFormatError, match=words):
        build(tmp_path, keys, **changes)


def test_a_vocabulary_of_twenty_megabytes(tmp_path: Path) -> None:
    tokens = (ARRAY, (STRING, [f"{number:x>1000}" for number in range(20_000)]))
    with pytest.raises(ModelFormatError, match="more than 16777216 characters together"):
        build(tmp_path, SPM, tokens=tokens, token_type=None, scores=(ARRAY, (F32, [0.0] * 20_000)))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
@pytest.mark.parametrize("name", ["merges", "cuts", "beginnings", "tokens", "control", "map"])
def test_vocabularies_that_would_take_all_memory(tmp_path: Path, name: str) -> None:
    many = 300_000
    changes: dict[str, object] = {"token_type": None}
    keys = SPM
    match name:
        case "merges":
            keys, changes["merges"] = BPE, (ARRAY, (STRING, ["a b"] * 1_100_000))
        case "cuts":
            tokens = [letter * count for letter in "abcdefghijklmnop" for count in range(1, 1000)]
            changes |= {"tokens": (ARRAY, (STRING, tokens)), "scores": (ARRAY, (F32, [0.0] * len(tokens)))}
        case "beginnings":
            tokens = [f"{number:05}" + chr(number + 1000) * 990 for number in range(4000)]
            changes |= {"tokens": (ARRAY, (STRING, tokens)), "scores": (ARRAY, (F32, [0.0] * len(tokens)))}
            keys = T5
        case "tokens":
            keys, changes["tokens"] = BERT, (ARRAY, (STRING, [f"{number:x}" for number in range(2_100_000)]))
        case "control":
            changes["tokens"] = (ARRAY, (STRING, [f"<{number}>" for number in range(many)]))
            changes |= {"token_type": (ARRAY, (I32, [3] * many)), "scores": (ARRAY, (F32, [0.0] * many))}
        case "map":
            text = (0).to_bytes(4, "little") + b"x" * 1_000_000
            keys, changes = T5, {"precompiled_charsmap": (ARRAY, (U8, list(text)))}
    path = write(tmp_path, keys, **changes)
    printed = run_bounded(
        "from pathlib import Path\n"
        "from turboprop.models.tokenizer.load import tokenizer_from_path\n"
        "tokenizer_from_path(Path(sys.argv[1]))\n"
        "print('built')",
        str(path),
    )
    assert printed.startswith("GGUFFormatError" if name not in ("control", "map") else "ModelFormatError"), printed
    assert str(path) in printed


def test_empty_tokens_are_named(tmp_path: Path) -> None:
    tokens = (ARRAY, (STRING, ["a", "b", "ab", "", "", "Ġ"]))
    tokenizer = build(tmp_path, BPE, tokens=tokens, token_type=None)
    assert tokenizer.get_vocab_size() == 6
    assert tokenizer.token_to_id("[EMPTY_4]") == 4


def converted(tmp_path: Path, original: Tokenizer, **keys: tuple[int, object]) -> Tokenizer:
    """A tokenizer.json written as GGUF metadata and read back."""
    state = json.loads(original.to_str())
    size = original.get_vocab_size(with_added_tokens=True)
    tokens = [original.id_to_token(number) or f"[free {number}]" for number in range(size)]
    types = [1] * size
    for added in state["added_tokens"]:
        types[added["id"]] = 3 if added["special"] else 4
    keys["tokens"] = (ARRAY, (STRING, tokens))
    keys["token_type"] = (ARRAY, (I32, types))
    return build(tmp_path, {}, **keys)


def test_phi_2_from_metadata_equals_its_own_file(tmp_path: Path) -> None:
    original = Tokenizer.from_file(str(reference("tokenizers/phi-2.tokenizer.json")))
    merges = [" ".join(merge) for merge in json.loads(original.to_str())["model"]["merges"]]
    built = converted(
        tmp_path,
        original,
        model=(STRING, "gpt2"),
        pre=(STRING, "phi-2"),
        merges=(ARRAY, (STRING, merges)),
    )

    @relaxed
    @given(text=TEXTS | st.text(" \n\tab<|endoftext>", max_size=100))
    def agree(text: str) -> None:
        assert built.encode(text).ids == original.encode(text).ids

    agree()


def test_unigram_from_metadata_equals_the_trained_one(tmp_path: Path, code_pieces: list[str]) -> None:
    code_pieces = [piece for piece in code_pieces if piece.isascii()]  # 600 pieces are few beside thousands of signs
    original = Tokenizer(models.Unigram())
    original.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Replace("  ", " ")])
    original.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    original.train_from_iterator([" ".join(piece.split()) for piece in code_pieces], trainer)
    state = json.loads(original.to_str())["model"]
    single = np.array([score for _, score in state["vocab"]], np.float32).tolist()  # as files have them
    pieces = [piece for piece, _ in state["vocab"]]
    original.model = models.Unigram(list(zip(pieces, single, strict=True)), unk_id=state["unk_id"])
    built = converted(
        tmp_path,
        original,
        model=(STRING, "t5"),
        scores=(ARRAY, (F32, single)),
        unknown_token_id=(U32, state["unk_id"]),
        remove_extra_whitespaces=(BOOL, 1),
        bos_token_id=(U32, 0),
        eos_token_id=(U32, 1),
        add_bos_token=(BOOL, 1),
    )
    for piece in code_pieces:
        text = " ".join(piece.split())
        assert built.encode(f" {text}   ").ids == [0, *original.encode(text).ids, 1]
        if "▁" not in text and "</s>" not in text:  # they stand for something else in the ids
            assert built.decode(built.encode(text).ids) == text
