"""Ask and chat: an answer that streams, its citations, a stop, and what goes wrong."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from reference import reference

ANSWER = (
    "The call is tried again up to **three** times [src/store/retry.py:6-10].\n\n"
    "```python\nreturn work()\n```\n\n- waits twice as long each time\n- then raises `ConnectionError`\n"
)
SOURCE = {"path": "src/store/retry.py", "start_line": 1, "end_line": 15, "text": "", "repo": "store"}


def pieces(text: str, size: int = 6) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def ask(page: Any, text: str) -> None:
    page.get_by_label("Question about the code").fill(text)
    page.keyboard.press("Enter")


def test_an_answer_streams_and_its_citation_opens_the_source(open_page: Any, server: Any) -> None:
    server.script.answer = pieces(ANSWER)
    server.script.sources = [SOURCE]
    server.script.removed = ["src/nowhere.py:1-2"]
    page = open_page("#/ask")
    ask(page, "What is done when a call fails?")
    answer = page.locator(".answer")
    expect(answer).to_contain_text("tried again")
    expect(page.locator(".turn-foot")).to_contain_text("1 invented citation removed")
    expect(answer).not_to_have_attribute("aria-busy", "true")
    expect(answer.locator("strong")).to_have_text("three")
    expect(answer.locator("li")).to_have_count(2)
    expect(answer.locator("pre .t-keyword")).to_have_text("return")
    expect(page.locator("#said")).to_have_text("The answer is complete")
    page.get_by_role("button", name="Source src/store/retry.py:6\u201310").click()
    source = page.get_by_role("complementary")
    expect(source.locator(".lit")).to_have_count(5)
    expect(source.locator(".lit").first).to_contain_text("def retry")
    asked = server.script.asked[0]
    assert asked["question"] == "What is done when a call fails?"
    assert asked["history"] == []
    assert asked["options"] == {}


def test_citations_work_for_who_asks_before_the_status_is_known(open_page: Any, server: Any) -> None:
    server.script.answer = pieces(ANSWER)
    server.script.sources = [
        {"path": "src/store/retry.py", "start_line": 1, "end_line": 20, "text": "x", "repo": "store"}
    ]
    held: list[Route] = []
    page = open_page()
    page.route("**/api/events", lambda route: held.append(route))
    page.goto(f"{server.url}#/ask")
    page.reload()
    ask(page, "What is done when a call fails?")
    page.get_by_role("button", name="Source src/store/retry.py").click()
    expect(page.get_by_role("complementary").locator(".lit").first).to_contain_text("def retry")
    assert held


def test_a_follow_up_takes_the_history_along(open_page: Any, server: Any) -> None:
    server.script.answer = ["It is tried again."]
    page = open_page("#/ask")
    ask(page, "What is done when a call fails?")
    expect(page.locator(".turn-foot").first).to_contain_text("tokens")
    ask(page, "And how long does it wait?")
    expect(page.locator(".turn-foot").nth(1)).to_contain_text("tokens")
    assert server.script.asked[1]["history"] == [
        {"question": "What is done when a call fails?", "answer": "It is tried again."}
    ]
    page.get_by_role("button", name="New").click()
    expect(page.locator(".turn")).to_have_count(0)
    ask(page, "Something else?")
    expect(page.locator(".turn-foot")).to_contain_text("tokens")
    assert server.script.asked[2]["history"] == []


def test_stop_ends_the_generation_and_keeps_what_was_said(open_page: Any, server: Any) -> None:
    server.script.answer = ["word "] * 2000
    server.script.pause = 0.02
    page = open_page("#/ask")
    ask(page, "Tell me everything")
    expect(page.locator(".answer")).to_contain_text("word word word")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".turn-foot")).to_contain_text("Stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.get_by_label("Question about the code")).to_be_focused()
    deadline = time.monotonic() + 20
    while not server.script.cancelled and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert server.script.cancelled
    assert server.script.sent < 1000
    expect(page.locator(".answer")).to_contain_text("word word word")


def test_escape_stops_too(open_page: Any, server: Any) -> None:
    server.script.answer = ["word "] * 2000
    page = open_page("#/ask")
    ask(page, "Tell me everything")
    expect(page.locator(".answer")).to_contain_text("word word")
    page.keyboard.press("Escape")
    expect(page.locator(".turn-foot")).to_contain_text("Stopped")


def test_an_error_in_the_stream_is_said_beside_what_came(open_page: Any, server: Any) -> None:
    server.script.answer = ["Half an answer"]
    server.script.fail = "the model ran out of memory"
    page = open_page("#/ask")
    ask(page, "Why?")
    expect(page.locator(".turn [role=alert]")).to_contain_text("the model ran out of memory")
    expect(page.locator(".answer")).to_contain_text("Half an answer")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_weak_answer_shows_the_nearest_places(open_page: Any, server: Any) -> None:
    server.script.weak = True
    server.script.sources = [SOURCE]
    server.script.answer = ["The index holds nothing that answers this."]
    page = open_page("#/ask")
    ask(page, "How is coffee made?")
    expect(page.locator(".source-list .place")).to_be_visible()
    expect(page.locator(".answer")).to_contain_text("holds nothing")


def test_reasoning_is_folded_away(open_page: Any, server: Any) -> None:
    server.script.reasoning = "First I look at the code."
    server.script.answer = ["So it is."]
    page = open_page("#/ask")
    ask(page, "Is it so?")
    expect(page.locator(".answer")).to_contain_text("So it is.")
    expect(page.get_by_text("First I look at the code.")).to_be_hidden()
    page.get_by_text("Reasoning").click()
    expect(page.get_by_text("First I look at the code.")).to_be_visible()


def test_sampling_settings_are_sent_and_kept(open_page: Any, server: Any) -> None:
    server.script.answer = ["ok"]
    page = open_page("#/ask")
    page.get_by_role("button", name="Sampling settings").click()
    page.get_by_label("Temperature").fill("0.35")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Top p").fill("7")  # out of its range: not sent
    page.get_by_label("Language model").select_option("Qwen/Qwen3-0.6B")
    ask(page, "Go")
    expect(page.locator(".answer")).to_contain_text("ok")
    assert server.script.asked[0]["options"] == {"temperature": 0.35, "seed": 7}
    assert server.script.asked[0]["model"] == "Qwen/Qwen3-0.6B"
    page.reload()
    page.get_by_role("button", name="Sampling settings").click()
    expect(page.get_by_label("Temperature")).to_have_value("0.35")


def test_a_search_becomes_a_question(open_page: Any) -> None:
    page = open_page("#/search?q=how+is+a+date+read")
    page.get_by_role("link", name="Ask about this").click()
    expect(page.get_by_label("Question about the code")).to_have_value("how is a date read")


def test_shift_and_enter_begin_a_line(open_page: Any, server: Any) -> None:
    page = open_page("#/ask")
    box = page.get_by_label("Question about the code")
    box.fill("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    expect(box).to_have_value("one\ntwo")
    assert server.script.asked == []


def test_chat_streams_and_remembers(open_page: Any, server: Any) -> None:
    server.script.answer = pieces("Hello *there*. [src/store/retry.py:1-2] is no citation here.")
    page = open_page("#/chat")
    page.get_by_label("Message").fill("Hi")
    page.keyboard.press("Enter")
    expect(page.locator(".answer em")).to_have_text("there")
    expect(page.locator(".turn-foot")).to_contain_text("5 tokens")
    expect(page.locator(".citation")).to_have_count(0)
    server.script.answer = ["Again."]
    page.get_by_label("Message").fill("And?")
    page.keyboard.press("Enter")
    expect(page.locator(".answer").nth(1)).to_have_text("Again.")
    sent = server.script.asked[1]
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["stream"] is True
    assert sent["model"] == "Qwen/Qwen3-0.6B"


def test_chat_without_a_model_says_where_to_get_one(open_page: Any, server: Any) -> None:
    server.script.models["Qwen/Qwen3-0.6B"]["state"] = "remote"
    page = open_page("#/chat")
    page.get_by_label("Message").fill("Hi")
    page.keyboard.press("Enter")
    expect(page.locator(".turn [role=alert]")).to_contain_text("No language model is installed")


def test_an_answer_goes_on_while_another_view_is_shown(open_page: Any, server: Any) -> None:
    server.script.answer = pieces("A long answer that goes on. " * 10)
    server.script.pause = 0.02
    page = open_page("#/ask")
    ask(page, "Go on")
    expect(page.locator(".answer")).to_contain_text("A long")
    page.get_by_role("link", name="Index", exact=True).click()
    page.get_by_role("heading", name="Index", exact=True).wait_for()
    page.go_back()
    expect(page.locator(".turn-foot")).to_contain_text("tokens")


def test_a_stream_that_ends_too_early_is_no_answer(open_page: Any) -> None:
    page = open_page("#/ask")
    page.route(
        "**/api/ask",
        lambda route: route.fulfill(
            content_type="text/event-stream", body='event: text\ndata: {"text": "Half of an"}\n\n: ping\n\n'
        ),
    )
    ask(page, "Why?")
    expect(page.locator(".turn [role=alert]")).to_contain_text("ended before the answer was whole")
    expect(page.locator(".answer")).to_contain_text("Half of an")


@pytest.fixture(scope="module")
def writing(start_page_server: Any, web_server: Any) -> Any:
    """A server with a small real language model; nothing is scripted."""
    return start_page_server(repos=(web_server.repo,), models=(str(reference("gguf/stories260K.gguf")), "minilm"))


def test_a_real_model_chats(open_page: Any, writing: Any) -> None:
    page = open_page("#/chat", at=writing.url)
    page.get_by_label("Message").fill("Once upon a time")
    page.keyboard.press("Enter")
    expect(page.locator(".turn-foot")).to_contain_text("tokens", timeout=60_000)
    assert len(page.locator(".answer").inner_text()) > 10


def test_a_real_model_tells_how_far_it_has_read(
    open_page: Any, start_page_server: Any, web_server: Any, smollm2_file: Any
) -> None:
    real = start_page_server(repos=(web_server.repo,), models=(str(smollm2_file), "minilm"))
    page = open_page("#/ask", at=real.url)
    page.evaluate(
        """() => {
          window.seen = [];
          new MutationObserver(() => {
            const bar = document.querySelector(".turn-state progress");
            if (bar) window.seen.push([bar.value, bar.max, bar.parentElement.textContent]);
          }).observe(document.body, { childList: true, subtree: true });
        }"""
    )
    page.get_by_role("button", name="Sampling settings").click()
    page.get_by_label("Tokens at most").fill("12")
    ask(page, "How often does retry call the work again, and how long does it wait?")
    expect(page.locator(".turn-foot")).to_contain_text("tokens", timeout=120_000)
    seen = page.evaluate("window.seen")
    steps = sorted({value for value, _, _ in seen})
    assert [value for value, _, _ in seen] == sorted(value for value, _, _ in seen)
    assert len(steps) >= 3
    assert steps[-1] == seen[-1][1] > 512
    assert seen[-1][2] == f"Reading {steps[-1]:,.0f} of {steps[-1]:,.0f} tokens…"
    assert page.locator(".turn-state").inner_text() == ""


def test_a_real_model_is_asked_about_the_code(open_page: Any, writing: Any) -> None:
    page = open_page("#/ask", at=writing.url)
    page.get_by_role("button", name="Sampling settings").click()
    page.get_by_label("Tokens at most").fill("20")
    ask(page, "How often is a failed call tried again?")
    # Its context has no room for sources, or it writes a story: either is told, and nothing hangs.
    expect(page.locator(".turn-foot, .turn [role=alert]").filter(has_text=re.compile("."))).not_to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=60_000)


def test_conversations_are_kept_opened_renamed_exported_and_deleted(open_page: Any, server: Any) -> None:
    server.script.answer = pieces(ANSWER)
    server.script.sources = [SOURCE]
    page = open_page("#/ask")
    ask(page, "What is done when a call fails?")
    expect(page.locator(".turn-foot")).to_contain_text("tokens")
    page.reload()
    kept = page.get_by_role("list", name="Conversations")
    kept.get_by_role("button", name="What is done when a call fails?", exact=True).click()
    expect(page.locator(".answer")).to_contain_text("tried again")
    page.get_by_role("button", name="Source src/store/retry.py:6\u201310").click()
    expect(page.get_by_role("complementary").locator(".lit")).to_have_count(5)
    page.get_by_role("complementary").get_by_role("button", name="Close").click()
    ask(page, "And how long does it wait?")
    expect(page.locator(".turn-foot").nth(1)).to_contain_text("tokens")
    assert [turn["question"] for turn in server.script.asked[1]["history"]] == ["What is done when a call fails?"]
    page.get_by_role("button", name="New").click()
    expect(kept.get_by_role("listitem")).to_have_count(1)
    expect(kept).to_contain_text("2 questions")
    kept.get_by_role("button", name="Rename").click()
    page.get_by_label("Name of the conversation").fill("Retries")
    page.keyboard.press("Enter")
    expect(kept.get_by_role("button", name="Retries", exact=True)).to_be_visible()
    with page.expect_download() as saved:
        kept.get_by_role("button", name="Export: Retries").click()
    assert saved.value.suggested_filename == "Retries.md"
    text = saved.value.path().read_text("utf-8")
    assert text.startswith("# Retries\n\nRepository: store\n\n## What is done when a call fails?\n")
    assert "- src/store/retry.py:1-15" in text
    kept.get_by_role("button", name="Delete: Retries").click()
    expect(page.get_by_text("Conversations", exact=True)).to_be_hidden()
    page.reload()
    expect(page.get_by_text("Conversations", exact=True)).to_be_hidden()


def test_an_answer_can_be_had_again_and_a_question_changed(open_page: Any, server: Any) -> None:
    server.script.answer = ["First."]
    page = open_page("#/ask")
    ask(page, "One?")
    expect(page.locator(".turn-foot")).to_contain_text("tokens")
    server.script.answer = ["Second."]
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer")).to_have_text("Second.")
    assert server.script.asked[1]["history"] == []
    ask(page, "Two?")
    expect(page.locator(".turn-foot").nth(1)).to_contain_text("tokens")
    page.get_by_role("button", name="Edit the question").first.click()
    expect(page.get_by_label("Question about the code")).to_have_value("One?")
    expect(page.get_by_text("Sending replaces question 1 and what follows it.")).to_be_visible()
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator(".turn")).to_have_count(2)
    page.get_by_role("button", name="Edit the question").first.click()
    ask(page, "Three?")
    expect(page.locator(".turn")).to_have_count(1)
    expect(page.locator(".question")).to_have_text("Three?")
    expect(page.locator(".turn-foot")).to_contain_text("tokens")
    assert server.script.asked[3]["history"] == []
    page.get_by_role("button", name="New").click()
    expect(page.get_by_role("list", name="Conversations").get_by_role("listitem")).to_have_count(1)


def test_on_a_phone_a_citation_is_the_number_of_its_source(open_page: Any, server: Any) -> None:
    server.script.answer = pieces(ANSWER)
    server.script.sources = [{**SOURCE, "path": "src/store/lock.py"}, SOURCE]
    page = open_page("#/ask", viewport={"width": 360, "height": 740})
    ask(page, "What is done when a call fails?")
    mark = page.get_by_role("button", name="Source src/store/retry.py:6\u201310")
    expect(mark).to_be_visible()
    assert mark.inner_text() == "2"
