"""Which encoding from before Unicode a text is in: the one in which a language makes its bytes least surprising.

Each language has a row: the pages that it was written in, and its letters beyond ASCII, the most frequent first. A text
costs as many bits in a page as its characters are improbable in the best of that page's languages, and the cheapest
page is taken. So one measure compares pages of one byte a character with those of two: a frequent Chinese character
costs 10 bits, two Greek letters 9, a letter that no text of the language has 13.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

_WESTERN = "cp1252 cp850"
_CENTRAL = "cp1250 iso8859_2"
_LANGUAGES = (
    (_WESTERN, "éäüöáóíñßàèçêãøåæúôâîõûëïœ¿¡"),  # several at once, as names of authors are
    (_WESTERN, "üäöß"),
    (_WESTERN, "éèàêçùôâîûœëï"),
    (_WESTERN, "óáíéñúü¿¡ºª"),
    (_WESTERN, "ãçáéíóõêúâôà"),
    (_WESTERN, "èàùòìé"),
    (_WESTERN, "éàóèíúòçü·ï"),
    (_WESTERN, "äöåé"),
    (_WESTERN, "äõüöšž"),
    (_WESTERN, "øåæé"),
    ("cp1252", "íáðéóþúöýæ"),
    ("cp1254", "ıüşğçöİâî"),
    (_CENTRAL, "áíéčłřžýąšęóěůúćżśńźťďňőűöüđăţş"),
    (_CENTRAL, "łąęóżśćńź"),
    (_CENTRAL, "íáéěřýčžšůúďťňó"),
    (_CENTRAL, "áíéýčžšúľťôňďóäĺŕ"),
    (_CENTRAL, "áéöóőíüúű"),
    (_CENTRAL, "čšžćđ"),
    (_CENTRAL, "ăîâşţ"),
    ("cp1257", "ėšįųžūčęą"),
    ("cp1257", "āīēšņūļžģčķ"),
    ("cp1251 koi8_r cp866 iso8859_5", "оеаинтсрвлкмдпуягызбьйчхжцюшщфэъё"),
    ("cp1251 koi8_u iso8859_5", "оаніирвтесклудмпзяьбгйчхцїжюєшщфґ"),
    ("cp1251 iso8859_5", "анеіорсцытлкўвдмупзягьбчёжйхшюэф"),
    ("cp1251", "аиоентрсвлкдпмзгяъубчцйжщхюшфь"),
    ("cp1251 iso8859_5", "аиоенрстувјкдмплзгбчцшњжхљћђфџѓќѕ"),
    ("cp1253 iso8859_7", "ατοιενρσκηςπυμλίόάγέδήωχθύφβώξζψϊϋΐΰ"),
    ("cp1255", "יוהלרבתמאשנעםדקחפסכגטצןזךףץ"),
    ("cp1256 iso8859_6", "اليمونرتبةعدسفهكقأحجشطصىخإذضزئءثآظغؤ\u0651\u064b\u060c\u061b\u061f"),
    ("cp1256", "ایردنهومتبسلکشزفگعخقجآپحطصچغذضثظئژ\u200c\u060c"),
    (
        "cp874",
        "\u0e48านรอกเงมยลว\u0e49\u0e35\u0e31\u0e34ดทสตะปบคหแจพชขใไ\u0e4c\u0e38\u0e39\u0e37\u0e47\u0e33โผถซณญศ\u0e36ธษภฐฟฝฉฎฏฤๆ",
    ),
)
"""Pages, the likeliest first, and letters. ISO-8859-9 and TIS-620 are within cp1254 and cp874, and so are the letters
of ISO-8859-8 within cp1255."""
_NOT_LATIN = frozenset(page for pages, letters in _LANGUAGES for page in pages.split() if letters[0] > "\u024f")
_UNUSUAL = frozenset(["cp850", "iso8859_6"])

# The bits of what a row does not say, chosen by trying on texts of each language.
_PAGE, _UNUSUAL_PAGE = 4.0, 10.0
"""Of any page but cp1252, and of those that few files are in."""
_CAPITAL, _NEXT_CAPITAL, _CAPITAL_AFTER_SMALL = 4.0, 0.5, 10.0
_BESIDE_LATIN, _ALONE, _ALONE_IN_LATIN, _TWO_ACCENTS = 8.0, 4.0, 2.0, 2.5
_MARK, _MARK_OUT_OF_PLACE, _NO_LETTER_OF_IT, _NO_LETTER, _NOTHING = 6.0, 6.0, 13.0, 13.0, 20.0
_KANA, _PUNCTUATION, _NARROW_KANA, _ODD, _RARE, _OF_FOUR_BYTES = 6.5, 8.0, 11.0, 16.0, 18.0, 26.0
_ASCII_BYTE = 4.0
"""Of a byte that other pages take for a letter of ASCII, which costs them nothing here."""
_STRAY = 12.0
"""Of a byte that is no UTF-8 in a text that otherwise is."""
_OF_UTF_8 = {2: 8.0, 3: 14.0, 4: 14.0}
"""Of any other character of two, three or four bytes in such a text."""
_FEW, _USUAL, _ODD_ONES = 6, 1 / 3, 0.05
_FIRST_CHARACTERS, _MOST_CHARACTERS = 200, 1_000
_CLOSE = 1.3
"""Times the bits of the best page: what lies farther off in the first characters is not tried on more."""
_MARKS = frozenset(
    "\u2013\u2014\u2018\u2019\u201c\u201d\u201e\u2026\u20ac\xa0\xa3\xa7\xa9\xab\xae\xb0\xb1\xb2\xb3\xb7\xbb\xb5\xbd\xd7\u2116"
)
_CLOSING = frozenset("\u2019\u201d\xbb")

_COMMON_ROWS = {
    "gb18030": (0xB0, 0xD7, 0xA1),
    "big5": (0xA4, 0xC6, 0x40),
    "cp932": (0x88, 0x98, 0x40),
    "euc_jp": (0xB0, 0xCF, 0xA1),
    "cp949": (0xB0, 0xC8, 0xA1),
}
"""The first bytes of the rows with each standard's common ideographs or syllables, and the least second byte."""
_JAPANESE = ("cp932", "euc_jp")
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


