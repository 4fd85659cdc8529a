"""The Transitions page in Streamlit's own harness: what it shows at once, what only when asked, and what is missing."""

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.seen import fills, table, texts

Page = Callable[..., AppTest]


def figure(app: AppTest, key: str) -> dict[str, object]:
    (found,) = [c for c in app.get("plotly_chart") if c.proto.id.endswith(f"-{key}")]
    spec: dict[str, object] = json.loads(found.proto.spec)
    return spec


def frame(app: AppTest, *columns: str) -> list[dict[str, object]]:
    """The rows of the one table that has these columns."""
    rows: list[dict[str, object]] = table(app, *columns).to_dict("records")
    return rows


def test_it_opens_described_and_untested(page: Page) -> None:
    app = page("transitions", "transitions")
    assert not app.exception
    rows = frame(app, "midpoint", "share_most")
    assert len(rows) == 6
    assert {r["class"] for r in rows} == {"not tested"}
    assert "The test above says which series have a transition" in texts(app).replace("\\", "")
    assert app.toggle(key="test").label == "Test against smooth curves (up to 1 s)"
    assert figure(app, "series_curve")["layout"]["xaxis"]["type"] == "log"  # type: ignore[index]
    assert "pathscope ingest STUDY.toml --fill token_loss" in [fills(c.value) for c in app.code]


def test_the_address_asks_for_the_test_a_series_and_both_scales(page: Page) -> None:
    app = page(
        "transitions",
        "transitions",
        test="true",
        measure=["accuracy", "loss"],
        focus="smooth-s1",
        series="accuracy · test",
        x_scale="linear",
        y_scale="log",
        event_of="loss",
        level="1.0",
    )
    assert not app.exception
    rows = frame(app, "midpoint", "share_most")
    assert [r["class"] for r in rows][:6] == ["major transition"] * 6
    assert {r["class"] for r in rows[6:]} == {"metric only"}
    # the two runs with the smooth loss that get there, and those with the sudden one
    assert {r["group"]: r["reached"] for r in frame(app, "reached", "median")} == {
        "sudden": "3 of 3",
        "smooth": "2 of 3",
    }
    shown = figure(app, "series_curve")["layout"]
    assert shown["yaxis"]["type"] == "log"  # type: ignore[index]
    assert shown["xaxis"]["type"] == "linear"  # type: ignore[index]
    words = texts(app).replace("\\", "")
    assert "Test: metric only: the discrete metric is sharp, the continuous one is not." in words
    assert "smooth-s1" in words
    assert {r["verdict"] for r in frame(app, "verdict", "major")} <= {"yes", "no", "unresolved"}
    link = next(c.value for c in app.code if "transitions?" in c.value or "test=true" in c.value)
    for word in ("test=true", "focus=smooth-s1", "level=1.0", "y_scale=log", "rule=first"):
        assert word in link


def test_many_positions_are_ordered_when_that_is_asked_for(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.parts.transitions.pickers.POSITIONS_AT_ONCE", 0)
    app = page("transitions", "transitions")
    assert not app.exception
    assert "The switch above works out when every position gets there" in texts(app)
    app.toggle(key="position_order").set_value(True).run()
    assert len(figure(app, "positions")["data"]) == 6  # type: ignore[arg-type]


def test_order_and_lead_take_events_from_the_address(page: Page) -> None:
    app = page(
        "transitions",
        "transitions",
        events=["accuracy[test] >= 0.5", "loss[test] <= 1"],
        rule="stays",
    )
    assert not app.exception
    rows = frame(app, "leads")
    assert {r["group"] for r in rows} == {"sudden", "smooth"}
    assert len(frame(app, "in that order")) == 2
    refused = page("transitions", "transitions", events=["no event at all", "loss[test] <= 1"])
    assert not refused.exception
    assert "is not an event" in texts(refused).replace("\\", "")


@pytest.mark.parametrize("asked", [{"measure": "nothing"}, {"level": "x", "test": "maybe", "series": "none"}])
def test_words_that_mean_nothing_are_ignored(page: Page, asked: dict[str, str]) -> None:
    app = page("transitions", "transitions", **asked)
    assert not app.exception
    assert len(frame(app, "midpoint", "share_most")) == 6


def test_too_few_checkpoints_are_described_and_the_test_says_so(page: Page) -> None:
    app = page("transitions hostile", "transitions", test="true")
    assert not app.exception
    assert "<img" not in texts(app).replace("\\<img", "")
    many = page("many runs", "transitions", test="true")
    assert not many.exception
    assert {r["class"] for r in frame(many, "midpoint", "share_most")} == {"unresolved"}
    assert "of 16 checkpoints needed" in str(frame(many, "midpoint", "share_most")[0]["why"])
    assert "The first 200 of 300 runs are used" in texts(many).replace("\\", "")
