import pytest

from ui.models.ingestion.pace import FEWEST_COMMITS, Pace, pace


def steady(n: int, seconds: float = 10.0, cells: int = 20, start: float = 0.0) -> list[tuple[float, int]]:
    return [(start + k * seconds, cells) for k in range(n)]


def test_a_steady_pace_is_cells_over_time_and_the_rest_takes_its_share() -> None:
    # 2 cells a second; what the first commit brought was measured before it
    found = pace(steady(5), left=60, now=41.0, running=True)
    assert found.cells_per_second == pytest.approx(2.0)
    assert found.eta_seconds == pytest.approx(30.0)
    assert "last 5 commits" in found.basis
    assert (found.rate_words, found.eta_words) == ("2 cells/s", "about 30 s")


def test_only_the_last_commits_count() -> None:
    slow = steady(10, seconds=50.0)
    quick = steady(20, start=slow[-1][0] + 50)
    assert pace([*slow, *quick], left=1, now=quick[-1][0], running=True).cells_per_second == pytest.approx(
        2.0
    )


def test_a_night_between_two_calls_is_no_part_of_the_pace() -> None:
    commits = [*steady(6), *steady(4, start=90_000.0)]
    found = pace(commits, left=40, now=90_031.0, running=True)
    assert found.cells_per_second == pytest.approx(2.0)
    assert "last 4 commits" in found.basis
    # two commits after the night are too few, whatever was before it
    assert pace(commits[:8], left=40, now=90_011.0, running=True).cells_per_second is None


def test_slow_units_are_no_pause() -> None:
    assert pace(steady(4, seconds=1800.0), left=20, now=5400.0, running=True).eta_seconds == pytest.approx(
        1800.0
    )


@pytest.mark.parametrize(
    ("commits", "left", "now", "running", "why"),
    [
        ([], 10, 0.0, True, "nothing has come in"),
        (steady(FEWEST_COMMITS - 1), 10, 10.0, True, "at least 3 are needed"),
        (steady(5), None, 40.0, True, "nobody says how many"),
        (steady(5), 0, 40.0, True, "nothing is left"),
        (steady(5), 10, 40.0, False, "nobody is at it"),
        (steady(5), 10, 340.0, True, "nothing came in for 5 min, the longest pause before was 10 s"),
        ([(1.0, 5)] * 3, 10, 1.0, True, "at least 3 are needed"),
        ([(0.0, 1), (1.0, 0), (2.0, 0)], 10, 2.0, True, "last 3 commits"),
    ],
)
def test_where_nobody_can_say_there_is_no_time_left_but_a_reason(
    commits: list[tuple[float, int]], left: int | None, now: float, running: bool, why: str
) -> None:
    found = pace(commits, left=left, now=now, running=running)
    assert found.eta_seconds is None
    assert found.eta_words == "—"
    assert why in found.basis


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (12.34, "12.3 cells/s"),
        (0.5, "30 cells/min"),
        (0.001, "3.6 cells/h"),
        (1e-5, "0.036 cells/h"),
        (None, "—"),
    ],
)
def test_rates_in_a_unit_that_people_can_count_in(rate: float | None, words: str) -> None:
    assert Pace(rate, None, "").rate_words == words
