"""The Ingest page from the top: what is going on now, studies, cells over time, failures, units set aside."""

from functools import partial

import streamlit as st

from archive.upkeep.words import age_words
from queries.results import readable_sql
from ui.menu import CAMERA_ONLY, PLOTLY, share, under
from ui.models.copies import in_python
from ui.models.ingestion.failures import FAILURES_SQL, MOST_GROUPS, FailureGroup, of_study, with_archive
from ui.models.ingestion.figure import (
    MOST_BARS,
    OVER_TIME_SQL,
    bars,
    bars_figure,
    bars_in_words,
    drawn_lines,
    over_time,
    over_time_figure,
    over_time_in_words,
    thinned,
)
from ui.models.ingestion.page import STUDIES_SQL, StudyState, commands, notes, studies_table
from ui.models.ingestion.words import (
    FIRST_RESULTS,
    holder_words,
    queue_words,
    read_words,
    refused_words,
    under_way,
)
from ui.models.text import age, count, escape_markdown, plural, shorten, size
from ui.parts.ingestion.page import EVERY, IngestPage
from ui.pickers import scale_picker
from ui.widgets import say, to_fill

CANNOT = "What these counts cannot tell"
# what people look for first, as long as a narrow window has room
COLUMNS = (
    *("study", "share", "n_missing", "n_failed", "rate", "eta", "n_done", "n_wanted"),
    *("n_runs", "n_ended", "n_absent", "n_not_wanted", "basis"),
)


def draw_now(page: IngestPage) -> None:
    """What waits, who writes, what came in last; when that was read."""
    queue, last = page.queue, page.read.progress.last_commit
    n_failed = sum(g.n_cells for g in page.read.failures if g.outcome == "failed")
    running = [name for name in page.ingests if page.runs_now(name)]
    cards = (
        (
            "Being ingested",
            count(len(running)),
            plural(len(running), "study", "studies") if running else "nobody is at it",
        ),
        (
            "Wait in the inbox",
            count(queue.n_shards),
            size(queue.n_bytes) if queue.n_shards else "nothing waits",
        ),
        ("Set aside", count(len(queue.refused)), "refused, see below" if queue.refused else "none refused"),
        ("Failed cells", count(n_failed), "see below" if n_failed else "no failures"),
        (
            "Last commit",
            "never" if last is None else _short_age(page.now - last),
            "nobody writes now" if page.writer is None else "being written",
        ),
    )
    for column, (label, value, note) in zip(st.columns(len(cards)), cards, strict=True):
        column.metric(label, value, note, delta_color="off", delta_arrow="off", border=True)
    every = None if page.choices.paused else EVERY
    st.caption(escape_markdown(read_words(page.now - page.look.at, page.busy, every)))
    for line in (*holder_words(page.ingests, page.writer), *queue_words(queue)):
        st.caption(f":material/info: {escape_markdown(line)}")
    if queue.n_shards and not running:
        to_fill(
            "Units wait and nobody ingests. This enters them:",
            with_archive("pathscope commit", page.database),
        )


def draw_studies(page: IngestPage) -> None:
    """Every study: its bar, its numbers, its rate; and the commands of the chosen one."""
    studies = page.read.progress.studies
    if not studies:
        if under_way(page.ingests, page.writer, page.queue):
            st.caption(escape_markdown(FIRST_RESULTS))
        elif not page.queue.n_shards:
            to_fill(
                "Nothing has come in yet. Train five small models, measure them and fill this archive (about a minute):",
                with_archive("pathscope demo", page.database),
            )
        return
    st.subheader("By study", anchor=False)
    shown = bars(studies)
    if shown:
        st.plotly_chart(bars_figure(shown), key="studies_bars", config=CAMERA_ONLY, alt=bars_in_words(shown))
    paces = {s.label: s.pace(now=page.now, running=page.runs_now(s.study)) for s in studies}
    table = studies_table(studies, paces)
    number = partial(st.column_config.NumberColumn, format="localized")
    st.dataframe(
        table,
        key="studies_table",
        hide_index=True,
        height="content" if len(studies) <= 12 else 440,
        placeholder="—",
        column_order=COLUMNS,
        alt=f"{plural(len(studies), 'study', 'studies')} with cells there, missing, failed, absent, runs, rate and time left",
        column_config={
            "study": st.column_config.TextColumn("Study", pinned=True, width=200),
            "share": st.column_config.ProgressColumn(
                "Settled",
                format="%d%%",
                min_value=0,
                max_value=100,
                width=110,
                help="Cells that need no more work, of those wanted: there, absent upstream, or not applicable",
            ),
            "n_done": number("There"),
            "n_missing": number("Missing", help="Wanted, and nobody has tried yet"),
            "n_failed": number("Failed"),
            "n_absent": number("Absent upstream", help="The source does not have that checkpoint"),
            "n_not_wanted": number("Not applicable", help="Or excluded"),
            "n_wanted": number("Wanted"),
            "n_runs": number("Runs"),
            "n_ended": number("At their end", help="Runs with a checkpoint at their last step"),
            "rate": "Rate",
            "eta": st.column_config.TextColumn(
                "Time left", help="Cells missing over the rate, while somebody is at it"
            ),
            "basis": st.column_config.TextColumn("Rests on", width="large"),
        },
    )
    missing = notes(studies)
    if len([s for s in studies if s.n_wanted]) > len(shown):
        missing.append(f"{MOST_BARS} studies are drawn, unfinished ones first; the table has all.")
    words = "Cells: one measure on one checkpoint, pair or run. The rate is of the last commits up to a long pause."
    with under(words):
        share(
            link=page.link,
            python=in_python(page.archive, STUDIES_SQL),
            sql=STUDIES_SQL,
            csv=lambda: table,
            name="studies",
        )
    say(
        missing,
        [
            "The time left takes what is missing to cost what the last cells cost; others may cost more.",
            "Wanted is what the study's file asked for when it was last ingested, also of runs that were not begun.",
            "A study's cells are those its units brought, so a cell measured by two studies counts for the first.",
            "Units that workers are at, and units that wait in the inbox, are in no count yet.",
        ],
        CANNOT,
    )
    _commands(page, studies)


