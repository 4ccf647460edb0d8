"""Places as people and tools write them: the place is the first hit, its frames follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.errors import UsageError
from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, text_digest
from turboprop.index.write import TableWriter
from turboprop.limits import QUERY
from turboprop.search.analysis import is_searchable
from turboprop.search.located import with_places
from turboprop.search.places import Mention, as_indexed, find_mentions, gist, match_files, meant_file
from turboprop.search.ranking import Ranked
from turboprop.search.search import search
from turboprop.types import Chunk, IndexedFile, IndexScope, Prompts, SearchFilter

CHUNK_LINES = 10
FILES = {
    "src/shop/sessions.py": 60,
    "src/shop/cookies.py": 50,
    "src/shop/utils.py": 30,
    "tools/utils.py": 20,
    "manage.py": 20,
    "tests/test_cart.py": 40,
    "go.mod": 10,
    "context.go": 1100,
    "render/context.go": 40,
    "server/handler.go": 60,
    "web/src/cart.js": 60,
    "web/src/App.tsx": 60,
    "web/pages/[slug]/index.tsx": 40,
    "web/pages/index.tsx": 40,
    "web/app/(auth)/login/page.tsx": 40,
    "java/src/main/java/com/acme/shop/Cart.java": 80,
    "java/src/main/java/com/acme/admin/Cart.java": 80,
    "java/src/main/java/com/acme/shop/Order.java": 80,
    "java/src/main/java/com/acme/util/ArrayList.java": 2000,
    "kotlin/Price.kt": 60,
    "crates/core/src/lib.rs": 80,
    "crates/core/src/parse.rs": 80,
    "crates/cli/src/main.rs": 60,
    "Api/Controllers/CartController.cs": 80,
    "app/models/order.rb": 60,
    "src/Cart/Total.php": 60,
    "native/price.c": 90,
    "native/price.h": 40,
    "lib/shop/cart.ex": 60,
    "lib/src/shop.erl": 60,
    "lib/Shop/Tax.pm": 60,
    "lib/price.dart": 60,
    "src/Shop/Total.hs": 60,
    "Sources/Shop/Cart.swift": 60,
    "scripts/deploy.sh": 40,
    "infra/main.tf": 40,
    "Makefile": 30,
    "Dockerfile": 20,
    "docs/back\\slash.md": 20,
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexReader]:
    directory: Path = tmp_path_factory.mktemp("places")
    spec = IndexSpec("by hand", "by-hand", 4, Prompts(), "by hand")
    with TableWriter.open(directory, spec) as writer:
        for path, lines in FILES.items():
            chunks = [
                Chunk(
                    path,
                    "",
                    "function",
                    f"test_{path.rpartition('/')[2].partition('.')[0]}_{start}",
                    start,
                    min(lines, start + CHUNK_LINES - 1),
                    f"error line file src in at most recent call last {path} {start}\n",
                )
                for start in range(1, lines + 1, CHUNK_LINES)
            ]
            writer.begin_file(path)
            vectors = np.ones((len(chunks), 4), np.float32)
            writer.add(chunks, [text_digest(path + chunk.text) for chunk in chunks], vectors)
            writer.end_file(IndexedFile(path, 1, 1, 1, "0" * 32, len(chunks)))
        writer.publish(scope=IndexScope(root="/home/anybody/shop"))
    with IndexReader.open(directory) as opened:
        yield opened


def places(reader: IndexReader, query: str, **options) -> list[str]:
    """What is found by its place: each with the first line of its chunk."""
    hits = search(reader, query, None, mode="lexical", **options)
    return [f"{hit.path}:{hit.start_line}" for hit in hits if "place" in hit.parts]


FORMS = [
    # editors and people
    ("src/shop/sessions.py:50", ["src/shop/sessions.py:41"]),
    ("sessions.py:50", ["src/shop/sessions.py:41"]),
    ("./manage.py:3", ["manage.py:1"]),
    ("../manage.py:13", ["manage.py:11"]),
    ("src/shop/sessions.py:50:9", ["src/shop/sessions.py:41"]),
    ("src/shop/sessions.py#L50", ["src/shop/sessions.py:41"]),
    ("src/shop/sessions.py#50", ["src/shop/sessions.py:41"]),
    ("src/shop/sessions.py#L28-L32", ["src/shop/sessions.py:21", "src/shop/sessions.py:31"]),
    ("src/shop/sessions.py:28-32", ["src/shop/sessions.py:21", "src/shop/sessions.py:31"]),
    ("src/shop/sessions.py(50)", ["src/shop/sessions.py:41"]),
    ("sessions.py line 50", ["src/shop/sessions.py:41"]),
    ("sessions.py, line 50", ["src/shop/sessions.py:41"]),
    ("what happens at line 50 of sessions.py?", ["src/shop/sessions.py:41"]),
    ("why does sessions.py:50 raise", ["src/shop/sessions.py:41"]),
    ("look at `sessions.py:50`, please", ["src/shop/sessions.py:41"]),
    ("/home/me/shop/src/shop/sessions.py:50", ["src/shop/sessions.py:41"]),
    (r"C:\Users\Me\shop\src\shop\sessions.py:50", ["src/shop/sessions.py:41"]),
    (r"src\shop\sessions.py:50", ["src/shop/sessions.py:41"]),
    ("SRC/Shop/Sessions.py:50", ["src/shop/sessions.py:41"]),
    ("vim +50 src/shop/sessions.py", ["src/shop/sessions.py:41"]),
    ("context.go:1040", ["context.go:1031"]),
    ("context.go:12", ["context.go:11", "render/context.go:11"]),
    ("src/shop/sessions.py:99999", ["src/shop/sessions.py:51"]),
    ("src/shop/sessions.py", ["src/shop/sessions.py:1"]),
    ("manage.py", ["manage.py:1"]),
    ("web/pages/[slug]/index.tsx:12", ["web/pages/[slug]/index.tsx:11"]),
    ("Makefile:12: *** missing separator.  Stop.", ["Makefile:11"]),
    (r"docs/back\slash.md:12", ["docs/back\\slash.md:11"]),
    # in other languages, and with the signs of other keyboards
    ("sessions.py 第 50 行", ["src/shop/sessions.py:41"]),
    ("sessions.py第50行", ["src/shop/sessions.py:41"]),
    ("看看sessions.py的第50行为什么出错", ["src/shop/sessions.py:41"]),
    ("src/shop/sessions.py 第 28-32 行", ["src/shop/sessions.py:21", "src/shop/sessions.py:31"]),
    ("sessions.py 50行目", ["src/shop/sessions.py:41"]),
    ("sessions.pyの50行目でエラー", ["src/shop/sessions.py:41"]),
    ("sessions.py 50행", ["src/shop/sessions.py:41"]),
    ("sessions.py의 50번째 줄", ["src/shop/sessions.py:41"]),
    ("sessions.py：50", ["src/shop/sessions.py:41"]),  # noqa: RUF001
    ("看 src/shop/sessions.py：第50行", ["src/shop/sessions.py:41"]),  # noqa: RUF001
    ("sessions.py（50）", ["src/shop/sessions.py:41"]),  # noqa: RUF001
    ("sessions.py:５０", ["src/shop/sessions.py:41"]),  # noqa: RUF001
    ("sessions.py Zeile 50", ["src/shop/sessions.py:41"]),
    ("sessions.py, Zeile 50", ["src/shop/sessions.py:41"]),
    ("sessions.py in der Zeile 50", ["src/shop/sessions.py:41"]),
    ("Was passiert in Zeile 50 von sessions.py?", ["src/shop/sessions.py:41"]),
    ("Zeile 50 in der Datei sessions.py", ["src/shop/sessions.py:41"]),
    ("sessions.py línea 50", ["src/shop/sessions.py:41"]),
    ("la línea 50 de sessions.py", ["src/shop/sessions.py:41"]),
    ("sessions.py, en la linea 50", ["src/shop/sessions.py:41"]),
    ("sessions.py ligne 50", ["src/shop/sessions.py:41"]),
    ("sessions.py à la ligne 50", ["src/shop/sessions.py:41"]),
    ("ligne 50 du fichier sessions.py", ["src/shop/sessions.py:41"]),
    ("sessions.py linha 50", ["src/shop/sessions.py:41"]),
    ("sessions.py riga 50", ["src/shop/sessions.py:41"]),
    ("sessions.py строка 50", ["src/shop/sessions.py:41"]),
    ("sessions.py, в строке 50", ["src/shop/sessions.py:41"]),
    ("строка 50 в файле sessions.py", ["src/shop/sessions.py:41"]),
    ("sessions.py satır 50", ["src/shop/sessions.py:41"]),  # noqa: RUF001
    ("sessions.py on line 50", ["src/shop/sessions.py:41"]),
    ("sessions.py Line 50", ["src/shop/sessions.py:41"]),
    ("sessions.py @ 50", ["src/shop/sessions.py:41"]),
    ("sessions.py@50", ["src/shop/sessions.py:41"]),
    ("sessions.py, 50", ["src/shop/sessions.py:41"]),
    ("sessions.py 50", ["src/shop/sessions.py:41"]),
    ("sessions.py (50)", ["src/shop/sessions.py:41"]),
    # sites
    ("https://github.com/acme/shop/blob/main/src/shop/sessions.py#L50", ["src/shop/sessions.py:41"]),
    (
        "https://github.com/acme/shop/blob/0a1b2c3/src/shop/sessions.py?plain=1#L28C3-L32C10",
        ["src/shop/sessions.py:21", "src/shop/sessions.py:31"],
    ),
    ("https://github.com/acme/shop/blob/main/web/pages/%5Bslug%5D/index.tsx#L12", ["web/pages/[slug]/index.tsx:11"]),
    (
        "https://gitlab.com/acme/shop/-/blob/main/src/shop/sessions.py#L50-52",
        ["src/shop/sessions.py:41", "src/shop/sessions.py:51"],
    ),
    ("https://bitbucket.org/acme/shop/src/main/src/shop/sessions.py#lines-50", ["src/shop/sessions.py:41"]),
    ("https://git.sr.ht/~acme/shop/tree/master/item/src/shop/sessions.py#L50", ["src/shop/sessions.py:41"]),
    ("https://codeberg.org/acme/shop/src/branch/main/src/shop/sessions.py#L50", ["src/shop/sessions.py:41"]),
    ("https://git.example.org/shop/tree/src/shop/sessions.py#n50", ["src/shop/sessions.py:41"]),
    ("https://sourcegraph.com/github.com/acme/shop/-/blob/src/shop/sessions.py?L50:3", ["src/shop/sessions.py:41"]),
    ("https://dev.azure.com/a/b/_git/shop?path=/src/shop/sessions.py&line=50&lineEnd=51", ["src/shop/sessions.py:41"]),
    ("vscode://file/home/me/shop/src/shop/sessions.py:50:9", ["src/shop/sessions.py:41"]),
    ("idea://open?file=/home/me/shop/src/shop/sessions.py&line=50", ["src/shop/sessions.py:41"]),
    # Python
    (
        (
            'Traceback (most recent call last):\n  File "/usr/lib/python3.11/threading.py", line 11, in run\n  x()\n'
            '  File "/app/src/shop/sessions.py", line 50, in get\n    y()\n'
            '  File "/app/src/shop/cookies.py", line 44, in find\n    raise ValueError("no")\nValueError: no'
        ),
        ["src/shop/cookies.py:41", "src/shop/sessions.py:41"],
    ),
    ('  File "/app/src/shop/sessions.py", line 50, in get', ["src/shop/sessions.py:41"]),
    ("  File \"manage.py\", line 12\n    print(\n         ^\nSyntaxError: '(' was never closed", ["manage.py:11"]),
    (
        (
            'Traceback (most recent call last):\n  File "/venv/python3.12/site-packages/django/utils.py", line 3, '
            "in a\n    b()\nTypeError: x"
        ),
        [],
    ),
    (
        'File "/venv/lib/python3.12/site-packages/shop/sessions.py", line 50, in get\n    raise KeyError',
        ["src/shop/sessions.py:41"],
    ),
    (
        (
            "___ test_total ___\n    def test_total():\n>       assert cart.total() == 1\n\ntests/test_cart.py:12: \n"
            "_ _ _ _ _ _\nsrc/shop/utils.py:13: ZeroDivisionError\nE   ZeroDivisionError\n"
            "FAILED tests/test_cart.py::test_test_cart_31 - ZeroDivisionError"
        ),
        ["src/shop/utils.py:11", "tests/test_cart.py:11", "tests/test_cart.py:31"],
    ),
    ("tests/test_cart.py::TestCart::test_test_cart_21", ["tests/test_cart.py:21"]),
    ("FAILED tests/test_cart.py::test_test_cart_21[a-1] - assert 1 == 2", ["tests/test_cart.py:21"]),
    ("src/shop/sessions.py:50: error: Incompatible types in assignment  [assignment]", ["src/shop/sessions.py:41"]),
    ("src/shop/sessions.py:50:9: E501 Line too long (120 > 88)", ["src/shop/sessions.py:41"]),
    # JavaScript and TypeScript
    (
        (
            "TypeError: x is undefined\n    at total (web/src/cart.js:12:5)\n    at render (web/src/App.tsx:33:9)\n"
            "    at node:internal/process/task_queues:95:5"
        ),
        ["web/src/cart.js:11", "web/src/App.tsx:31"],
    ),
    ("    at f (cart.js:12:5)", ["web/src/cart.js:11"]),
    ("    at async file:///home/me/shop/web/src/cart.js:12:5", ["web/src/cart.js:11"]),
    ("    at eval (webpack:///./web/src/cart.js?a1b2:12:5)", ["web/src/cart.js:11"]),
    ("total@http://localhost:3000/web/src/cart.js:12:5", ["web/src/cart.js:11"]),
    ("    at next (/home/me/shop/node_modules/express/lib/router/index.tsx:12:5)", []),
    ("    at Page (web/app/(auth)/login/page.tsx:12:5)", ["web/app/(auth)/login/page.tsx:11"]),
    ("ERROR in ./web/src/App.tsx 33:9-20\nModule not found", ["web/src/App.tsx:31"]),
    ('SyntaxError: /srv/shop/web/src/App.tsx: Unexpected token, expected "," (33:9)', ["web/src/App.tsx:31"]),
    ("web/src/App.tsx|33 col 9| error", ["web/src/App.tsx:31"]),
    ("::error file=web/src/App.tsx,line=33,col=9::x", ["web/src/App.tsx:31"]),
    ("web/src/App.tsx +33", ["web/src/App.tsx:31"]),
    ("web/src/App.tsx(33,9): error TS2322: Type 'string' is not assignable", ["web/src/App.tsx:31"]),
    ("web/src/App.tsx:33:9 - error TS2322: Type 'string' is not assignable", ["web/src/App.tsx:31"]),
    ("/home/me/shop/web/src/App.tsx\n  33:9  error  'x' is never used  no-unused-vars", ["web/src/App.tsx:31"]),
    # Go
    (
        (
            "panic: runtime error: index out of range [3]\n\ngoroutine 1 [running]:\nmain.serve(0x1)\n"
            "\t/home/me/shop/server/handler.go:42 +0x1d\nmain.main()\n\t/srv/shop/context.go:12 +0x2a\nexit status 2"
        ),
        ["server/handler.go:41", "context.go:11"],
    ),
    ("./handler.go:42:3: undefined: foo", ["server/handler.go:41"]),
    ("    handler.go:42: got 1, want 2", ["server/handler.go:41"]),
    ("\t/usr/local/go/src/net/http/context.go:12 +0x1d", []),
    ("\t/root/go/pkg/mod/github.com/acme/shop@v1.2.3/context.go:1040 +0x1d", ["context.go:1031"]),
    ("\t/root/go/pkg/mod/github.com/other/thing@v1.2.3/context.go:12 +0x1d", []),
    # Rust
    (
        (
            "thread 'main' panicked at crates/core/src/parse.rs:42:9:\ncalled `Option::unwrap()` on a `None`\n"
            "stack backtrace:\n   0: rust_begin_unwind\n             at /rustc/0a1b/library/src/panicking.rs:645:5\n"
            "   1: shop::parse\n             at ./crates/core/src/lib.rs:12:5\n"
            "   2: shop::main\n             at ./crates/cli/src/main.rs:3:5"
        ),
        ["crates/core/src/parse.rs:41", "crates/core/src/lib.rs:11", "crates/cli/src/main.rs:1"],
    ),
    (
        "error[E0308]: mismatched types\n  --> crates/core/src/parse.rs:42:9\n   |\n42 |     x",
        ["crates/core/src/parse.rs:41"],
    ),
    # Java, Kotlin
    (
        (
            "java.lang.IllegalStateException: empty\n\tat java.base/java.util.ArrayList.get(ArrayList.java:427)\n"
            "\tat com.acme.shop.Cart.total(Cart.java:42)\n\tat com.acme.shop.Order$Line.price(Order.java:33)\n"
            "\tat java.base/java.lang.Thread.run(Thread.java:833)"
        ),
        ["java/src/main/java/com/acme/shop/Cart.java:41", "java/src/main/java/com/acme/shop/Order.java:31"],
    ),
    (
        (
            "java.lang.RuntimeException: x\n\tat com.acme.shop.Order.price(Order.java:33)\n"
            "Caused by: java.io.IOException: y\n\tat com.acme.admin.Cart.load(Cart.java:12)\n\t... 3 more"
        ),
        ["java/src/main/java/com/acme/admin/Cart.java:11", "java/src/main/java/com/acme/shop/Order.java:31"],
    ),
    (
        "java/src/main/java/com/acme/shop/Cart.java:42: error: cannot find symbol",
        ["java/src/main/java/com/acme/shop/Cart.java:41"],
    ),
    (
        "[ERROR] /srv/com/acme/shop/Order.java:[33,5] cannot find symbol",
        ["java/src/main/java/com/acme/shop/Order.java:31"],
    ),
    ("e: file:///home/me/shop/kotlin/Price.kt:42:5 Unresolved reference: x", ["kotlin/Price.kt:41"]),
    ("e: /home/me/shop/kotlin/Price.kt: (42, 5): Unresolved reference: x", ["kotlin/Price.kt:41"]),
    # C#, Ruby, PHP, C, C++
    (
        (
            "System.NullReferenceException: Object reference not set\n   at Shop.CartController.Get(Int32 id) in "
            "C:\\src\\shop\\Api\\Controllers\\CartController.cs:line 42\n   at lambda_method(Closure , Object )"
        ),
        ["Api/Controllers/CartController.cs:41"],
    ),
    (
        "Api/Controllers/CartController.cs(42,13): error CS0103: The name 'x' does not exist",
        ["Api/Controllers/CartController.cs:41"],
    ),
    (
        (
            "/usr/lib/ruby/gems/3.2.0/gems/rack-2.2.3/lib/rack/order.rb:9:in `call'\n"
            "\tfrom /srv/app/models/order.rb:42:in `total'"
        ),
        ["app/models/order.rb:41"],
    ),
    (
        "app/models/order.rb:42:in 'Order#total': undefined method 'price' for nil (NoMethodError)",
        ["app/models/order.rb:41"],
    ),
    (
        (
            "PHP Fatal error:  Uncaught Error: x in /var/www/src/Cart/Total.php:42\nStack trace:\n"
            "#0 /var/www/src/Cart/Total.php(12): Cart\\Total->sum()\n  thrown in /var/www/src/Cart/Total.php on line 42"
        ),
        ["src/Cart/Total.php:41", "src/Cart/Total.php:11"],
    ),
    (
        (
            "In file included from native/price.h:3,\n                 from native/price.c:1:\n"
            "native/price.h:33:5: error: unknown type name 'foo'"
        ),
        ["native/price.h:31", "native/price.h:1", "native/price.c:1"],
    ),
    ("native\\price.c(42): error C2065: 'x': undeclared identifier", ["native/price.c:41"]),
    ("    #1 0x4a2b in total /home/me/shop/native/price.c:42:7", ["native/price.c:41"]),
    ("#1  0x0000555 in total (x=1) at price.c:42", ["native/price.c:41"]),
    # others
    ("    (shop 0.1.0) lib/shop/cart.ex:42: Shop.Cart.total/1", ["lib/shop/cart.ex:41"]),
    ('{shop,total,1,[{file,"src/shop.erl"},{line,42}]}', ["lib/src/shop.erl:41"]),
    ("Can't locate object method at lib/Shop/Tax.pm line 42.", ["lib/Shop/Tax.pm:41"]),
    ("#0      total (package:shop/price.dart:42:5)", ["lib/price.dart:41"]),
    ("package:shop/price.dart 42:5  total", ["lib/price.dart:41"]),
    ("src/Shop/Total.hs:42:7: error: Variable not in scope: x", ["src/Shop/Total.hs:41"]),
    (
        "CallStack (from HasCallStack):\n  error, called at src/Shop/Total.hs:42:7 in main:Shop.Total",
        ["src/Shop/Total.hs:41"],
    ),
    ("Fatal error: Index out of range: file Shop/Cart.swift, line 42", ["Sources/Shop/Cart.swift:41"]),
    ("scripts/deploy.sh: line 12: foo: command not found", ["scripts/deploy.sh:11"]),
    ('Error: Unsupported argument\n\n  on infra/main.tf line 12, in resource "a" "b":', ["infra/main.tf:11"]),
    ("Dockerfile:12", ["Dockerfile:11"]),
    ("+++ b/native/price.c\n@@ -40,7 +40,8 @@ total\n context", ["native/price.c:41"]),
]


@pytest.mark.parametrize(("query", "wanted"), FORMS)
def test_a_place_is_the_first_hit(reader: IndexReader, query: str, wanted: list[str]) -> None:
    assert places(reader, query) == wanted


@pytest.mark.parametrize(
    "query", ["", "localhost:8080", "12:30:45", "a:1 b:2", "http://[::1]:80/", "std::vector<int>:3", "x#L3"]
)
def test_what_is_no_place(reader: IndexReader, query: str) -> None:
    assert places(reader, query) == []


@pytest.mark.parametrize(
    "query",
    [
        "why does manage.py need 3 arguments",
        "compare manage.py, 2 tests fail",
        "what changed in manage.py in version 3",
        "manage.py 2 or manage.py 3",
        "how does manage.py read 50 lines",
        "manage.py 有 50 个函数",
        "manage.py hat 50 Zeilen",
        "manage.py@1.2.3",
        "manage.py@3x",
        "where are the first 10 lines of a file read",
        "what happens at line 50",
        "第 50 行",
        "50行目",
        "Zeile 50",
        "строка 50",
        "total, 500",
        "total 500",
        "a hat with 3 lines",
        "5 行 3 列的矩阵",
    ],
)
def test_a_plain_question_is_no_place(reader: IndexReader, query: str) -> None:
    assert places(reader, query) == []


def test_what_follows_the_places_is_the_ranking_without_them(reader: IndexReader) -> None:
    hits = search(reader, "handler.go:42 file error", None, mode="lexical", limit=8)
    assert len(hits) == 8
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({(hit.path, hit.start_line) for hit in hits}) == 8


@pytest.mark.parametrize("limit", [1, 2, 50])
def test_the_order_does_not_depend_on_the_limit(reader: IndexReader, limit: int) -> None:
    query = "at total (web/src/cart.js:12:5)\nat render (web/src/App.tsx:33:9)"
    assert places(reader, query, limit=limit) == ["web/src/cart.js:11", "web/src/App.tsx:31"][:limit]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("src/shop/sessions.py:60", ""),
        ("src/shop/sessions.py:61", "line 61 is beyond the end: the last line with text is 60"),
        ("sessions.py 第 500 行", "line 500 is beyond the end: the last line with text is 60"),
        ("src/shop/sessions.py", ""),
    ],
)
def test_a_line_beyond_the_end_is_said_to_be(reader: IndexReader, query: str, said: str) -> None:
    first, *others = search(reader, query, None, mode="lexical", limit=5)
    assert (first.path, first.why) == ("src/shop/sessions.py", said)
    assert not any(hit.why for hit in others)


def test_filters_and_files_hold_for_places(reader: IndexReader) -> None:
    query = "at total (web/src/cart.js:12:5)\nat render (web/src/App.tsx:33:9)\nat x (web/src/cart.js:55:5)"
    assert places(reader, query, filters=SearchFilter(globs=("*.tsx",))) == ["web/src/App.tsx:31"]
    assert places(reader, query, by="file") == ["web/src/cart.js:11", "web/src/App.tsx:31"]


def test_five_thousand_frames(reader: IndexReader) -> None:
    frames = "".join(
        f'  File "/usr/lib/python3.11/site-packages/pkg{number}/mod.py", line {number}, in f{number}\n    g{number}()\n'
        for number in range(4_999)
    )
    raising = '  File "/app/src/shop/cookies.py", line 44, in find\n    raise CookieError(x)\n'
    text = f"Traceback (most recent call last):\n{frames}{raising}shop.CookieError: two of one name"
    assert places(reader, text) == ["src/shop/cookies.py:41"]
    assert gist(text).split("\n")[1:3] == ["shop.CookieError: two of one name", raising.split("\n")[0]]


@pytest.mark.parametrize(
    "text",
    ["1" * 50_000, ":" * 50_000, "a:1" * 20_000, "(" * 50_000, " line 1" * 9_000, "?" * 50_000, "/a" * 30_000 + ":1"],
)
def test_long_runs_are_read_once(text: str) -> None:
    assert len(find_mentions(text)) <= 20_000


# Each text is so long that looking at a whole line, or at all causes, once for each mention would take minutes.
@pytest.mark.parametrize(
    "text",
    [
        "a:1 " * 2_500_000,
        " at f (a.js:1:2)" * 600_000,
        "a.py::t " * 1_000_000,
        "line 1 of a " * 800_000,
        "+1 a " * 2_000_000,
        " at f (a.js:1:2)" * 30_000 + "\n    " + "x" * 50_000_000,
        "x" * 3_000_000 + " a:1" * 300_000,
        "--- " + "a" * 2_000_000 + "\n" + "1: x\n" * 30_000,
        "".join(f"Caused by:\nb:{number}\n" for number in range(1_000_000)),
    ],
    ids=lambda text: text[:12],
)
def test_the_work_of_a_mention_is_bounded(text: str) -> None:
    mentions = find_mentions(text)
    assert 0 < len(mentions) <= 20_000
    assert max(len(mention.before) + len(mention.code) for mention in mentions) <= 800


def test_the_first_mentions_of_a_long_line_are_kept() -> None:
    mentions = find_mentions("".join(f"a{number}.py:{number + 1} " for number in range(50_000)))
    assert [mention.line for mention in mentions] == list(range(1, 20_001))
    causes = find_mentions("".join(f"Caused by:\nb.py:{number}\n" for number in range(1, 30_001)))
    assert [mention.line for mention in causes] == list(range(20_000, 0, -1))


class CountedPaths(list[str]):
    """Paths that count how often one of them is looked at."""

    looked_at = 0

    def __getitem__(self, at):
        self.looked_at += 1
        return super().__getitem__(at)


@pytest.mark.parametrize(
    "form", ["srv/{}/__init__.py", "__init__.py", "/usr/lib/python3/site-packages/p{}/__init__.py"]
)
@pytest.mark.parametrize("files", [1, 300, 30_000])
def test_comparisons_with_files_of_one_name_are_bounded(form: str, files: int) -> None:
    paths = CountedPaths(f"pkg{number}/deeper/__init__.py" for number in range(files))
    mentions = [Mention(form.format(number), number, number) for number in range(1, 20_001)]
    list(match_files(mentions, paths))
    # Each is looked at when it is compared, and twice where those that are meant are ordered.
    assert 0 < paths.looked_at <= 3 * (100_000 + files)
    # The mentions that tell most are compared, however many follow.
    named = [Mention("pkg0/deeper/__init__.py", 3, 3), *mentions]
    assert next(match_files(named, paths)) == (0, 0)


def test_what_is_asked_for_many_files_of_one_name_is_found_among_them() -> None:
    paths = [f"pkg{number}/deeper/__init__.py" for number in range(300)]
    mentions = [Mention(f"/srv/pkg{number}/deeper/__init__.py", 1, 1) for number in range(250)]
    assert list(match_files(mentions, paths)) == [(number, number) for number in range(250)]


def test_places_go_in_front_of_any_number_of_hits(reader: IndexReader) -> None:
    # A set of the rows made once for each hit would take minutes.
    hits = [Ranked(row, 1.0, {}) for row in range(100_000)]
    rows = list(range(99_999, -1, -1))
    (order,) = with_places([hits], [rows], [reader.lexicon], 200_000, by_file=False)
    assert [one.row for one in order] == rows


def test_a_search_looks_for_its_mentions_once(reader: IndexReader) -> None:
    query = "\n  at total (web/src/cart.js:12:5)\nat render (web/src/App.tsx:33:9)  "
    before = find_mentions.cache_info().misses
    assert is_searchable(query)
    assert places(reader, query) == ["web/src/cart.js:11", "web/src/App.tsx:31"]
    gist(query)
    assert find_mentions.cache_info().misses == before + 1


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ("src/shop/sessions.py:50 ", ["src/shop/sessions.py:41"]),
        ("Caused by:\nmanage.py:3\n", ["manage.py:1"]),
        ("__init__.py:7\n", []),
        ("utils.py:9, ", ["tools/utils.py:1", "src/shop/utils.py:1"]),
    ],
)
def test_a_search_takes_the_longest_query(reader: IndexReader, part: str, wanted: list[str]) -> None:
    query = (part * QUERY.most)[: QUERY.most]
    assert places(reader, query) == wanted


@given(st.text(max_size=300))
def test_any_text_has_mentions_or_none(text: str) -> None:
    mentions = find_mentions(text)
    assert all(mention.line <= mention.last or mention.symbol for mention in mentions)
    assert list(match_files(mentions, ["a.py", "b/c.py"], "x")) is not None
    assert sorted(gist(text).replace("\n", "")) == sorted(text.replace("\n", ""))


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        # the chunk of line 11 is called test_sessions_11, that of line 31 test_sessions_31
        ('  File "src/shop/sessions.py", line 12, in test_sessions_11', ["11"]),
        ('  File "src/shop/sessions.py", line 12, in test_sessions_31', ["31", "11"]),
        ('  File "src/shop/sessions.py", line 12, in gone', ["11"]),
        (
            (
                '  File "sessions.py", line 12, in gone\n'
                "    error line file src in at most recent call last src/shop/sessions.py 41"
            ),
            ["41", "11"],
        ),
        ("    at Shop.test_sessions_31 (src/shop/sessions.py:12:5)", ["31", "11"]),
        ("src/shop/sessions.py:12:in 'Shop#test_sessions_31'", ["31", "11"]),
        ("goroutine 1 [running]:\nmain.(*Shop).test_sessions_31(0x1)\n\tsrc/shop/sessions.py:12 +0x1", ["31", "11"]),
        ("   3: shop::test_sessions_31\n      at src/shop/sessions.py:12:5", ["31", "11"]),
        ("#1  0x0 in test_sessions_31 (x=1) at src/shop/sessions.py:12", ["31", "11"]),
    ],
)
def test_lines_that_have_moved(reader: IndexReader, query: str, wanted: list[str]) -> None:
    assert places(reader, query) == [f"src/shop/sessions.py:{line}" for line in wanted]


def test_an_ending_decides_between_files_of_one_name() -> None:
    paths = ["a/x.py", "b/x.py", "x.py"]

    def matched(before: str) -> list[str]:
        return [paths[at] for _, at in match_files([Mention(before, 1, 1)], paths)]

    assert matched("/srv/b/x.py") == ["b/x.py"]
    assert matched("x.py") == ["x.py", "a/x.py", "b/x.py"]
    assert matched("/srv/x.py") == ["x.py"]
    assert matched("c/y.py") == []


@pytest.mark.parametrize(
    ("told", "seen_from", "file"),
    [
        ("src/a.py", "", "src/a.py"),
        ("./src/a.py", "", "src/a.py"),
        ("src\\a.py", "", "src/a.py"),
        (".\\src\\a.py", "", "src/a.py"),
        ("a.py", "src", "src/a.py"),
        ("src/a.py", "src", "src/a.py"),
        ("../b.py", "src", "b.py"),
        ("back\\slash.py", "", "back\\slash.py"),
        ("./back\\slash.py", "", "back\\slash.py"),
        ("../back\\slash.py", "src", "back\\slash.py"),
        ("caf\\xe9.py", "", "caf\\xe9.py"),
        ("caf\udce9.py", "", "caf\\xe9.py"),
        ("caf\\xe9.py", "src", "src/caf\\xe9.py"),
        ("two\\x0alines.py", "", "two\nlines.py"),
        ("two\nlines.py", "", "two\nlines.py"),
        ("nowhere.py", "src", "nowhere.py"),
    ],
)
def test_a_path_as_it_was_printed(told: str, seen_from: str, file: str) -> None:
    files = ["src/a.py", "b.py", "back\\slash.py", "caf\\xe9.py", "src/caf\\xe9.py", "two\nlines.py"]
    assert as_indexed(told, files, seen_from) == file


@pytest.mark.parametrize(
    ("told", "file"),
    [
        ("src/a.py", "src/a.py"),
        ("./src/a.py", "src/a.py"),
        ("/home/anybody/shop/src/a.py", "src/a.py"),
        (r"C:\shop\src\a.py", "src/a.py"),
        ("a.py", "src/a.py"),
        ("SRC/A.py", "src/a.py"),
        ("docs/cafe\u0301.md", "docs/caf\u00e9.md"),
        ("docs/nai\u0308ve.md", "docs/nai\u0308ve.md"),
        ("docs/na\u00efve.md", "docs/nai\u0308ve.md"),
        ("na\u00efve.md", "docs/nai\u0308ve.md"),
        ("lib/x.py", "lib/x.py"),
        ("nowhere.py", "nowhere.py"),
    ],
)
def test_a_path_in_any_form_is_the_file_that_it_means(told: str, file: str) -> None:
    files = ["src/a.py", "docs/caf\u00e9.md", "docs/nai\u0308ve.md", "lib/x.py", "app/x.py"]
    assert meant_file(told, files) == file


def test_a_path_that_means_several_files_is_said_to() -> None:
    with pytest.raises(UsageError, match=r"x\.py may mean app/x\.py, lib/x\.py; give more of the path"):
        meant_file("x.py", ["lib/x.py", "app/x.py"])