def cheapest(data: bytes) -> tuple[str, float]:
    """The page, as Python calls it, in which the bytes are least surprising, and how many bits they cost in it. ASCII
    costs nothing: lines of it may be left out."""
    bits = _bits(_beginning(data, _FIRST_CHARACTERS), (*_pages(), *_COMMON_ROWS))
    least = min(bits.values())
    bits = _bits(_beginning(data, _MOST_CHARACTERS), [page for page, each in bits.items() if each <= _CLOSE * least])
    best = min(bits, key=lambda page: round(bits[page], 6))  # the first one of two that read the same
    return best, bits[best]


def _beginning(data: bytes, most: int) -> bytes:
    """So much of the text as has about that many bytes beyond ASCII."""
    beyond = len(data) - len(data.decode("ascii", "ignore"))
    return data if beyond <= most else data[: most * len(data) // beyond]


def _bits(data: bytes, pages: Iterable[str]) -> dict[str, float]:
    bits = {}
    for page in pages:
        text = data.decode(page, "replace")
        bits[page] = _of_two_bytes(text, page) if page in _COMMON_ROWS else _of_one_byte(text, page)
        bits[page] += 0.0 if page == "cp1252" else _UNUSUAL_PAGE if page in _UNUSUAL else _PAGE
    return bits


def of_utf_8(text: str, strays: int) -> float:
    """How many bits a text costs as UTF-8 in which so many bytes are none. Bytes that are whole by chance are mostly
    characters that no language here has."""
    known = _letters()
    whole = Counter(one for one in text if one > "\x7f" and one != "\ufffd")
    return strays * _STRAY + sum(count * known.get(one, _OF_UTF_8[len(one.encode())]) for one, count in whole.items())


def are_usual(text: str) -> bool:
    """Whether the characters of a text are so usual that its bytes are hardly anything else: as UTF-16 any bytes are
    characters of some kind."""
    usual = odd = 0
    for one, count in Counter(text).items():
        wide = "\u3000" <= one <= "\u3020" or "\u3041" <= one <= "\u30ff" or "\uff01" <= one <= "\uff5e"
        if wide or " " <= one <= "~" or one in "\t\n\r" or one in _MARKS or one in _letters():
            usual += count
        elif not ("\u4e00" <= one <= "\u9fff" or "\uac00" <= one <= "\ud7a3"):
            odd += count
    return len(text) >= _FEW and usual >= _USUAL * len(text) and odd <= _ODD_ONES * len(text)


@cache
def _letters() -> Mapping[str, float]:
    """The bits of letters that any text may have."""
    every: dict[str, float] = {}
    for languages in _pages().values():
        for language in languages:
            for one, bits in language.items():
                every[one] = min(bits, every.get(one, bits))
    for codec in _FREQUENT_TEXTS:
        characters, bits, _ = _frequent(codec)
        every |= dict.fromkeys(characters, bits)
    return every


@cache
def _pages() -> Mapping[str, list[Mapping[str, float]]]:
    """For each page of one byte a character its languages, as the bits of their letters."""
    pages: dict[str, list[Mapping[str, float]]] = {}
    for names, letters in _LANGUAGES:
        # Each letter is rarer than the one before by the same factor, the last one by 25 than the first: of the
        # languages here that is near enough.
        weights = [math.exp(-3.2 * place / len(letters)) for place in range(len(letters))]
        bits = {one: -math.log2(weight / sum(weights)) for one, weight in zip(letters, weights, strict=True)}
        for one in letters:
            bits.setdefault(one.upper(), bits[one] + _CAPITAL)
        for page in names.split():
            pages.setdefault(page, []).append(bits)
    return pages


def _of_one_byte(text: str, page: str) -> float:
    latin = page not in _NOT_LATIN
    counts: Counter[str] = Counter()
    around = 0.0
    text = f" {text} "
    for place, one in enumerate(text):
        if one < "\x80":
            continue
        counts[one] += 1
        before, after = text[place - 1], text[place + 1]
        if one in _MARKS and after.isalpha() and (before.isspace() if one in _CLOSING else before.isalpha()):
            around += _MARK_OUT_OF_PLACE
        if one in _MARKS or (latin and not one.isalpha()):  # vowels of Thai are no letters to Unicode
            continue
        if one.isupper():
            if before.islower():
                around += _CAPITAL_AFTER_SMALL
            elif before.isupper():
                around += _NEXT_CAPITAL - _CAPITAL
        beside_latin = (before < "\x80" and before.isalpha()) + (after < "\x80" and after.isalpha())
        if latin:
            around += _TWO_ACCENTS if before > "\x7f" and before.isalpha() else 0.0 if beside_latin else _ALONE_IN_LATIN
        elif beside_latin:
            around += _BESIDE_LATIN * beside_latin
        elif not (before > "\x7f" or after > "\x7f"):
            around += _ALONE
    others = {one: _of_no_letter(one) for one in counts}
    return around + min(
        sum(count * language.get(one, others[one]) for one, count in counts.items()) for language in _pages()[page]
    )


def _of_no_letter(one: str) -> float:
    if one == "\ufffd" or "\x80" <= one < "\xa0":
        return _NOTHING
    return _MARK if one in _MARKS else _NO_LETTER_OF_IT


@cache
def _frequent(codec: str) -> tuple[frozenset[str], float, float]:
    """The frequent characters of a standard, and the bits of one of them and of another one in its common rows."""
    japanese = codec in _JAPANESE
    characters = frozenset(_FREQUENT_TEXTS["cp932" if japanese else codec])
    first, last, least = _COMMON_ROWS[codec]
    cells = 94 if least == 0xA1 else 157 if codec == "big5" else 188
    share, further = (0.35, 0.1) if japanese else (0.65, 0.22)
    common = (last - first + 1) * cells - len(characters)
    return characters, -math.log2(share / len(characters)), -math.log2(further / common)


def _of_two_bytes(text: str, codec: str) -> float:
    bits = 0.0
    for one, count in Counter(text).items():
        if one > "\x7f":
            bits += count * _of_one_wide(one, codec)
    return bits


@cache
def _of_one_wide(one: str, codec: str) -> float:
    if one == "\ufffd":
        return _NOTHING
    if "\uff61" <= one <= "\uff9f":
        return _NARROW_KANA if codec in _JAPANESE else _RARE
    frequent, of_frequent, of_common = _frequent(codec)
    code = one.encode(codec)
    ascii_bytes = _ASCII_BYTE * sum(byte < 0x80 for byte in code)
    if len(code) != 2:
        return (_NO_LETTER if len(code) == 1 else _OF_FOUR_BYTES) - ascii_bytes
    if "\u3041" <= one <= "\u30ff":
        return (_KANA if codec in _JAPANESE else _ODD) - ascii_bytes
    if one in frequent:
        return of_frequent - ascii_bytes
    first, last, least = _COMMON_ROWS[codec]
    if first <= code[0] <= last and code[1] >= least:
        return of_common - ascii_bytes
    if "\u3000" <= one <= "\u3020" or "\uff01" <= one <= "\uff5e":  # punctuation of its width
        return _PUNCTUATION - ascii_bytes
    return _RARE - ascii_bytes
