"""What a page shows in Streamlit's test harness: words, commands, figures."""

import json
import os
import shlex
from typing import Any

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
