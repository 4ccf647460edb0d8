"""Bytes to text: the one place where a file's encoding is found out.

A byte-order mark decides, then UTF-8 (also with a few stray bytes), then UTF-16 by where its zero bytes are, then what
the file says of itself, then `charset_normalizer`. That library judges how much text looks like noise; of a comment of
ten Chinese characters it finds none in three encodings, and takes the wrong one. So what it lets pass is ranked by how
common the characters are: every double-byte standard puts its few thousand common ones into rows of their own.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from functools import lru_cache
from typing import NamedTuple

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Of two that fit alike the first one is taken. Latin-1 takes any byte and is the last resort.
_LEGACY = ("cp1252", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "cp1250")
_DECLARED = re.compile(
    rb"""coding[:=][ \t]*["']?([-\w.]+)|encoding=["']([-\w.]+)|charset=["']?([-\w.]+)""", re.IGNORECASE
)
_DECLARED_WITHIN = 1_024
# What a file may say of itself, as Python calls them: codecs in which ASCII bytes are their own characters. Any byte is
# something in UTF-16, so a wrong "utf-16" would be believed, and `unicode_escape` makes lines of what is none.
_DECLARABLE = re.compile(
    r"cp(?:125[0-8]|437|720|737|775|85[025678]|86[0123569]|874|932|949|950|1006|1125)|iso8859-\d+|koi8-[rtu]|kz1048"
    r"|mac-\w+|tis-620|ptcp154|hp-roman8|big5(?:hkscs)?|gb2312|gbk|gb18030|euc_\w+|johab|shift_jis"
)
_SAMPLE = 65_536
# Bytes of text next to none of which are in hand-written files; tab, line ends, form feed and escape are not counted.
_CONTROL = bytes(range(1, 7)) + bytes(range(14, 27)) + bytes(range(28, 32))
# In UTF-8 one zero byte among a hundred is a test's odd string; a table of strings that end with one has 1 in 30.
_MOST_ZEROS = 0.01
# Of bytes that are no UTF-8: random ones have five times as many, texts hardly any.
_MOST_CONTROL = 0.02
# So many whole characters a stray byte are UTF-8, whatever else they could be; pairs of Big5 have been four for two.
_MANY = 4
# A test with a string of thousands of zero bytes has them in one line; what is binary has them everywhere.
_CLEAN_LINES = 0.9
_FEW_LINES = 5


class Decoded(NamedTuple):
    """A text, the codec that gave it and how many of its bytes are none of that codec."""

    text: str
    encoding: str
    replaced: int = 0


def decode(data: bytes) -> Decoded | None:
    """The text of a file; None where its bytes are data rather than text."""
    for mark, codec in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            found = _decoded(data[len(mark) :], codec)
            return found if found.text.count("\0") <= _MOST_ZEROS * len(found.text) else None
    sample = data[:_SAMPLE]
    if b"\x1b$" in sample and data.isascii():  # Japanese mail's, whose bytes are all ASCII
        with contextlib.suppress(UnicodeDecodeError):
            return Decoded(data.decode("iso2022_jp"), "iso2022_jp")
    zeros = sample.count(0)
    if zeros > _MOST_ZEROS * len(sample):
        if codec := _utf16_without_mark(sample):
            return _decoded(data, codec)
        if not _in_few_lines(sample):
            return None
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        found = _decoded(data, "utf-8")
    # Each character of several bytes that is whole speaks for UTF-8; of other encodings' texts few pairs are.
    whole = len(found.text) - len(found.text.encode("ascii", "ignore")) - found.replaced
    if whole >= _MANY * found.replaced:
        return found
    control = len(sample) - len(sample.translate(None, _CONTROL))
    if zeros or control > _MOST_CONTROL * len(sample):
        return found if whole > found.replaced else None
    if whole and _declares_utf_8(data):
        return found
    legacy, sure = _legacy(data)
    # Latin-1 is what is left where no encoding fits.
    keeps = whole >= found.replaced or legacy.encoding == "latin-1"
    return found if whole and keeps and not sure else legacy


def normalise_newlines(text: str) -> str:
    """Text whose lines end with `\\n` alone.

    `\\r\\n` becomes `\\n`. A lone `\\r` ends a line only in a file without any `\\n` (classic Mac OS);
    elsewhere it is a character of its line, as for Git and most editors. Form feeds, U+2028 and their
    like never end a line.
    """
    if "\r" not in text:
        return text
    if "\n" not in text:
        return text.replace("\r", "\n")
    return text.replace("\r\n", "\n")


def _decoded(data: bytes, codec: str) -> Decoded:
    text = data.decode(codec, "replace")
    own = data.count("\ufffd".encode(codec)) if codec.startswith("utf") else 0
    return Decoded(text, codec, max(0, text.count("\ufffd") - own))


def _in_few_lines(sample: bytes) -> bool:
    """Whether the zero bytes are in few of many lines."""
    lines = sample.split(b"\n")
    clean = sum(0 not in line for line in lines)
    return len(lines) >= _FEW_LINES and clean >= _CLEAN_LINES * len(lines)


def _utf16_without_mark(sample: bytes) -> str:
    """The codec whose ASCII characters, a fifth of all at least, are whole; '' for none."""
    sample = sample[: len(sample) // 2 * 2]
    for codec, zeros, letters in (("utf-16-le", sample[1::2], sample[0::2]), ("utf-16-be", sample[0::2], sample[1::2])):
        ascii_only = bytes(letter for zero, letter in zip(zeros, letters, strict=True) if not zero)
        control = len(ascii_only) - len(ascii_only.translate(None, _CONTROL + b"\0\x7f"))
        if len(ascii_only) >= len(zeros) / 5 and control <= _MOST_ZEROS * len(ascii_only):
            text = sample.decode(codec, "replace")
            if text.count("\ufffd") + sum("\ue000" <= one <= "\uf8ff" for one in text) <= _MOST_ZEROS * len(text):
                return codec
    return ""


def _declares_utf_8(data: bytes) -> bool:
    said = _DECLARED.search(data[:_DECLARED_WITHIN])
    return said is not None and next(filter(None, said.groups())).lower().replace(b"_", b"-") in (b"utf-8", b"utf8")


def _legacy(data: bytes) -> tuple[Decoded, bool]:
    """A text in an encoding from before Unicode, and whether it is surely one of two bytes a character."""
    for said in _DECLARED.finditer(data[:_DECLARED_WITHIN]):
        name = next(filter(None, said.groups())).decode("ascii", "replace")
        try:
            codec = codecs.lookup(name).name
            if _DECLARABLE.fullmatch(codec):
                return Decoded(data.decode(codec), codec), False
        except (LookupError, UnicodeError, TypeError, ValueError):  # no such codec, not of it, or none of text
            continue
    from charset_normalizer import from_bytes  # 30 ms

    lines = b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:_SAMPLE]
    matches = from_bytes(lines, cp_isolation=list(_LEGACY), threshold=0.5)
    chaos = {codec: match.chaos for match in matches for codec in match.could_be_from_charset}
    best, best_score = "cp1252", 0.0
    for codec in _LEGACY:
        if codec in chaos or (codec == "cp1252" and not _decoded(lines, codec).replaced):
            score = _commonness(lines.decode(codec, "ignore"), codec)
            # The library counts two accents in one word as noise, and takes French for that.
            score -= _CENTRAL if codec == "cp1250" else 0.0 if codec == "cp1252" else chaos[codec]
            if score > best_score + 1e-6:
                best, best_score = codec, score
    found = _decoded(data, best)
    if found.replaced:
        found = Decoded(data.decode("latin-1"), "latin-1")
    return found, found.encoding in _COMMON_ROWS and best_score >= _COMMON


_COMMON_ROWS = {
    "gb18030": (0xB0, 0xD7, 0xA1),
    "big5": (0xA4, 0xC6, 0x40),
    "cp932": (0x88, 0x98, 0x40),
    "euc_jp": (0xB0, 0xCF, 0xA1),
    "cp949": (0xB0, 0xC8, 0xA1),
}
"""The first bytes of the rows with each standard's common ideographs or syllables, and the least second byte."""
# What comments have most of: each standard takes many texts of the others for less frequent characters of its own.
_FREQUENT_TEXTS = {
    "gb18030": (
        "你好退的一是不在有人这中大来上为个到以说要就出会可也对生能而得于下自之年过后作用道行所然事成方多经去法如都同现当没动面起看定分还进小部其主样理心前但因只从想实者无力它长把机第公此已工使情明性全三点正外将两高"
        "间由问很最重并物手应体文相见等产新制果加回合特代内信表化给位次度任先通原提立及比员解名真处走各入口认条系结题活更别打变四总何电数安少报反受目太量再建务做接必场件计管期直资命指统区保至形空决展基书非则界"
        "达光放强即难且完设式色路记品住告类求据程该交规取格确传观清切识候导运登录密码户检查函返误始配置读写串线锁日志印修改删除默认参注释测试时间束输询消订单验证请响址添载页缓存值否待办复"
    ),
    "big5": (
        "你好退的一是不在有人這中大來上為個到以說要就出會可也對生能而得於下自之年過後作用道行所然事成方多經去法如都同現當沒動面起看定分還進小部其主樣理心前但因只從想實者無力它長把機第公此已工使情明性全三點正外將兩高"
        "間由問很最重並物手應體文相見等產新制果加回合特代內信表化給位次度任先通原提立及比員解名真處走各入口認條系結題活更別打變四總何電數安少報反受目太量再建務做接必場件計管期直資命指統區保至形空決展基書非則界"
        "達光放強即難且完設式色路記品住告類求據程該交規取格確傳觀清切識候導運登錄密碼戶檢查函返誤始配置讀寫串線鎖日誌印修改刪除預參註測試時束輸詢消訂單驗證請響址添載頁快檔案值否待辦複"
    ),
    "cp932": (
        "日一人年大本中長出時事自行見月分後前生発間対上部者地合業内相方定今回新場員入選立開手力学問高代明実関決子動全目表経通外最言現理調体化当約主題下意法不来作性的要用制度務強小成期公取統以機平総加話世受続進"
        "正安設保改数記初指権界支第結点報済書活原先共得解名交資予向際査面文反元重近考判認画参利組知案道信策集在件別物側任引使求所次品論計増係感特情投示変打始直両価式確提運終果減広容必応演電能無再位置真流格有過"
        "局少放検常料状工建語空止送供可役構割身付施切由説転比難防補優断何足違消番規術展態導備配副算視条独起着述残想線率質待試例限環験追準頭技低復移差個評末種影命含量非観察整段横型字答製況申様財識注呼達響登録処"
        "了値削除更接要応"
    ),
    "cp949": (
        "이다는을의에가고로하기사지를한은도서대시인리어자나정해수일부있보아상구제전주과적으스라것장그여유비만용계신모등연들원공세관경조소치문안요생발성입방동무미화국학심중회물오교간반력결실행식운터음내선명산단"
        "통분재거배법변함체현확복개환설값없않때까번호저역할류테트프램데베코드파삭추출메클래객열숫검색록증키암글영월처작종료예외막석"
    ),
}
_CYRILLIC = ("cp1251", "koi8_r")
_FURTHER_CYRILLIC = "\u0401\u0451\u0404\u0454\u0406\u0456\u0407\u0457\u0490\u0491\u040e\u045e"
"""Letters of Russian, Ukrainian and Belarusian outside the main rows."""
_FURTHER_LATIN = "\u0152\u0153\u0160\u0161\u0178\u017d\u017e"
_JAPANESE = ("cp932", "euc_jp")
_WITHOUT_KANA = 0.85
"""Few Japanese comments have none, and many Chinese ones are as Japanese ones without."""
_COMMON, _CAPITAL, _RARE = 0.8, 0.9, 0.1
_ALONE = 0.4
_CENTRAL = 0.15
"""Most letters of cp1250 are letters in cp1252, too, and more files are in that."""
_MARKS = (
    "\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u20ac\xa3\xa7\xa9\xab\xae\xb0\xb1\xb2\xb3\xb7\xbb\xb5\xbd\xd7\u2116"
)


