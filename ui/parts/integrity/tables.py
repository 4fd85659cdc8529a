"""Suspect checkpoints, equal weights, and excluded runs: everything recorded, with reasons."""

import pyarrow as pa
import streamlit as st

from ui.menu import share, under
from ui.models.copies import in_python
from ui.models.integrity.page import (
    EQUAL_SQL,
    EXCLUSIONS_SQL,
    HARMLESS,
    MOST_EQUAL,
    MOST_SUSPECTS,
    SUSPECTS_SQL,
    of_runs,
)
from ui.models.sources.page import web_address
from ui.models.text import count, plural
from ui.parts.integrity.page import LINK, TALL, WHEN, IntegrityPage
from ui.state import ask
from ui.widgets import say


def draw_suspects(page: IntegrityPage) -> None:
    """Everything recorded of checkpoints: suspect, accepted, remarks."""
    st.subheader("Suspect checkpoints", anchor=False)
    table = ask(page.archive, of_runs, sql=SUSPECTS_SQL, run_ids=page.ids)
    if not table.num_rows:
        st.caption("None is recorded in these runs, and no remark.")
        return
    shown = table.slice(0, MOST_SUSPECTS)
    hidden = {"weights_hash"} | ({"snapshot"} if not any(shown["snapshot"].to_pylist()) else set())
    links = pa.array([web_address(link) or None for link in shown["link"].to_pylist()], pa.string())
    st.dataframe(
        shown.set_column(5, "link", links),
        column_order=[c for c in shown.column_names if c not in hidden],
        key="suspects",
        hide_index=True,
        height="content" if table.num_rows <= TALL else 440,
        placeholder="—",
        alt=f"{plural(table.num_rows, 'checkpoint')} with something said of them: run, step, state, reason, link, who and when",
        column_config={
            "run": st.column_config.TextColumn("Run", pinned=True, width=220),
            "step": st.column_config.NumberColumn("Step", format="localized"),
            "snapshot": "Snapshot",
            "state": "State",
            "reason": st.column_config.TextColumn("Reason", width="large"),
            "link": LINK,
            "who": st.column_config.TextColumn(
                "Who", help="Who accepted it or took that back; nobody else is recorded"
            ),
            "happened_at": WHEN,
        },
    )
    sql = page.sql(SUSPECTS_SQL)
    with under(
        "Suspect ones are left out of answers; accepted ones are back in; a remark leaves nothing out."
    ):
        share(
            link=page.link,
            python=in_python(page.archive, sql),
            sql=sql,
            csv=lambda: table,
            name="suspects",
        )
    say(
        [f"The first {count(MOST_SUSPECTS)} of {count(table.num_rows)}; the CSV has all."]
        if table.num_rows > MOST_SUSPECTS
        else [],
        [
            "Who said so and when is only stored where a person accepted it or took that back.",
            "Findings of verify and of catalogues have a reason, and no date.",
        ],
        "What this table cannot tell",
    )


def draw_equal(page: IntegrityPage) -> None:
    """Checkpoints with one hash, in these runs or between them and others."""
    st.subheader("Equal weights", anchor=False)
    n_hashed = sum(r.n_hashed for r in page.runs)
    if not n_hashed:
        st.caption("No checkpoint of these runs has the hash of its weights, so equal ones are not known.")
        return
    table = ask(page.archive, of_runs, sql=EQUAL_SQL, run_ids=page.ids)
    odd = [kind for kind in table["kind"].to_pylist() if kind not in HARMLESS]
    words = f"{plural(n_hashed, 'checkpoint')} with a hash, compared with every other in the archive: "
    if not table.num_rows:
        st.caption(words + "all different.")
        return
    fine = table.num_rows - len(odd)
    st.caption(
        words
        + f"{plural(len(odd), 'set')} of equal ones to look at, and {count(fine)} that should be equal (same "
        "initial weights, or a run that goes on from another)."
    )
    st.dataframe(
        table.slice(0, MOST_EQUAL),
        key="equal",
        hide_index=True,
        height="content" if table.num_rows <= TALL else 440,
        alt=f"{plural(table.num_rows, 'set')} of checkpoints with equal weights, with kind and members",
        column_config={
            "weights_hash": st.column_config.TextColumn("SHA-256", width=110),
            "n_checkpoints": st.column_config.NumberColumn("Checkpoints"),
            "n_runs": st.column_config.NumberColumn("Runs"),
            "kind": st.column_config.TextColumn("Kind", width=190),
            "members": st.column_config.TextColumn("Where (the first six)", width="large"),
        },
    )
    sql = page.sql(EQUAL_SQL)
    with under("Sets to look at come first."):
        share(
            link=page.link,
            python=in_python(page.archive, sql),
            sql=sql,
            csv=lambda: table,
            name="equal_weights",
        )


def draw_exclusions(page: IntegrityPage) -> None:
    """Runs that somebody left out of answers, also those taken back."""
    st.subheader("Excluded runs", anchor=False)
    table = ask(page.archive, of_runs, sql=EXCLUSIONS_SQL, run_ids=page.ids)
    if not table.num_rows:
        st.caption("Nobody has excluded one of these runs.")
        return
    st.dataframe(
        table,
        key="exclusions",
        hide_index=True,
        height="content" if table.num_rows <= TALL else 440,
        alt=f"{plural(table.num_rows, 'exclusion')} with run, reason, who and when",
        column_config={
            "run": st.column_config.TextColumn("Run", pinned=True, width=220),
            "reason": st.column_config.TextColumn("Reason", width="large"),
            "who": "Who",
            "happened_at": WHEN,
            "lifted": st.column_config.CheckboxColumn("Taken back"),
        },
    )
    sql = page.sql(EXCLUSIONS_SQL)
    with under("An exclusion that was taken back stays here."):
        share(
            link=page.link,
            python=in_python(page.archive, sql),
            sql=sql,
            csv=lambda: table,
            name="exclusions",
        )
