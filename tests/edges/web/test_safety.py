"""Nothing that a repository or a model says is run, loaded or believed by the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, Route, expect

import turboprop
from hostile_text import ATTACKS, LEGITIMATE, NAMES, acting
from turboprop.printable import printable, printable_name

PAGE = Path(turboprop.__file__).parent / "edges" / "web"
HIDING = "\u200b\u200c\u200d\u202e\ufe00\ufe0e\ufe0f\u180b\U000e0041\U000e0100"
AROUND = [
    "",
    "a",
    "1",
    "\u06cc",
    "\u0915",
    "\u1820",
    "\u4e00",
    "\u2764",
    "\U0001f469",
    "\ufe0f",
    "\u20e3",
    "\u200d",
    "\U000e0100",
]
HOSTILE_PATH = "src/<img src=x onerror=alert(1)>.js"
MARKDOWN = """<img src=x onerror="window.hacked=1"> <script>window.hacked=2</script>

[press](javascript:window.hacked=3) [press](data:text/html,<script>1</script>) [fine](https://example.org/x)
![picture](https://example.org/pixel.png) [https://good.example](https://evil.example/)

<iframe src="https://example.org"></iframe>

```html"><img src=x onerror=window.hacked=4>
<script>window.hacked = 5</script>
```

| <b>a</b> | b |
|---|---|
| <img src=x onerror=window.hacked=6> | [x](vbscript:1) |

[<img src=x onerror=window.hacked=7>.py:1-2] and [src/store/retry.py:1-2]
"""


def untouched(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelectorAll('img, iframe, object, embed, style, svg script').length") == 0
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    assert page.evaluate("document.title").endswith("TurboProp")


def test_hostile_files_are_text(open_page: Any) -> None:
    page = open_page("#/search?q=hostileTelescope")
    hit = page.locator(".hit").first
    expect(hit.locator(".path")).to_have_text(HOSTILE_PATH)
    expect(hit).to_contain_text("</script><script>window.hacked = 1</script>")
    expect(hit.locator(".hidden-char")).to_have_text("U+202E")
    hit.locator(".place").click()
    expect(page.get_by_role("complementary")).to_contain_text("onload=window.hacked=3")
    link = page.get_by_role("complementary").get_by_role("link", name="Open in VS Code").get_attribute("href")
    assert link is not None
    assert link.startswith("vscode://file/")
    assert "<" not in link
    assert " " not in link
    untouched(page)


def test_hostile_names_are_text_on_the_map_and_in_the_index(open_page: Any) -> None:
    page = open_page("#/map?folder=src")
    page.get_by_label("Search the code").fill("hostileTelescope")
    expect(page.locator(".map-list.numbered button").first).to_contain_text("onerror=alert(1)")
    expect(page.locator(".treemap .box.found", has_text="onerror=alert(1)")).to_be_visible()
    page.goto(f"{page.url.split('#')[0]}#/index?file=src/%3Cimg%20src=x%20onerror=alert(1)%3E.js")
    expect(page.locator(".why-told")).to_contain_text("is indexed")
    untouched(page)


def test_a_hostile_answer_is_text(open_page: Any, server: Any) -> None:
    server.script.answer = [MARKDOWN[at : at + 5] for at in range(0, len(MARKDOWN), 5)]
    server.script.sources = [
        {"path": HOSTILE_PATH, "start_line": 1, "end_line": 2, "text": "<b>", "repo": "store"},
        {"path": "src/store/retry.py", "start_line": 1, "end_line": 2, "text": "x", "repo": "store"},
    ]
    page = open_page("#/ask")
    page.get_by_label("Question about the code").fill("<img src=x onerror=window.hacked=9>")
    page.keyboard.press("Enter")
    expect(page.locator(".turn-foot")).to_contain_text("tokens")
    answer = page.locator(".answer")
    expect(answer).to_contain_text("<script>window.hacked=2</script>")
    links = answer.locator("a").evaluate_all("links => links.map((link) => [link.href, link.rel, link.textContent])")
    assert [href for href, _, _ in links] == [
        "https://example.org/x",
        "https://example.org/pixel.png",
        "https://evil.example/",
    ]
    assert all(rel == "noopener noreferrer" for _, rel, _ in links)
    # A label that names another host, or hides what an address carries away, does not hide where the link leads.
    assert [text for _, _, text in links] == [
        "fine (https://example.org/x)",
        "picture (https://example.org/pixel.png)",
        "https://good.example (https://evil.example/)",
    ]
    expect(answer.get_by_role("button", name="Source src/store/retry.py:1\u20132")).to_be_visible()
    untouched(page)


def test_only_what_was_read_becomes_a_citation(open_page: Any, server: Any) -> None:
    """The server takes invented ones out; the page makes none of what the server let through either."""
    server.script.answer = [
        "[passwd:1-2] [src/evil.py:1] [src/evil.py:1-\n2] [src/store/retry.py:1-99] [src/store/retry.py:2] ",
        f"[src/store/retry.py:0] [{'x' * 450}.py:1] [src/store/retry.py:1-2](https://evil.example/?q=secret) [ok:12]",
    ]
    server.script.sources = [
        {"path": "src/store/retry.py", "start_line": 1, "end_line": 2, "text": "x", "repo": "store"},
    ]
    page = open_page("#/ask")
    page.get_by_label("Question about the code").fill("q")
    page.keyboard.press("Enter")
    expect(page.locator(".turn-foot")).to_contain_text("tokens")
    assert page.locator(".answer .citation").evaluate_all("all => all.map((one) => one.title)") == [
        "src/store/retry.py:2"
    ]
    (link,) = page.locator(".answer a").all()
    assert link.text_content() == "src/store/retry.py:1-2 (https://evil.example/?q=secret)"
    untouched(page)


def test_what_hides_is_shown_as_everywhere_else(open_page: Any) -> None:
    page = open_page()
    page.evaluate("import('/assets/js/format.js').then((module) => { window.module = module; })")
    page.wait_for_function("window.module")
    planes = [*range(0x30000), *range(0xE0000, 0xE1000), 0x10FFFF]
    alone = [chr(code) for code in planes if not 0xD800 <= code <= 0xDFFF]
    contexts = [f"{before}{each}{after}" for each in HIDING for before in AROUND for after in AROUND]
    for texts in (alone, contexts, [*ATTACKS, *LEGITIMATE, *NAMES, "\n\t"]):
        assert page.evaluate("(texts) => texts.map(module.visibleText)", texts) == [printable(text) for text in texts]
        assert page.evaluate("(texts) => texts.map(module.visible)", texts) == [printable_name(text) for text in texts]
    lone = page.evaluate("module.visible(String.fromCharCode(0xd800) + 'a' + String.fromCharCode(0xdc00))")
    assert lone == printable("\ud800a\udc00")


def test_code_shows_what_hides_whatever_colours_it_has(open_page: Any) -> None:
    page = open_page()
    page.evaluate("import('/assets/js/code.js').then((module) => { window.module = module; })")
    page.wait_for_function("window.module")
    texts = [
        *ATTACKS,
        *LEGITIMATE,
        "x\U000e0041y = '\U000e0041' # \u202e\u200b",
        f"{LEGITIMATE[0]} = 1",
        "\U000e0041" * 1200,
    ]
    for language in ("python", "javascript", "html", "markdown", ""):
        shown = page.evaluate(
            """([texts, language]) => texts.map((text) => {
              const block = module.codeBlock(text, language);
              for (const cut of block.querySelectorAll(".cut")) cut.remove();
              return block.textContent.slice(0, -1);
            })""",
            [texts, language],
        )
        for text, seen in zip(texts, shown, strict=True):
            assert acting(seen) == []
            escapes = re.sub(r"\\(?:x(..)|u(....)|U(........))", _as_the_page_writes, printable(text))
            assert escapes.startswith(seen) if len(text) > 1000 else seen == escapes


def _as_the_page_writes(found: re.Match[str]) -> str:
    return f"U+{int(found[1] or found[2] or found[3], 16):04X}"


def test_hostile_model_names_and_errors_are_text(open_page: Any, server: Any) -> None:
    server.script.models["evil/<img src=x onerror=window.hacked=1>"] = {
        "kind": "embedding", "state": "remote", "size_bytes": 1, "dimensions": 1, "context": 1,
        "licence": "<script>window.hacked=2</script>", "fits_memory": True, "good_for": "<b>x</b>",
    }  # fmt: skip
    page = open_page("#/models")
    expect(page.locator(".models")).to_contain_text("<script>window.hacked=2</script>")
    page.route(
        "**/api/models/download", lambda route: route.fulfill(status=400, json={"error": {"message": "<b>no</b>"}})
    )
    page.get_by_role("button", name="Download evil").click()
    expect(page.locator(".models [role=alert]")).to_have_text("<b>no</b>")
    untouched(page)


def test_a_hostile_address_is_text(open_page: Any) -> None:
    page = open_page(
        "#/search?q=%3Cimg%20src=x%20onerror=window.hacked=1%3E&mode=%3Cb%3E&lang=%22%3E%3Cscript%3E&n=1e9"
    )
    page.wait_for_timeout(500)
    page.goto(f"{page.url.split('#')[0]}#/%3Cscript%3E?source=%3Cimg%3E:1-2")
    page.wait_for_timeout(500)
    untouched(page)


def test_the_policy_is_not_leaned_on(open_page: Any) -> None:
    """The policy is a second wall: the page makes no markup from text, so nothing ever reaches it."""
    sources = {path: path.read_text("utf-8") for path in PAGE.rglob("*.js")}
    assert len(sources) > 20
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser|setHTML"
    for path, text in sources.items():
        # `dom.js` names what it refuses.
        found = [name for name in re.findall(forbidden, text) if not (path.name == "dom.js" and name == "srcdoc")]
        assert found == [], path.name
    index = (PAGE / "index.html").read_text("utf-8")
    assert re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", index) is None
    everything = index + "".join(sources.values()) + "".join(p.read_text("utf-8") for p in PAGE.rglob("*.css"))
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", everything))
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_the_policy_would_stop_what_slipped_through(open_page: Any) -> None:
    page = open_page()
    refused = page.evaluate("""() => {
      const script = document.createElement("script");
      let refused = false;
      try {
        script.textContent = "window.hacked = 1";  // takes trusted text alone
      } catch (error) {
        refused = error instanceof TypeError;
      }
      document.body.append(script);
      const image = document.createElement("img");
      image.src = "https://example.org/pixel.png";
      document.body.append(image);
      return refused;
    }""")
    page.wait_for_timeout(200)
    assert refused
    assert page.evaluate("window.hacked") is None
    violations = open_page.watched.violations
    assert violations
    violations.clear()
    open_page.watched.hosts.discard("example.org")


def test_the_page_needs_no_sink_of_markup(open_page: Any, server: Any) -> None:
    """With trusted types and no policy, a browser refuses every place where text would become markup or code."""
    server.script.answer = [MARKDOWN]
    page = open_page()
    strict = "require-trusted-types-for 'script'; trusted-types 'none'"

    def stricter(route: Route) -> None:
        answer = route.fetch()
        policy = f"{answer.headers['content-security-policy']}; {strict}"
        route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": policy})

    page.route(server.url, stricter)
    page.goto("about:blank")
    page.goto(f"{server.url}#/search?q=retry&source=src/store/retry.py:1-3&of=store")
    expect(page.locator(".hit").first).to_be_visible()
    expect(page.locator(".source .lit").first).to_be_visible()
    page.goto(f"{server.url}#/map")
    expect(page.locator(".legend li").first).to_be_visible()
    page.goto(f"{server.url}#/ask")
    page.get_by_label("Question about the code").fill("q")
    page.keyboard.press("Enter")
    expect(page.locator(".turn-foot")).to_contain_text("tokens")


@pytest.mark.parametrize("module", ["highlight", "markdown"])
def test_any_text_comes_through_whole(open_page: Any, module: str) -> None:
    page = open_page()
    page.evaluate(f"import('/assets/js/{module}.js').then((module) => {{ window.module = module; }})")
    page.wait_for_function("window.module")
    signs = st.text(alphabet=st.sampled_from(list("ab1 \n\t\"'`#/*-_<>=[](){}|:\\!@$%&~\u202e\u00e4")), max_size=200)
    languages = ["python", "javascript", "rust", "html", "markdown", "yaml", "sql", "css", "go", "lua", "nonsense"]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.one_of(signs, st.text(max_size=80)), min_size=1, max_size=8), st.sampled_from(languages))
    def highlighted(texts: list[str], language: str) -> None:
        texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        joined = page.evaluate(
            """([texts, language]) => texts.map((text) => [
              module.pieces(text, language).map(([, piece]) => piece).join(""),
              module.lines(text, language).map((row) => row.map(([, piece]) => piece).join("")).join("\\n"),
            ])""",
            [texts, language],
        )
        assert joined == [[text, text] for text in texts]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(signs, min_size=1, max_size=8))
    def rendered(texts: list[str]) -> None:
        made = page.evaluate(
            """(texts) => texts.map((text) => {
              const holder = document.createElement("div");
              for (const block of module.blocks(text, () => null)) holder.append(block.node());
              const known = /^(DIV|P|H[3-6]|UL|OL|LI|PRE|CODE|SPAN|EM|STRONG|BLOCKQUOTE|HR|TABLE|THEAD|TBODY|TR|TH|TD|A)$/;
              return [[...holder.querySelectorAll("*")].every((element) => known.test(element.tagName)), holder.textContent];
            })""",  # noqa: E501  one expression of another language
            texts,
        )
        for text, (known, shown) in zip(texts, made, strict=True):
            assert known
            # Letters and digits are never syntax; the name of a fence's language and numbers of lists are.
            letters = re.sub(r"[^ab\u00e4]", "", re.sub(r"(?m)^.*(```|~~~).*$", "", text))
            assert len(re.sub(r"[^ab\u00e4]", "", shown)) >= len(letters)

    (highlighted if module == "highlight" else rendered)()


def test_hostile_sizes_do_not_hold_the_page(open_page: Any) -> None:
    page = open_page()
    sizes = page.evaluate(
        """async () => {
          const { blocks } = await import("/assets/js/markdown.js");
          const { pieces } = await import("/assets/js/highlight.js");
          const { codeBlock } = await import("/assets/js/code.js");
          const holder = document.createElement("div");
          const draw = (text) => { for (const block of blocks(text)) holder.append(block.node()); };
          for (const sign of ["*", "**", "_", "`", "[", "](", "> ", "- ", "|", "a*b_", "[x:1]", "#", "\\\\"]) draw(sign.repeat(20000));
          draw("> ".repeat(5000) + "deep");
          for (const sign of ["/*", '"', "'", "`", "<a", "0x", "@", "#", "${", '"'.repeat(3)]) for (const language of ["javascript", "python", "html", "rust"]) pieces(sign.repeat(50000), language);
          holder.append(codeBlock("x".repeat(3000000), "javascript"));
          return holder.textContent.length;
        }"""  # noqa: E501  one expression of another language
    )
    assert sizes > 0