@lru_cache(8)
def _frequent(codec: str) -> frozenset[str]:
    return frozenset(_FREQUENT_TEXTS["cp932" if codec == "euc_jp" else codec])


def _commonness(text: str, codec: str) -> float:
    """From 0 to 1, how usual the characters beyond ASCII are in a text of that encoding."""
    text = f" {text[:4_000]} "
    beyond = [place for place, one in enumerate(text) if one > "\x7f"]
    usual = _usual_of_two_bytes if codec in _COMMON_ROWS else _usual_of_one_byte
    total = sum(usual(text[place], text[place - 1], text[place + 1], codec) for place in beyond)
    if codec == "euc_jp" and not any("\u3041" <= text[place] <= "\u30ff" for place in beyond):
        total *= _WITHOUT_KANA
    return total / len(beyond) if beyond else 0.0


def _usual_of_two_bytes(one: str, before: str, after: str, codec: str) -> float:
    if "\u3041" <= one <= "\u30ff":
        return 1.0 if codec in _JAPANESE else _RARE
    first_own, last_own = ("\uac00", "\ud7a3") if codec == "cp949" else ("\u4e00", "\u9fff")
    if first_own <= one <= last_own:
        if one in _frequent(codec):
            return 1.0
        first, last, least = _COMMON_ROWS[codec]
        row, cell = one.encode(codec)[:2]
        if not first <= row <= last or cell < least:
            return _RARE
        # A degree sign before a letter is such a character, too.
        return _COMMON if cell >= 0x80 or max(before, after) > "\x7f" else _ALONE
    if "\u3000" <= one <= "\u3020" or "\uff01" <= one <= "\uff5e":  # punctuation of its width
        return 1.0
    # Other letters have rows of their own there, and seldom a text; Japan's narrow kana are in old ones.
    return 0.3 if "\uff61" <= one <= "\uff9f" else _RARE


def _usual_of_one_byte(one: str, before: str, after: str, codec: str) -> float:
    if not one.isalpha():
        return 0.5 if one in _MARKS else 0.0
    value = 1.0
    if codec in _CYRILLIC:
        # A letter of another script inside of a word is none of a text.
        if one < "\u0400" or any(near.isascii() and near.isalpha() for near in (before, after)):
            return 0.0
        if not ("\u0410" <= one <= "\u044f" or one in _FURTHER_CYRILLIC):
            return 0.3
        if not any(near > "\x7f" and near.isalpha() for near in (before, after)):
            return _ALONE
    elif codec == "cp1252" and one > "\xff" and one not in _FURTHER_LATIN:
        return 0.0
    elif before > "\x7f" and before.isalpha():
        value = 0.5  # two in a row are rare where most letters are ASCII
    if one.isupper():
        return 0.0 if before.islower() else value * _CAPITAL
    return value
