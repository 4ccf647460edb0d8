"""Words of all scripts: what a text is found by, and what a query asks for."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code.terms import folded, split_identifier, stem, stored_terms, terms, words


def finds(query: str, text: str) -> bool:
    """Whether every term of the query is one of the text's."""
    asked = {term for word in words(query) for term in terms(word)}
    held = {term for word in words(text) for term in stored_terms(word)}
    return bool(asked) and asked <= held


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("锁", "class 分布式锁:"),
        ("锁", "释放锁"),
        ("获取锁", "def 获取锁(self, 名称):"),
        ("配置文件", "解析配置文件并返回字典。"),
        ("解析 字典", "解析配置文件并返回字典。"),
        ("失败", "尝试获取锁, 失败返回 False。"),
        ("ファイル", "設定ファイルを読み込む"),
        ("読", "設定ファイルを読み込む"),
        ("ファイル", "設定ﾌｧｲﾙを読む"),
        ("ガ", "ガ"),
        ("설정", "설정을 읽는다"),
        ("읽", "설정을 읽는다"),
        ("설정", unicodedata.normalize("NFD", "설정을 읽는다")),
        ("อีเมล", "ส่งอีเมลยืนยันการสั่งซื้อให้ลูกค้า"),
        ("भुगतान", "ग्राहक को भुगतान की पुष्टि भेजें"),
        ("رسالة", "إرسال رسالة تأكيد الدفع إلى العميل"),
        ("подпись документа", "def проверитьПодписьДокумента(док):"),
        ("документов", "def проверитьПодписьДокумента(док):"),
        ("größe", "def f(GRÖSSE): ..."),
        ("einstellungen ändern", "def benutzerEinstellungenÄndern(größe):"),
        ("zahlung auslösen", "def zahlungAuslösen():"),
        ("vérifie", unicodedata.normalize("NFD", "Vérifie les données saisies.")),
        (unicodedata.normalize("NFD", "données"), "Vérifie les données saisies."),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        ("\uff21\uff22\uff23", "abc = 1"),
        ("ﬁle", "file"),
        ("naïve bayes", "class NaïveBayes:"),
        ("𠮷", "𠮷野家"),
    ],
)
def test_what_finds_what(query: str, text: str) -> None:
    assert finds(query, text)


@pytest.mark.parametrize(
    ("query", "text"), [("锁定", "释放锁"), ("配置", "配送放置"), ("文件", "文本条件"), ("данные", "документ")]
)
def test_what_does_not(query: str, text: str) -> None:
    assert not finds(query, text)


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("HTTPServer_v2", ["http", "server", "v", "2"]),
        ("проверитьПодписьДокумента", ["проверить", "подпись", "документа"]),
        ("HTTPЖизнь", ["http", "жизнь"]),
        ("größe", ["grösse"]),
        ("benutzerEinstellungenÄndern", ["benutzer", "einstellungen", "ändern"]),
        ("ÄndereGröße2", ["ändere", "grösse", "2"]),
        ("Redis锁Manager", ["redis", "锁", "manager"]),
        ("获取_锁", ["获取", "锁"]),
    ],
)
def test_parts(word: str, parts: list[str]) -> None:
    assert split_identifier(word) == parts


def test_a_long_sentence_without_blanks_is_no_data() -> None:
    sentence = "尝试获取锁失败返回释放配置文件" * 30
    assert len(list(words(sentence))) == 1
    assert "配置" in terms(sentence)
    assert terms("a" * 101) == ()


def test_signs_alone_are_asked_for_only_alone() -> None:
    assert terms("获取锁") == ("获取", "取锁")
    assert terms("锁") == ("锁",)
    assert set(stored_terms("获取锁")) == {"获取", "取锁", "获", "取", "锁"}


@given(st.text(max_size=60))
def test_the_form_of_a_text_does_not_matter(text: str) -> None:
    def found(form: str) -> list[tuple[str, ...]]:
        return [stored_terms(word) for word in words(unicodedata.normalize(form, text))]

    assert found("NFC") == found("NFD") == found("NFKC")
    assert folded(folded(text)) == folded(text)


@given(st.text("abcXYZ019_$", max_size=30))
def test_ascii_is_as_it_was(word: str) -> None:
    assert "".join(split_identifier(word)) == word.replace("_", "").replace("$", "").lower()
    assert all(stored_terms(each) == terms(each) for each in words(word))
    assert all(stem(part) for part in split_identifier(word))
