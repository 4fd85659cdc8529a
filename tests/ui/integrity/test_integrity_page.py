from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from tests.ui.seen import figures, plain, texts

Page = Callable[..., AppTest]
Made = Callable[[str], Path]


def test_it_opens_with_the_run_that_something_is_said_against(page: Page, made: Made) -> None:
    app = page("integrity", "integrity")
    assert not app.exception
    assert app.selectbox(key="focus").value == "declared"
    assert app.warning[0].value.replace("\\", "") == "3 of 120 checkpoints of 5 runs are recorded as suspect."
    assert len(figures(app)) == 1
    assert f"pathscope verify --archive {made('integrity')}" in [c.value for c in app.code]
    assert "2 sets of equal ones to look at, and 1 that should be equal" in plain(app)
    assert not app.toggle(key="judge_all").value


def test_an_address_sets_every_choice(page: Page) -> None:
    app = page("integrity", "integrity", focus="clean", x_scale="linear", run=["clean", "doubled"])
    [figure] = figures(app)
    assert figure["layout"]["xaxis"]["type"] == "linear"
    assert (
        "Nothing suspect in this run, judged just now: 24 checkpoints, 24 with a hash, 23 distances"
        in plain(app)
    )
    assert "Nothing suspect is recorded among 48 checkpoints of 2 runs." in plain(app)
    link = next(c.value for c in app.code if "focus=" in c.value)
    assert "run=clean&run=doubled&focus=clean&x_scale=linear" in link


def test_a_new_finding_comes_with_the_commands_that_record_and_overrule_it(page: Page, made: Made) -> None:
    app = page("integrity", "integrity", focus="doubled")
    judge = f"pathscope verify --checkpoints doubled --archive {made('integrity')}"
    commands = [c.value for c in app.code]
    assert judge in commands
    assert any(c.startswith(f"{judge} --accept ") for c in commands)
    assert "judged just now and recorded nowhere" in plain(app)


def test_all_runs_are_judged_only_when_asked(page: Page) -> None:
    assert not any(
        "finding" in d.value.columns and "run" in d.value.columns
        for d in page("integrity", "integrity").dataframe
    )
    app = page("integrity", "integrity", judge_all="true")
    judged = next(d.value for d in app.dataframe if "finding" in d.value.columns and "run" in d.value.columns)
    assert set(judged["run"]) == {"doubled"}
    assert set(judged["state"]) == {"new: duplicate"}


def test_runs_without_anything_to_check_by_are_not_called_clean(page: Page) -> None:
    app = page("demo", "integrity")
    assert "0 of 325 can be compared, 325 cannot" in plain(app)
    assert "nothing could be judged" in plain(app)
    assert "pathscope ingest STUDY.toml --fill weight_products:sketch" in app.code[0].value
    assert not figures(app)


def test_exclusions_and_defects_of_any_archive_are_listed(page: Page) -> None:
    app = page("suspect", "integrity")
    tables = [d.value for d in app.dataframe]
    suspects = next(t for t in tables if "reason" in t.columns and "state" in t.columns)
    assert suspects["state"].tolist() == ["defect", "defect"]
    excluded = next(t for t in tables if "lifted" in t.columns)
    assert excluded["reason"].tolist() == ["trained on the wrong split <b>by mistake</b>"]


def test_strangers_words_stay_words(page: Page) -> None:
    app = page("integrity hostile", "integrity")
    assert not app.exception
    assert "<img" not in texts(app).replace("\\<img", "")


def test_a_pattern_that_fits_no_run_is_answered(page: Page) -> None:
    app = page("integrity", "integrity", run="swappped")
    assert "no run" in app.warning[0].value
