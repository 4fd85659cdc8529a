"""What a page shows in Streamlit's test harness: words, commands, figures."""

import json
import os
import shlex
from typing import Any

import pandas as pd
from streamlit.testing.v1 import AppTest


def texts(app: AppTest) -> str:
    """Every sentence of the page, as Markdown."""
    kinds = (app.markdown, app.caption, app.title, app.subheader, app.info, app.warning, app.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def plain(app: AppTest) -> str:
    """The same without the signs that keep names from being read as Markdown."""
    return texts(app).replace("\\", "")


def fills(command: str) -> str:
    """A command that measures what a page lacks, less the archive, which must be the one that is looked at."""
    here = f" --archive {shlex.quote(os.environ['PATHSCOPE_ARCHIVE'])}"
    if not command.startswith("pathscope ingest ") or "--fill" not in command:
        return command
    assert command.endswith(here)
    return command.removesuffix(here)


def commands(app: AppTest) -> list[str]:
    """Commands that the page gives, one line each; those that fill gaps as `fills` gives them."""
    return [fills(c.value) for c in app.code if c.value.startswith("pathscope ") and "\n" not in c.value]


def figures(app: AppTest) -> list[dict[str, Any]]:
    """Every figure as plotly reads it."""
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def drawn(app: AppTest) -> dict[str, str]:
    """Alt texts of the figures by their first words."""
    return {c.proto.alt.split(" of ")[0]: c.proto.alt for c in app.get("plotly_chart")}


def pictures(app: AppTest) -> dict[str, dict[str, Any]]:
    """Figures by the first words of their alt texts."""
    return {c.proto.alt.split(" of ")[0]: json.loads(c.proto.spec) for c in app.get("plotly_chart")}


def table(app: AppTest, *columns: str) -> pd.DataFrame:
    """The one table on the page with columns of these names."""
    (found,) = [d.value for d in app.dataframe if set(columns) <= set(d.value.columns)]
    return found


def bodies(app: AppTest, words: str) -> list[str]:
    """What the page writes in HTML of its own, where these words are in it."""
    return [str(e.proto.body) for e in app.get("html") if words in e.proto.body]


def assert_fine(app: AppTest) -> None:
    """Nothing failed, every figure is told in words, and names stay text."""
    assert not app.exception
    assert not app.error
    assert all(chart.proto.alt for chart in app.get("plotly_chart"))
    assert "<img" not in texts(app).replace("\\<img", "")
