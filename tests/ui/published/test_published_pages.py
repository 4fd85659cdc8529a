"""The Sources and Benchmarks pages on archives that have all, some or none of what they show."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.published.archive import MAIN_SET, STEPS
from tests.ui.seen import assert_fine, commands, drawn, figures, plain, table

Page = Callable[..., AppTest]
Made = Callable[[str], Path]

SECTIONS = ["Over training", "Models × tasks", "Small beats large", "Late declines"]


@pytest.mark.parametrize("name", ["sources", "benchmarks"])
@pytest.mark.parametrize("archive", ["published one", "published hostile"])
def test_a_page_opens(page: Page, archive: str, name: str) -> None:
    app = page(archive, name)
    assert_fine(app)
    assert not any("<img" in e.proto.body for e in app.get("html"))


@pytest.mark.parametrize(
    ("name", "archive"), [("sources", "empty"), ("benchmarks", "empty"), ("sources", "one run")]
)
def test_an_archive_without_published_results_shows_the_command_that_brings_them_in(
    page: Page, made: Made, name: str, archive: str
) -> None:
    assert commands(page(archive, name)) == [f"pathscope import auto PATH --archive {made(archive)}"]


def test_sources_open_with_the_newest_set(page: Page, made: Made) -> None:
    app = page("published", "sources")
    assert app.selectbox(key="source").value == "suite"
    assert [m.value for m in app.metric][:3] == ["210", "7", "42"]
    assert app.dataframe[0].value["source"].tolist() == ["pathscope", "suite"]
    (told,) = [e.proto.body for e in app.get("html") if e.proto.body.startswith("<dl")]
    assert MAIN_SET.repository in told
    assert MAIN_SET.citation in [c.value for c in app.code]
    assert list(drawn(app)) == ["Grid"]
    assert "never mixed" in plain(app)
    assert commands(app) == [f"pathscope import auto /data/suite --archive {made('published')}"]
    assert not app.warning
    app.selectbox(key="source").select("pathscope").run()
    assert "Source 0" in plain(app)
    assert [m.label for m in app.metric] == ["Rows of results", "Runs"]
    assert not commands(app)


def test_a_set_without_a_licence_is_for_this_machine_only(page: Page) -> None:
    app = page("published odd", "sources")
    assert "No licence was found: for use on this machine only" in app.warning[0].value
    assert "result absent upstream" in plain(app)
    assert "the seed is a guess" in plain(app)


def test_files_are_searched_in_the_database_and_the_address_says_for_what(page: Page) -> None:
    app = page("published", "sources", source="suite", file="SEED1_step10", file_page="9")
    files = table(app, "sha256")
    assert len(files) == 6
    assert "Files 1–6 of 6 files" in plain(app)
    links = [
        c.value for c in app.code if "source=suite" in c.value and c.value.startswith(("?", "http", "/"))
    ]
    assert links
    assert all("source=suite&" in link or link.endswith("source=suite&file_page=1") for link in links)
    assert any(link.endswith("source=suite&file=SEED1_step10&file_page=1") for link in links)


def test_a_catalogue_has_runs_and_no_results(page: Page) -> None:
    app = page("registry only", "sources")
    assert "describes runs and checkpoints only" in plain(app)
    assert [m.value for m in app.metric][:2] == ["0", "0"]


def test_benchmarks_open_with_the_task_everybody_knows(page: Page) -> None:
    app = page("published", "benchmarks")
    assert [s.value for s in app.subheader if s.value in SECTIONS] == SECTIONS
    assert (app.selectbox(key="metric").value, app.multiselect(key="task").value) == (
        "acc",
        ["lambada_openai"],
    )
    assert list(drawn(app)) == ["Line chart", "Grid"]
    ahead = table(app, "p_adjusted", "smaller")
    assert ahead["task"].tolist()[0] == "inverse"
    fallen = table(app, "declined")
    assert fallen["declined"].tolist().count(True) == 3
    assert "in 15 beyond chance" in plain(app)
    assert "7 lines; ☆ best, ■ last checkpoint" in plain(app)


def test_an_address_sets_every_choice(page: Page) -> None:
    app = page(
        "published",
        "benchmarks",
        metric="acc",
        task=["sciq", "inverse"],
        lines="condition",
        x_scale="log",
        step=str(STEPS[-2]),
        colours="against the task's mean",
        order="by name",
        like="i",
        correction="bh",
        run="toy-*",
    )
    assert not app.exception
    line = figures(app)[0]
    assert [a["text"] for a in line["layout"]["annotations"]][:2] == ["sciq", "inverse"]
    assert line["layout"]["xaxis"]["type"] == "log"
    assert "(mean of 3 runs)" in " ".join(t["name"] for t in line["data"])
    assert f"at step {STEPS[-2]:,}" in drawn(app)["Grid"]
    assert [t.strip() for t in figures(app)[1]["layout"]["yaxis"]["ticktext"]] == [
        "inverse",
        "lambada_openai",
        "sciq",
    ]
    assert "Of the rows with q below" in plain(app)
    link = next(c.value for c in app.code if "metric=acc" in c.value)
    assert link.endswith(
        "run=toy-%2A&metric=acc&shots=0&series=%28main%29&source=suite&dtype=unknown&task=sciq&task=inverse"
        "&lines=condition&x_scale=log&y_scale=auto&step=2000&colours=against+the+task%27s+mean&order=by+name"
        "&like=i&correction=bh"
    )


def test_what_is_not_comparable_or_not_there_is_said_and_the_rest_is_shown(page: Page) -> None:
    app = page("published odd", "benchmarks", task=["two_versions"])
    assert "differs in eval set" in app.warning[0].value
    assert list(drawn(app)) == ["Grid"]
    assert "1 model of unknown size not compared" in plain(app)
    assert "1 excluded run" in plain(app)
    assert "1 checkpoint" in plain(app)
    app.selectbox(key="series").select("baseline").run()
    assert not app.exception
    assert app.multiselect(key="task").options == ["lambada_openai"]
    app.multiselect(key="task").set_value([]).run()
    assert "Choose at least one task" in plain(app)


def test_very_many_comparisons_wait_until_they_are_wanted(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.models.benchmarks.page.MOST_COMPARISONS", 44)
    app = page("published", "benchmarks")
    assert "Make all of up to 45 comparisons" in app.toggle(key="compare_all").label
    assert "15 of 45 comparisons" not in plain(app)
    app.toggle(key="compare_all").set_value(True).run()
    assert "15 of 45 comparisons" in plain(app)


def test_a_metric_without_better_and_worse_has_curves_only(page: Page) -> None:
    app = page("published", "benchmarks", metric="pct_stereotype")
    assert not app.exception
    assert list(drawn(app)) == ["Line chart", "Grid"]
    assert "no better and worse" in plain(app)
    assert not app.warning
    assert not any("declined" in d.value for d in app.dataframe)


def test_nonsense_in_the_address_is_ignored(page: Page) -> None:
    nonsense = {
        "metric": "<script>",
        "task": ["none"],
        "step": "soon",
        "lines": "x",
        "colours": "y",
        "like": "%",
    }
    app = page("published", "benchmarks", **nonsense)
    assert not app.exception
    assert "No task with these words" in plain(app)
    app = page("published", "sources", source="<b>", file_page="-3")
    assert not app.exception
    assert app.selectbox(key="source").value == "suite"


def test_runs_without_results_are_told_to_choose_others(page: Page) -> None:
    app = page("published", "benchmarks", run="here")
    assert "None of the runs asked for has acc, 0-shot" in app.info[0].value.replace("\\", "")
