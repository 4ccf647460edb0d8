"""Models in the page: what is there, downloading with progress, loading, removing."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

from best_engine import BEST


def test_models_stand_in_their_groups_with_their_facts(open_page: Any) -> None:
    page = open_page("#/models")
    loaded = page.get_by_role("region", name="Loaded")
    expect(loaded).to_contain_text("all-MiniLM-L6-v2")
    expect(loaded).to_contain_text("384 dimensions")
    remote = page.get_by_role("region", name="To download")
    expect(remote).to_contain_text("28.3 GB")
    expect(remote.locator(".model", has_text="nomic-embed-code")).to_contain_text("more memory than there is")
    expect(page.locator(".memory-panel")).to_have_text(re.compile(r"[\d.]+ [MG]B of [\d.]+ [MG]B held by models"))


def test_filters_of_models(open_page: Any) -> None:
    page = open_page("#/models")
    expect(page.locator(".model")).to_have_count(4)
    page.get_by_role("radio", name="Language").check()
    expect(page.locator(".model")).to_have_count(1)
    page.get_by_role("radio", name="All").check()
    page.get_by_label("Filter models by name").fill("nomic")
    expect(page.locator(".model")).to_have_count(1)
    page.get_by_label("Filter models by name").fill("no such model")
    expect(page.get_by_text("No model fits the filter.")).to_be_visible()


def test_a_download_shows_progress_and_ends_installed(open_page: Any, server: Any) -> None:
    page = open_page("#/models")
    page.get_by_role("button", name="Download Qwen/Qwen3-Embedding-0.6B").click()
    bar = page.get_by_role("progressbar", name="Download of Qwen/Qwen3-Embedding-0.6B")
    expect(bar).to_be_visible()
    expect(page.locator(".job-told")).to_contain_text("of 10 B")
    expect(page.get_by_role("region", name="Installed")).to_contain_text("Qwen3-Embedding-0.6B")
    expect(bar).to_have_count(0)


def test_a_download_can_be_cancelled(open_page: Any, server: Any) -> None:
    server.script.job_seconds = 30
    page = open_page("#/models")
    page.get_by_role("button", name="Download Qwen/Qwen3-Embedding-0.6B").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Download Qwen/Qwen3-Embedding-0.6B")).to_be_visible()
    assert server.script.models["Qwen/Qwen3-Embedding-0.6B"]["state"] == "remote"


def test_a_download_is_followed_again_after_a_reload(open_page: Any, server: Any) -> None:
    server.script.job_seconds = 30
    page = open_page("#/models")
    page.get_by_role("button", name="Download Qwen/Qwen3-Embedding-0.6B").click()
    expect(page.locator(".job-told")).to_contain_text("of 10 B", timeout=15_000)
    page.reload()
    expect(page.locator(".job-told")).to_contain_text("of 10 B", timeout=15_000)
    assert len(server.script.started) == 1
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("progressbar")).to_have_count(0)


def test_load_and_unload(open_page: Any, server: Any) -> None:
    page = open_page("#/models")
    page.get_by_role("button", name="Load Qwen/Qwen3-0.6B").click()
    expect(page.get_by_role("region", name="Loaded")).to_contain_text("Qwen3-0.6B")
    assert server.script.models["Qwen/Qwen3-0.6B"]["state"] == "loaded"
    page.get_by_role("button", name="Unload Qwen/Qwen3-0.6B").click()
    expect(page.get_by_role("region", name="Installed")).to_contain_text("Qwen3-0.6B")


def test_a_model_is_removed_only_when_asked_twice(open_page: Any, server: Any) -> None:
    page = open_page("#/models")
    page.get_by_role("button", name="Remove Qwen/Qwen3-0.6B").click()
    assert server.script.models["Qwen/Qwen3-0.6B"]["state"] == "installed"
    sure = page.get_by_role("button", name="Remove for good Qwen/Qwen3-0.6B")
    expect(sure).to_be_focused()
    sure.click()
    expect(page.get_by_role("button", name="Download Qwen/Qwen3-0.6B")).to_be_visible()


def test_the_question_before_a_removal_outlives_what_the_list_learns_meanwhile(open_page: Any, server: Any) -> None:
    page = open_page()
    page.request.post(f"{server.url}api/search", data={"query": "retry"})
    page.goto(f"{server.url}#/models")
    page.get_by_role("button", name="Remove Qwen/Qwen3-0.6B").click()
    sure = page.get_by_role("button", name="Remove for good Qwen/Qwen3-0.6B")
    expect(sure).to_be_focused()
    [loaded] = [model for model in server.script.models.values() if model["state"] == "loaded"]
    loaded["state"] = "installed"
    server.state.manager.clear()
    expect(page.get_by_role("region", name="Loaded")).to_have_count(0, timeout=15_000)
    expect(sure).to_be_focused()
    page.keyboard.press("Tab")
    expect(sure).to_have_count(0)
    expect(page.get_by_role("button", name="Remove Qwen/Qwen3-0.6B")).to_be_visible()
    assert server.script.models["Qwen/Qwen3-0.6B"]["state"] == "installed"
    page.request.post(f"{server.url}api/search", data={"query": "retry"})  # the model is there again for other tests


def test_what_the_server_refuses_is_said_at_the_model(open_page: Any) -> None:
    page = open_page("#/models")
    page.route(
        "**/api/models/load",
        lambda route: route.fulfill(status=400, json={"error": {"message": "it needs 1.5 GB, 0.2 GB are left"}}),
    )
    page.get_by_role("button", name="Load Qwen/Qwen3-0.6B").click()
    row = page.locator('.model[data-name="Qwen/Qwen3-0.6B"]')
    expect(row.get_by_role("alert")).to_contain_text("0.2 GB are left")
    expect(page.get_by_role("button", name="Load Qwen/Qwen3-0.6B")).to_be_enabled()


def test_the_server_s_own_models(open_page: Any, server: Any) -> None:
    server.script.models = {}
    page = open_page("#/models")
    page.get_by_label("Filter models by name").fill("minilm")
    loaded = page.get_by_role("region", name="Loaded")
    expect(loaded).to_contain_text(f"Runs in {BEST} on cpu")
    expect(page.locator(".memory")).to_contain_text("1 model loaded")
    page.get_by_role("button", name="Unload minilm").click()
    expect(page.get_by_role("region", name="Installed")).to_contain_text("minilm")
    expect(page.locator(".memory")).to_contain_text("No model loaded")
    page.get_by_role("button", name="Load minilm", exact=True).click()
    expect(loaded).to_contain_text("minilm")


def test_without_a_network_a_download_says_so(open_page: Any, server: Any) -> None:
    server.script.models = {}
    page = open_page("#/models")
    page.get_by_role("button", name="Download qwen3-embedding-0.6b", exact=True).click()
    expect(page.locator(".model [role=alert]").first).to_contain_text("offline")


def test_a_download_that_fails_says_so_in_a_sentence_with_a_button(open_page: Any, server: Any) -> None:
    page = open_page("#/models")
    # What the server says without a network, word for word.
    said = (
        "the model Qwen/Qwen3-Embedding-0.6B is not on this machine and https://huggingface.co cannot be reached "
        "([Errno -2] Name or service not known). Ways to get it:\\n  1. on a machine with network: tp model download"
    )
    body = f'event: error\ndata: {{"error": {{"message": "{said}", "type": "server_error"}}}}\n\n'
    page.route("**/api/models/jobs/*/events", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    # What the server does when it is asked comes first: else it would say "downloading" ever after.
    with page.expect_response("**/api/models/download"):
        page.get_by_role("button", name="Download Qwen/Qwen3-Embedding-0.6B").click()
    server.script.models["Qwen/Qwen3-Embedding-0.6B"]["state"] = "remote"
    alert = page.locator(".model [role=alert]")
    expect(alert).to_have_text(
        "huggingface.co cannot be reached from this machine. Look at the network, then try again."
    )
    expect(page.get_by_text("on a machine with network")).to_be_hidden()
    page.unroute("**/api/models/jobs/*/events")
    page.reload()
    expect(page.get_by_role("region", name="To download")).to_contain_text("Qwen3-Embedding-0.6B")
