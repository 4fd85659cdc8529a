import pytest

from archive.errors import UsageError
from archive.upkeep.words import age_words, seconds_of, size_words


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (250e6, "250 MB"),
        (7.25e12, "7.2 TB"),
    ],
)
def test_sizes(n: float, words: str) -> None:
    assert size_words(int(n)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (7260, "2 h 1 min"),
        (93600, "26 h"),
        (180000, "2 d 2 h"),
    ],
)
def test_ages(seconds: float, words: str) -> None:
    assert age_words(seconds) == words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("26h", 93600), ("90min", 5400), ("90m", 5400), ("1.5d", 129600), ("1d12h", 129600), ("45 s", 45)],
)
def test_time_spans(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "26", "h", "26 hours", "-3h", "3h later"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="26h"):
        seconds_of(text)
