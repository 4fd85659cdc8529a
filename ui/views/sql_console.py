"""SQL: a read-only editor over the public views."""

from dataclasses import replace

import pyarrow as pa
import streamlit as st

from archive.console import SqlResult
from archive.errors import SqlRefused, SqlStopped
from archive.store import Archive
from ui.menu import PLOTLY, share
from ui.models.address import permalink
from ui.models.copies import in_python, in_shell, to_csv, to_parquet
from ui.models.sql.examples import EXAMPLES
from ui.models.sql.page import (
    Axes,
    SqlChoices,
    colour_columns,
    figure_in_words,
    first_rows,
    hidden_points,
    likely_axes,
    numeric_columns,
    result_figure,
    unique_names,
)
from ui.models.text import count, plural
from ui.parts.sql.examples import draw_examples
from ui.parts.sql.schema import draw_schema
from ui.state import ask_sql, show, sql_limits
from ui.view import view
from ui.widgets import headline, here

DEFAULT = EXAMPLES[0].sql


@view(title="SQL", order=46, section="Archive", icon=":material/database:", url_path="sql")
def render(archive: Archive) -> None:
    """Ask anything of the public views: reads only, within limits of time and memory."""
    headline("SQL")
    with st.sidebar:
        name = draw_schema(archive)
    draw_examples()
    with st.form("statement", border=False, enter_to_submit=True):
        sql = st.text_area("Statement", DEFAULT, key="sql", bind="query-params", height=210, max_chars=50_000)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.form_submit_button("Run", type="primary", icon=":material/play_arrow:", help="Ctrl + Enter")
            limits = sql_limits()
            st.caption(
                f"Reads only: one statement, at most {limits.seconds:g} s, {count(limits.memory_mb)} MB "
                f"and {count(limits.rows)} rows. Saved by its link: the address has the statement and the chart."
            )
    if not sql.strip():
        return
    try:
        result = ask_sql(archive, sql)
    except (SqlRefused, SqlStopped) as error:
        # as code: the message marks the place of a mistake by its column
        st.error("The statement was not run to its end.", icon=":material/error:")
        st.code(str(error), language=None, wrap_lines=False)
        return
    _result(archive, SqlChoices(sql, name), result)


def _result(archive: Archive, choices: SqlChoices, result: SqlResult) -> None:
    table = result.table.rename_columns(unique_names(result.table.column_names))
    words = f"{plural(table.num_rows, 'row')} in {result.seconds:.2g} s"
    if result.from_snapshot:
        words += ", from the published copy because the archive is being written"
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(words + ".")
        with st.container(horizontal=True, width="content"):
            _download(table, "CSV")
            _download(table, "Parquet")
            menu = st.container(width="content")
    if result.truncated:
        st.warning(
            f"Cut after {count(table.num_rows)} rows: add a LIMIT or a WHERE, or run `pathscope sql` for more.",
            icon=":material/content_cut:",
        )
    in_rows, in_a_chart = st.tabs(["Table", "Chart"])
    with in_rows:
        drawn = first_rows(table)
        if (n := drawn.num_rows) < table.num_rows:
            st.warning(
                f"Too large for a browser: {plural(n, 'row')} shown. The files have all of them.",
                icon=":material/content_cut:",
            )
        st.dataframe(
            drawn,
            hide_index=True,
            height="content" if table.num_rows <= 12 else 460,
            alt=f"Result: {words}; columns {', '.join(table.column_names[:12])}",
        )
    with in_a_chart:
        choices = _chart(table, choices)
    with menu:
        share(
            link=permalink(here(), choices),
            python=in_python(archive, choices.sql),
            sql=choices.sql,
            csv=lambda: table,
            name="result",
            command=in_shell(archive, choices.sql),
        )


def _download(table: pa.Table, kind: str) -> None:
    write, mime = {"CSV": (to_csv, "text/csv"), "Parquet": (to_parquet, "application/vnd.apache.parquet")}[
        kind
    ]
    st.download_button(
        kind,
        lambda: write(table),
        f"result.{kind.lower()}",
        mime,
        key=f"download-{kind}",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
    )


def _chart(table: pa.Table, choices: SqlChoices) -> SqlChoices:
    """The chart under its choices, and the choices with them."""
    likely = likely_axes(table) if table.num_rows else None
    if likely is None:
        st.caption("A chart needs at least one row and two columns of numbers.")
        return choices
    numbers, colours = numeric_columns(table), ["", *colour_columns(table)]
    scales = ["linear", "log"]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        x = st.selectbox(
            "Across", numbers, numbers.index(likely.x), key="chart_x", bind="query-params", width=180
        )
        y = st.selectbox(
            "Up", numbers, numbers.index(likely.y), key="chart_y", bind="query-params", width=180
        )
        colour = st.selectbox(
            "One colour per",
            colours,
            colours.index(likely.colour),
            key="chart_colour",
            bind="query-params",
            format_func=lambda name: name or "nothing",
            width=180,
        )
        x_scale = st.segmented_control(
            "x axis", scales, default="linear", key="chart_x_scale", bind="query-params", required=True
        )
        y_scale = st.segmented_control(
            "y axis", scales, default="linear", key="chart_y_scale", bind="query-params", required=True
        )
    axes = Axes(x, y, colour)
    st.plotly_chart(
        result_figure(table, axes, x_scale=x_scale, y_scale=y_scale),
        key="chart",
        config=PLOTLY,
        alt=figure_in_words(table, axes),
    )
    hidden = hidden_points(table, axes, x_scale=x_scale, y_scale=y_scale)
    if hidden:
        st.caption(f":material/info: {plural(hidden, 'point')} at or below 0 have no place on a log axis.")
    return replace(
        choices, chart_x=x, chart_y=y, chart_colour=colour, chart_x_scale=x_scale, chart_y_scale=y_scale
    )


if __name__ == "__main__":
    show(render)