def _commands(page: IngestPage, studies: tuple[StudyState, ...]) -> None:
    study = page.read.progress.study(page.choices.study) or studies[0]
    own = of_study(page.read.failures, study.study)
    given = commands(
        study,
        page.database,
        transient=study.n_failed > 0 and any(g.transient for g in own),
        permanent=study.n_failed > 0 and any(g.permanent for g in own),
    )
    st.markdown(
        f"**{escape_markdown(shorten(study.label, 80))}**: commands for a terminal; this page starts nothing."
    )
    if not given:
        st.caption("Everything it wants is there: the same command would say that there is nothing to do.")
    for words, command in given:
        st.caption(words)
        st.code(command, language="bash", wrap_lines=True)
    if study.study:
        st.caption(
            "The file has the study's name unless you gave it another; it is kept in the view v_study as it was."
        )


def draw_over_time(page: IngestPage) -> None:
    """Cells so far, commit by commit."""
    studies, table = page.read.progress.studies, page.read.over_time
    names = drawn_lines(table, studies)
    if not names:
        return
    st.subheader("Cells over time", anchor=False)
    y_scale = scale_picker("y axis", "y_scale", "linear")
    st.plotly_chart(
        over_time_figure(table, names, y_scale=y_scale),
        key="over_time",
        config=PLOTLY,
        alt=over_time_in_words(table, names),
    )
    sql = readable_sql(OVER_TIME_SQL, {"most": 1_000_000_000})
    with under("Each step is a commit. Cells that were measured again count again."):
        share(
            link=page.link,
            python=in_python(page.archive, sql),
            sql=sql,
            csv=lambda: over_time(page.archive, most=1_000_000_000),
            name="cells_over_time",
        )
    say(thinned(table, names, len([s for s in studies if s.n_commits])), [], CANNOT)


def draw_failures(page: IngestPage) -> None:
    """Failures by kind of error; then what is absent or does not apply, which is no failure; then refused units."""
    groups = page.read.failures
    failed = [g for g in groups if g.outcome == "failed"]
    if not page.read.progress.studies:
        return
    st.subheader("Failures", anchor=False)
    if not failed:
        st.caption("No cell has failed.")
    for group in failed[:MOST_GROUPS]:
        _failure(page, group)
    if len(failed) > MOST_GROUPS:
        st.caption(f"The {MOST_GROUPS} most frequent of {len(failed)} kinds; the view v_failure has all.")
    others = [g for g in groups if g.outcome != "failed"]
    if others:
        with st.expander(
            f"No failures: {count(sum(g.n_cells for g in others))} cells that are absent upstream or do not apply"
        ):
            for group in others[:MOST_GROUPS]:
                st.markdown(
                    f"**{count(group.n_cells)} × {escape_markdown(group.outcome)}** in "
                    f"{escape_markdown(_measures(group))}, {plural(group.n_runs, 'run')}: "
                    f"{escape_markdown(shorten(group.message, 400))}"
                )
    if groups:
        with under("One line a kind of error; the message and the traceback are those of the newest."):
            share(
                link=page.link,
                python=in_python(page.archive, FAILURES_SQL),
                sql=FAILURES_SQL,
                csv=lambda: page.archive.query(FAILURES_SQL),
                name="failures",
            )
    if page.queue.refused:
        st.subheader("Units set aside", anchor=False)
        st.caption(
            "The committer refused them whole; nothing of them is in the archive. They stay until somebody deletes them."
        )
        for shard, reason in refused_words(page.queue):
            st.markdown(f"**{escape_markdown(shard)}**: {escape_markdown(reason)}")


def _failure(page: IngestPage, group: FailureGroup) -> None:
    when = "" if group.last is None else f", last {age(page.now - group.last)}"
    title = f"{count(group.n_cells)} × {shorten(group.title, 60)} in {_measures(group)}, {plural(group.n_runs, 'run')}{when}"
    with st.expander(escape_markdown(title), icon=":material/error:", expanded=True):
        more = (
            f" ({count(group.n_messages)} different messages; this is the newest)"
            if group.n_messages > 1
            else ""
        )
        st.markdown(f"{escape_markdown(shorten(group.message, 1000)) or 'No message was kept.'}{more}")
        at = "" if group.step is None else f" at step {group.step:,}"
        kind = (
            "tried again by the next call"
            if group.transient
            else "failed for good: tried again only when asked"
        )
        tries = plural(group.max_attempts, "attempt")
        st.caption(escape_markdown(f"Newest in {shorten(group.run, 80)}{at}; up to {tries}; {kind}."))
        if group.first_lines:
            st.code(group.first_lines, language=None, wrap_lines=True)
        for retry in group.retries:
            st.code(with_archive(retry, page.database), language="bash", wrap_lines=True)


def _short_age(seconds: float) -> str:
    """An age that fits on a card: its largest unit only."""
    return f"{' '.join(age_words(max(seconds, 0.0)).split()[:2])} ago"


def _measures(group: FailureGroup) -> str:
    some = ", ".join(group.measures[:3])
    return some if len(group.measures) <= 3 else f"{some} and {len(group.measures) - 3} more measures"
