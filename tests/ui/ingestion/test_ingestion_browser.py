"""The Ingest page in a real browser: it refreshes itself, and can be told to hold still."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from archive.committer import commit_inbox
from archive.layout import Layout
from tests.ui.browser import Look, chromium_is_there, explorer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not chromium_is_there(), reason="Debian's chromium is not installed"),
]


def test_new_results_appear_by_themselves(own: Callable[[str], Path], look: Look) -> None:
    path = own("ingestion")
    with explorer(path) as address:
        window = look(f"{address}/ingest", width=1000, dark=True)
        waiting = window.page.get_by_test_id("stMetric").filter(has_text="Wait in the inbox")
        expect(waiting).to_contain_text("1")
        expect(window.page.get_by_text("13 of 40 · 32%")).to_be_visible()
        assert not commit_inbox(Layout.of(path)).refused
        expect(waiting).to_contain_text("nothing waits")
        expect(window.page.get_by_text("21 of 40 · 52%")).to_be_visible()
        expect(window.page.get_by_role("button", name="New results are in: show them")).to_have_count(0)
        window.page.get_by_text("Hold still").click()
        expect(window.page.get_by_text("It does not look again by itself.")).to_be_visible()
        expect(window.page).to_have_url(f"{address}/ingest?paused=true")
        assert not window.real_complaints, window.real_complaints
        assert not window.strangers, window.strangers
