"""One run's chain of checkpoints, judged now; and all runs asked for, where somebody wants it."""

import shlex

import pyarrow as pa
import streamlit as st

from archive.upkeep.integrity import SKETCHED
from queries.results import readable_sql
from ui.menu import PLOTLY, share, under
from ui.models.copies import in_python
from ui.models.integrity.chain import (
    CHECKPOINTS_SQL,
    DISTANCES_SQL,
    MOST_CHECKPOINTS,
    MOST_OTHERS,
    Chain,
    chain_figure,
    chain_in_words,
    chain_notes,
    chain_table,
    distances,
    ledger,
    state,
)
from ui.models.integrity.page import command
from ui.models.sources.page import web_address
from ui.models.text import count, plural, shorten
from ui.parts.integrity.page import LINK, TALL, IntegrityPage
from ui.state import ask
from ui.widgets import say, to_fill


def draw_chain(page: IntegrityPage) -> None:
    """The run in focus, judged now."""
    run = page.focus
    judge = command(f"verify --checkpoints {shlex.quote(run.run)}", page.database)
    if not run.n_checkpoints:
        st.caption("This run has no checkpoint.")
        return
    if run.n_checkpoints > MOST_CHECKPOINTS:
        to_fill(
            f"{count(run.n_checkpoints)} checkpoints are too many to judge while you wait. This does it:",
            judge,
        )
        return
    chain, n_condition = _chain(page)
    if chain.has_distances:
        st.plotly_chart(
            chain_figure(chain, x_scale=page.choices.x_scale, y_scale=page.choices.y_scale),
            key="chain",
            config=PLOTLY,
            alt=chain_in_words(chain),
        )
        sql = readable_sql(DISTANCES_SQL, {"ids": [run.run_id], "sketched": SKETCHED})
        with under(
            "Relative to the length of the weights, ± 1.6% (sketches). Checkpoints further apart in steps lie further apart."
        ):
            share(
                link=page.link,
                python=in_python(page.archive, sql),
                sql=sql,
                csv=lambda: chain_table(chain.ledger),
                name="chain",
            )
    else:
        st.caption(
            "No two neighbours have a sketch, so there are no distances to draw; the table has hashes and findings."
        )
    say(
        chain_notes(chain, n_condition, page.choices.y_scale),
        [
            "A checkpoint far from both neighbours may be a spike of the loss as well as weights of something else.",
            "An exchange of the first two or of the last two checkpoints is not found.",
            "A run that goes back to an earlier point for a single checkpoint looks like an exchange.",
            "Distances say nothing about whether the weights are those that the publisher meant.",
        ],
        "What this chain cannot tell",
    )
    _findings(page, chain, judge)


def _chain(page: IntegrityPage) -> tuple[Chain, int]:
    run = page.focus
    near = [
        r
        for r in page.runs
        if r.run_id != run.run_id
        and r.n_sketched > 1
        and r.condition
        and (r.family, r.condition) == (run.family, run.condition)
    ]
    some = near[:MOST_OTHERS]
    others = ask(page.archive, distances, run_ids=tuple(r.run_id for r in some))
    found = ask(page.archive, ledger, run_id=run.run_id, run=run.run)
    return Chain(found, others, len(some)), len(near)


def _findings(page: IntegrityPage, chain: Chain, judge: str) -> None:
    new = chain.ledger.new
    if new:
        st.warning(
            f"**{plural(len(new), 'new finding')}**, judged just now and recorded nowhere: answers still use these checkpoints. "
            "The command records them; where one is as it should be, the second takes it back.",
            icon=":material/new_releases:",
        )
        st.code(judge, language="bash", wrap_lines=True)
        st.code(f"{judge} --accept {new[0].step} --reason WHY", language="bash", wrap_lines=True)
    elif not chain.odd:
        n = sum(r.to_previous is not None for r in chain.ledger.rows)
        hashed = sum(bool(r.weights_hash) for r in chain.ledger.rows)
        st.caption(
            f"Nothing suspect in this run, judged just now: {plural(len(chain.ledger.rows), 'checkpoint')}, "
            f"{count(hashed)} with a hash, {plural(n, 'distance')}."
            if n or hashed
            else "Nothing is recorded against this run, and nothing could be judged: no checkpoint has a hash or a sketch."
        )
    table = chain_table(chain.ledger)
    table = table.set_column(
        5, "link", pa.array([web_address(r.link) or None for r in chain.ledger.rows], pa.string())
    )
    with st.expander(
        f"All {plural(len(chain.ledger.rows), 'checkpoint')} of this run", expanded=not chain.has_distances
    ):
        st.dataframe(
            table.set_column(
                6, "weights_hash", pa.array([r.weights_hash[:12] for r in chain.ledger.rows], pa.string())
            ),
            key="chain_table",
            hide_index=True,
            height="content" if table.num_rows <= TALL else 440,
            placeholder="—",
            alt=f"Checkpoints of {shorten(chain.ledger.run, 60)} with distances, state, finding and hash",
            column_config={
                "step": st.column_config.NumberColumn("Step", format="localized", pinned=True),
                "to_previous": st.column_config.NumberColumn("To the one before", format="%.3g"),
                "to_next": st.column_config.NumberColumn("To the next", format="%.3g"),
                "state": "State",
                "finding": st.column_config.TextColumn("Finding", width="large"),
                "link": LINK,
                "weights_hash": st.column_config.TextColumn(
                    "SHA-256", help="The first 12 digits; the CSV has all"
                ),
                "snapshot": "Snapshot",
            },
        )
        if not chain.has_distances:
            sql = readable_sql(CHECKPOINTS_SQL, {"ids": [page.focus.run_id]})
            share(
                link=page.link,
                python=in_python(page.archive, sql),
                sql=sql,
                csv=lambda: chain_table(chain.ledger),
                name="checkpoints",
            )


def draw_judged(page: IntegrityPage) -> None:
    """Every run asked for, judged now, if somebody wants it; what is new in any of them."""
    runs = [r for r in page.runs if 0 < r.n_checkpoints <= MOST_CHECKPOINTS]
    if not page.choices.judge_all:
        return
    found = [ask(page.archive, ledger, run_id=r.run_id, run=r.run) for r in runs]
    new = [(one.run, row) for one in found for row in one.new]
    n = sum(len(one.rows) for one in found)
    if not new:
        st.caption(f"Nothing new: {plural(n, 'checkpoint')} of {plural(len(runs), 'run')} judged just now.")
        return
    st.warning(
        f"**{plural(len(new), 'new finding')}** among {plural(n, 'checkpoint')}, recorded nowhere yet.",
        icon=":material/new_releases:",
    )
    table = pa.table(
        {
            "run": [run for run, _ in new],
            "step": [row.step for _, row in new],
            "state": [state(row) for _, row in new],
            "finding": [row.note for _, row in new],
        }
    )
    st.dataframe(
        table,
        key="judged",
        hide_index=True,
        height="content" if len(new) <= TALL else 440,
        alt=f"{plural(len(new), 'new finding')} with run, step and reason",
        column_config={
            "run": "Run",
            "step": "Step",
            "state": "State",
            "finding": st.column_config.TextColumn("Finding", width="large"),
        },
    )
    sql = page.sql(CHECKPOINTS_SQL)
    with under("The SQL has what is recorded of these checkpoints; the command records what is new."):
        share(
            link=page.link,
            python=in_python(page.archive, sql),
            sql=sql,
            csv=lambda: table,
            name="new_findings",
            command=command("verify --checkpoints all", page.database),
        )
    st.code(command("verify --checkpoints all", page.database), language="bash", wrap_lines=True)
