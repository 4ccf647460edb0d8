"""Bytes to text in the encodings that repositories hold, and data that is none."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code.encoding import decode, normalise_newlines

COMMENTS = {  # what is between quotes is text of its language, fullwidth signs and all
    "gb18030": ["用户登录处理", "计算订单总额", "连接数据库", "作者张三", "默认值为零", "注意：不要删除"],  # noqa: RUF001
    "big5": ["使用者登入處理", "計算訂單總額", "連接資料庫", "列印記錄", "預設值為零", "注意：不要刪除"],  # noqa: RUF001
    "cp932": ["ユーザーのログイン処理", "要求を送信して応答を待つ", "データベース接続", "終了処理を行う", "ログ出力"],
    "euc_jp": ["ユーザーのログイン処理", "要求を送信して応答を待つ", "データベース接続", "結果を返す", "ログ出力"],
    "cp949": ["사용자 로그인 처리", "주문 합계를 계산한다", "데이터베이스 연결", "기본값은 영", "로그 출력"],
    "cp1251": ["Обработка входа", "считает сумму заказа", "ВНИМАНИЕ: не удалять", "автор Иванов", "Ошибка"],
    "koi8_r": ["Обработка входа", "считает сумму заказа", "Подключение к базе данных", "автор Иванов", "Ошибка"],
    "cp1252": ["Prüfung der Größe", "élève français", "naïve café", "Jörg Müller", "“quoted” – dash", "año señor"],  # noqa: RUF001
    "cp1250": ["Zażółć gęślą jaźń", "Sprawdź hasło użytkownika", "źródło danych", "większy niż"],
    "iso8859_2": [
        "Sprawdź hasło użytkownika",
        "Příliš žluťoučký kůň",
        "Ověří heslo uživatele",
        "Árvíztűrő tükör",
    ],
    "cp1253": ["Έλεγχος του κωδικού πρόσβασης", "Υπολογίζει το σύνολο", "Σφάλμα σύνδεσης με τη βάση", "προεπιλογή"],
    "iso8859_7": ["Άνοιγμα του αρχείου", "επιστρέφει το αποτέλεσμα", "ΠΡΟΣΟΧΗ: μην το διαγράψετε"],
    "cp1255": ["בדיקת סיסמה של המשתמש", "מחשב את סכום ההזמנה", "התחברות למסד הנתונים", "ערך ברירת המחדל"],
    "cp1256": ["التحقق من كلمة المرور", "حساب مجموع الطلب", "الاتصال بقاعدة البيانات", "القيمة الافتراضية"],
    "cp874": ["ตรวจสอบรหัสผ่านของผู้ใช้", "คำนวณยอดรวมของคำสั่งซื้อ", "เชื่อมต่อฐานข้อมูล", "ค่าเริ่มต้นเป็นศูนย์"],
    "cp1254": ["Kullanıcının şifresini doğrula", "Sipariş toplamını hesaplar", "Veritabanı bağlantısı", "Dosyayı açar"],  # noqa: RUF001
    "cp1257": ["Skaičiuoja užsakymų sumą pagal mokėjimo būdą", "Įrašo nuostatas į bylą, jei jų dar nėra"],
    "cp866": ["Обработка входа", "считает сумму заказа", "ВНИМАНИЕ: не удалять", "Ошибка при чтении файла"],
    "koi8_u": ["Перевірка пароля користувача", "Обчислює суму замовлення", "Помилка під час читання"],
    "iso8859_5": ["Обработка входа", "считает сумму заказа", "Подключение к базе данных"],
    "utf-16-le": ["用户登录处理", "Обработка входа", "plain", "Größe"],
    "utf-16-be": ["ユーザーの処理", "주문 합계", "plain", "élève"],
    "iso2022_jp": ["ユーザーのログイン処理", "結果を返す"],
}


def source(comments: list[str]) -> str:
    return "".join(
        f"# {comment}\ndef function_{number}(name):\n    return name\n\n" for number, comment in enumerate(comments)
    )


@pytest.mark.parametrize("encoding", COMMENTS)
@given(chance=st.randoms(use_true_random=False))
def test_a_source_with_a_few_comments_is_read_in_its_own_encoding(encoding: str, chance: random.Random) -> None:
    # Of one comment said over and over some are wrong: decision 11 has the rates.
    text = source(chance.sample(COMMENTS[encoding], k=len(COMMENTS[encoding])))
    found = decode(text.encode(encoding))
    assert found is not None
    assert found.text == text
    assert not found.replaced


@pytest.mark.parametrize("encoding", COMMENTS)
def test_one_comment_is_enough(encoding: str) -> None:
    for comment in COMMENTS[encoding]:
        text = source([comment])
        found = decode(text.encode(encoding))
        assert found is not None
        assert found.text == text, (comment, found)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "language", ["gb18030", "big5", "cp932", "cp949", "cp1251", "cp1253", "cp1255", "cp1256", "cp874"]
)
def test_text_without_a_single_word_in_english_is_read_as_utf_16(encoding: str, language: str) -> None:
    for text in ("".join(COMMENTS[language]), "\n".join(COMMENTS[language]) + "\n"):
        found = decode(text.encode(encoding))
        assert found is not None
        assert (found.text, found.encoding) == (text, encoding)


@given(st.sampled_from(sorted(COMMENTS)), st.randoms(use_true_random=False), st.sampled_from([0xE9, 0xFC, 0x93, 0xFF]))
def test_a_stray_byte_does_not_turn_comments_in_utf_8_into_another_language(
    encoding: str, chance: random.Random, stray: int
) -> None:
    data = source(chance.choices([one for one in COMMENTS[encoding] if not one.isascii()], k=3)).encode()
    at = chance.randint(0, len(data))
    found = decode(data[:at] + bytes([stray]) + data[at:])
    assert found is not None
    assert found.encoding == "utf-8"


@pytest.mark.parametrize(("encoding", "stray"), [("cp1253", 0xD2), ("cp1255", 0xFF), ("cp874", 0xFF), ("cp1251", 0x98)])
def test_a_stray_byte_does_not_turn_a_legacy_file_into_latin_1(encoding: str, stray: int) -> None:
    text = source(COMMENTS[encoding] * 3)
    found = decode(text.encode(encoding) + b"# " + bytes([stray]) + b"\n")
    assert found is not None
    assert (found.text, found.encoding, found.replaced) == (text + "# \ufffd\n", encoding, 1)


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1),
    st.sampled_from("äß漢字кн😀"),
    st.integers(0xF8, 0xFF),
    st.data(),
)
def test_a_stray_byte_does_not_turn_utf8_into_something_else(
    text: str, letter: str, stray: int, data: st.DataObject
) -> None:
    # Of a single letter nobody can tell: F8 41 E5 AD 97 41 is `øAå—A`, too.
    whole = (text + letter * 2 + text).replace("\ufffd", "?")
    at = data.draw(st.integers(0, len(whole)))
    found = decode(whole[:at].encode() + bytes([stray]) + whole[at:].encode())
    assert found is not None
    assert (found.encoding, found.replaced) == ("utf-8", 1)
    assert found.text == whole[:at] + "\ufffd" + whole[at:]


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"), min_size=1))
def test_all_that_is_utf8_is_read_as_it_is(text: str) -> None:
    found = decode(text.encode())
    if found is not None:  # texts of control characters are data
        assert (found.text, found.encoding, found.replaced) == (text, "utf-8", 0)


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-7", "unicode_escape", "cp037", "cp864", "shift_jis_2004"])
@pytest.mark.parametrize("more", ["", " "])
def test_a_declared_encoding_that_does_not_keep_ascii_is_not_believed(name: str, more: str) -> None:
    text = f'<?xml version="1.0" encoding="{name}"?>\n<a>Größe \\n für die Straße ~ 5 %</a>{more}\n'
    found = decode(text.encode("cp1252"))
    assert found is not None
    assert (found.text, found.encoding) == (text, "cp1252")


@pytest.mark.parametrize("head", ["# -*- coding: koi8-r -*-\n", '<?xml version="1.0" encoding="iso-8859-5"?>\n'])
def test_what_a_file_says_of_itself_counts_more_than_a_guess(head: str) -> None:
    encoding = "koi8-r" if "koi8" in head else "iso-8859-5"
    text = head + "ДА\n"
    found = decode(text.encode(encoding))
    assert found is not None
    assert found.text == text


@pytest.mark.parametrize("name", ["no-such-codec", "hex", "utf-7", "undefined", "idna"])
def test_a_codec_that_is_none_is_passed_over(name: str) -> None:
    assert decode(f"# coding: {name}\n# Größe\n".encode("latin-1")) is not None


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\0\0\xfe\xff"])
def test_a_mark_alone_is_an_empty_text(mark: bytes) -> None:
    found = decode(mark)
    assert found is not None
    assert found.text == ""


def test_text_with_odd_characters_is_text() -> None:
    lines = "x = 1  # a line as there are many\n" * 40
    for odd in ("\0", "\x1b[31m red \x1b[0m", "\x0c", "\u2028", "\x01\x02", '"' + "\0" * 3_000 + '"\n'):
        found = decode((lines + odd + lines).encode())
        assert found is not None, odd
        assert found.text == lines + odd + lines


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 20,
        random.Random(1).randbytes(5_000),
        random.Random(2).randbytes(64),
        zlib.compress(b"a text " * 1_000, 9) * 3,
        b"x = 1\n\x00\x01\x02" * 20,
        b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x03\x00\x3e\x00" * 50,
        b"\xde\x12\x04\x95" + b"".join(number.to_bytes(4, "little") for number in range(9)) + b"word\0other\0" * 9,
        ("nul\0" * 9).encode("utf-16"),
        b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n" + b"1 0 obj << /Length 300 >>\n" + random.Random(3).randbytes(3_000),
        b"".join(value.to_bytes(2, "little") for value in range(1, 400)),
    ],
    ids=range(10),
)
def test_data_is_no_text(data: bytes) -> None:
    assert decode(data) is None


@given(st.binary(max_size=300))
def test_every_input_ends(data: bytes) -> None:
    found = decode(data)
    assert found is None or isinstance(found.text, str)


@given(st.text(st.sampled_from("ab\r\n\x0c\u2028\x85"), max_size=40))
def test_no_line_is_lost(text: str) -> None:
    lines = normalise_newlines(text).split("\n")
    wanted = text.replace("\r\n", "\n")
    assert lines == (wanted.replace("\r", "\n") if "\n" not in text else wanted).split("\n")


def test_utf_8_with_surrogates_or_by_its_own_word_stays_utf_8() -> None:
    surrogates = "# 设置数据库\n".encode() + b"# \xed\xa0\x80\xed\xb0\x80\nx = 1\n"
    declared = "# -*- coding: utf-8 -*-\n# 设置\n".encode() + b"# \x81\xfe\x81\xfe\x81\xfe\n"
    for data, word in ((surrogates, "设置数据库"), (declared, "设置")):
        found = decode(data)
        assert found is not None
        assert (found.encoding, word in found.text) == ("utf-8", True)
        assert found.replaced
