"""What the verdict rests on, and the checks that only the command line makes."""

import time
from datetime import UTC, datetime
from functools import partial

import streamlit as st

from archive.upkeep.integrity import SKETCHED
from archive.upkeep.waiting import read_queue
from ui.menu import share, under
from ui.models.copies import in_python
from ui.models.integrity.page import CHECKED_SQL, MOST_SUSPECTS, command, kept, runs_table, verdict
from ui.models.text import age, count, escape_markdown, plural
from ui.parts.integrity.page import TALL, IntegrityPage
from ui.state import ask
from ui.widgets import to_fill


def draw_verdict(page: IntegrityPage) -> None:
    """Whether anything is recorded, and how many checkpoints each test could look at."""
    said, rests = verdict(page.runs)
    if any(r.n_suspect for r in page.runs):
        st.warning(escape_markdown(said), icon=":material/warning:")
    else:
        st.info(escape_markdown(said), icon=":material/fact_check:")
    if not rests:
        return
    st.markdown("What that rests on:\n" + "\n".join(f"- {escape_markdown(line)}" for line in rests))
    n_sketched, n = sum(r.n_sketched for r in page.runs), sum(r.n_checkpoints for r in page.runs)
    if n_sketched < n:
        to_fill(
            f"{count(n - n_sketched)} checkpoints have no sketch of their weights, so nobody knows how far they are apart. This "
            "measures it where the weights can be had:",
            command(f"ingest STUDY.toml --fill {SKETCHED}:sketch", page.database),
        )
    with st.expander(f"Run by run: {plural(len(page.runs), 'run')}"):
        number = partial(st.column_config.NumberColumn, format="localized")
        table = runs_table(page.runs)
        st.dataframe(
            table.slice(0, MOST_SUSPECTS),
            key="runs_checked",
            hide_index=True,
            height="content" if len(page.runs) <= TALL else 440,
            alt=f"{plural(len(page.runs), 'run')} with checkpoints, suspect ones, and what they can be checked by",
            column_config={
                "run": st.column_config.TextColumn("Run", pinned=True, width=260),
                "n_checkpoints": number("Checkpoints"),
                "n_suspect": number("Suspect"),
                "n_measured": number("Read"),
                "n_hashed": number("With a hash"),
                "n_sketched": number("With a sketch"),
                "order": "Order",
                "excluded": "Excluded",
            },
        )
        cut = f" The first {count(MOST_SUSPECTS)}; the CSV has all." if len(page.runs) > MOST_SUSPECTS else ""
        sql = page.sql(CHECKED_SQL, sketched=SKETCHED)
        with under(
            f"Runs with suspect checkpoints first; of several snapshots of one step the newest counts.{cut}"
        ):
            share(
                link=page.link,
                python=in_python(page.archive, sql),
                sql=sql,
                csv=lambda: table,
                name="runs_checked",
            )


def draw_verify(page: IntegrityPage) -> None:
    """The checks of the file itself, which only the command line makes, and when the last one passed."""
    st.subheader("Checks of the archive itself", anchor=False)
    known, queue = ask(page.archive, kept), read_queue(page.archive.layout)
    passed = "never" if known.verified_at is None else _ago(known.verified_at)
    st.markdown(f"Last `pathscope verify` that passed: **{escape_markdown(passed)}**.")
    if known.found_at is not None:
        st.caption(
            f"The last new findings about checkpoints were recorded {age(time.time() - known.found_at)}."
        )
    if queue.refused:
        st.warning(
            f"{plural(len(queue.refused), 'unit')} of results was refused and set aside: see the page Ingest.",
            icon=":material/block:",
        )
    st.caption(
        "It reads every block of the file, counts the rows of every cell against the ledger, looks for doubled rows and orphans, "
        "and checks committed units and the published copy against their checksums. One that finds something prints it and "
        "records nothing, so only its success has a date. Of the judging of checkpoints only findings are kept."
    )
    for words, line in (
        ("The whole file:", "verify"),
        ("The checkpoints of every run, with new findings recorded:", "verify --checkpoints all"),
        ("A hundredth of the stored results measured again and compared:", "verify --recompute 1%"),
    ):
        st.caption(words)
        st.code(command(line, page.database), language="bash", wrap_lines=True)


def _ago(moment: str) -> str:
    when = datetime.fromisoformat(moment)
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {age(time.time() - when.timestamp())}"
