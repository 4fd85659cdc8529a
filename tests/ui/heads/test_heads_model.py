from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.head import head
from queries.head_score_history import HeadScoreHistory, head_score_history
from queries.head_scores import HeadScores, head_scores
from queries.match_heads import match_heads
from tests.ui.components.archive import SPARSE, STEPS, prefix_scores, seeds, token_ids
from tests.ui.components.matches import ITEMS, POSITIONS, attention, partner_of
from tests.ui.components.records import CHANCE, N_HEADS, N_LAYERS, VOCABULARY
from ui.models.component_sets import (
    ComponentSet,
    component_sets,
    eval_sets,
    labels,
    measured_runs,
    measured_steps,
    named,
    rests,
    which_of,
)
from ui.models.heads.attention import (
    LOOKS,
    Pattern,
    for_browser,
    matrix_csv,
    matrix_figure,
    pattern_in_words,
    pattern_sql,
    pattern_table,
    patterns_of,
    stored_items,
    strongest,
    token_texts,
)
from ui.models.heads.curves import head_curves_figure, head_curves_in_words, hidden_scores
from ui.models.heads.grid import grid_figure, grid_in_words, grid_notes
from ui.models.heads.matches import (
    head_matches,
    matches_in_words,
    matches_table,
    runs_to_match,
    signature_steps,
)
from ui.models.heads.page import (
    PALE,
    best_head,
    finder,
    first_label,
    grid,
    head_names,
    peak_of,
    runs_drawn,
    usable_sorts,
)
from ui.models.heads.partners import (
    last_of,
    partners_step,
    partners_table,
    profile_figure,
    profile_in_words,
    profile_sql,
    profile_table,
    profiles,
    scores_table,
    sparse_steps,
)

Made = Callable[[str], Path]
TABLE = "fact_head"
RUN = seeds()[0]


@pytest.fixture
def archive(made: Made) -> Archive:
    return Archive(made("components"))


def known_set(archive: Archive, label: str = "head.prefix_matching", eval_set: str = "") -> ComponentSet:
    sets = component_sets(archive, table=TABLE)
    return rests(sets, label, eval_set or eval_sets(sets, label)[0])[0]


def history_of(archive: Archive, run: str = RUN.name) -> HeadScoreHistory:
    known = known_set(archive)
    return head_score_history(
        archive, runs=run, measure=known.measure, top=1000, chosen_by="max", **known.which
    )


def scores_of(archive: Archive, step: int = STEPS[-1], runs: str = RUN.name) -> HeadScores:
    known = known_set(archive)
    return head_scores(archive, runs=runs, measure=known.measure, step=step, **known.which)


def test_sets_are_named_by_variant_and_eval_set(archive: Archive, made: Made) -> None:
    sets = component_sets(archive, table=TABLE)
    assert labels(sets) == [
        "head.prefix_matching",
        "head.prefix_matching:last_target",
        "head.previous_token",
    ]
    assert [s.rest for s in sets] == ["", "", ""]
    assert {s.n_runs for s in sets} == {3}
    # both variants must be told apart by what a query understands
    assert all("params" in s.which for s in sets[:2])
    odd = component_sets(Archive(made("components odd")), table=TABLE)
    assert eval_sets(odd, "head.prefix_matching") == ["books, 40 tokens", "repeated tokens"]
    assert component_sets(archive, table="fact_benchmark") == []


def test_runs_and_steps_of_a_set_leave_out_what_queries_leave_out(made: Made) -> None:
    odd = Archive(made("components odd"))
    known = known_set(odd)
    measured = measured_runs(odd, selection=named(excluded=False), known=known, table=TABLE)
    assert measured.runs == ("lm-seed0", "lm-seed1", "lm-seed2")
    everyone = measured_runs(odd, selection=named(excluded=True), known=known, table=TABLE)
    assert set(everyone.runs) - set(measured.runs) == {"lm-wrong"}

    def steps(run: str, suspect: bool = False) -> tuple[int, ...]:
        return measured_steps(odd, run=run, known=known, table=TABLE, suspect=suspect)

    assert steps("lm-seed0") == tuple(s for s in STEPS if s != STEPS[2])
    assert steps("lm-seed1") == tuple(s for s in STEPS if s != STEPS[5])
    assert steps("lm-seed1", suspect=True) == STEPS
    assert which_of(known, suspect=True) == {**known.which, "with_suspect": True}


def test_a_name_with_brackets_names_itself(archive: Archive) -> None:
    assert named("a[1]*?", excluded=False).names == ("a[[]1][*][?]",)
    with pytest.raises(UsageError):
        measured_runs(
            archive,
            selection=named("lm-seed[01]", excluded=False),
            known=known_set(archive),
            table=TABLE,
        )


def test_the_grid_has_the_planted_scores(archive: Archive) -> None:
    history = history_of(archive)
    for step in (STEPS[0], STEPS[-1]):
        found = grid(scores_of(archive, step), history, RUN.name)
        assert found.values == pytest.approx(prefix_scores(RUN, step))
        assert found.chance == pytest.approx(np.full((N_LAYERS, N_HEADS), CHANCE))
        assert found.z == pytest.approx((found.values - CHANCE) / 0.01)
        # one range for all of training: steps compare
        assert found.top == pytest.approx(max(prefix_scores(RUN, s).max() for s in STEPS))
    assert not found.is_signed
    assert grid_notes(found) == []
    assert "Highest: L1H2 (0.893)" in grid_in_words(found, "head.prefix_matching")


def test_a_cell_is_chosen_by_its_name_and_framed(archive: Archive) -> None:
    found = grid(scores_of(archive), history_of(archive), RUN.name)
    figure = grid_figure(found, "L1H2", unit="probability")
    cells = figure.data[1]
    at = list(cells.customdata).index("L1H2")
    assert (cells.x[at], cells.y[at]) == (2, 1)
    assert "score 0.893" in cells.hovertext[at]
    assert "chance 0.025" in cells.hovertext[at]
    (frame,) = figure.layout.shapes
    assert (frame.x0 + frame.x1, frame.y0 + frame.y1) == pytest.approx((4, 2))
    # colour is not all that tells a score
    assert figure.data[0].text[1][2] == "0.89"


def test_missing_and_negative_scores_are_told(made: Made) -> None:
    odd = Archive(made("components odd"))
    known = known_set(odd, eval_set="repeated tokens")
    asked = {"runs": "lm-seed0", "measure": known.measure, **known.which}
    scores = head_scores(odd, step=STEPS[4], **asked)  # type: ignore[arg-type]
    history = head_score_history(odd, top=1000, chosen_by="max", **asked)  # type: ignore[arg-type]
    found = grid(scores, history, "lm-seed0")
    assert grid_notes(found) == ["1 of 8 heads have no finite score there (✕)."]
    assert PALE * CHANCE < found.top == pytest.approx(peak_of(history))
    figure = grid_figure(found, "L0H0", unit="")
    assert figure.data[0].text[0][1] == "✕"
    assert "score —" in figure.data[1].hovertext[1]
    table, _ = finder(scores, history, "value")
    assert table["head"].to_pylist()[-1] == "L0H1"
    assert table["value"].to_pylist()[-1] is None
    found.values[0, 0] = -0.5
    assert found.is_signed
    assert grid_figure(found, "L0H0", unit="").data[0].zmin == -found.top


def test_the_finder_sorts_and_cuts(archive: Archive) -> None:
    history, scores = history_of(archive), scores_of(archive)
    table, n = finder(scores, history, "above chance", most=3)
    rows = table.to_pylist()
    assert (table.num_rows, n) == (3, N_LAYERS * N_HEADS)
    assert rows[0]["head"] == "L1H2"
    assert rows[0]["above"] == pytest.approx(rows[0]["value"] - CHANCE)
    assert rows[0]["course"] == pytest.approx([prefix_scores(RUN, s)[1, 2] for s in STEPS])
    assert (rows[0]["peak"], rows[0]["peak_at"]) == (pytest.approx(peak_of(history)), STEPS[-1])
    assert usable_sorts(scores) == ["value", "above chance", "z"]
    other = head_scores(archive, runs="lm-seed1", measure="head.previous_token")
    assert usable_sorts(other) == ["value", "above chance"]
    # a row of another run than that of the history has no course
    assert finder(other, history, "value")[0]["course"].null_count == n


def test_what_the_page_opens_with(archive: Archive) -> None:
    history = history_of(archive)
    assert best_head(history) == "L1H2"
    assert head_names(history) == [f"L{a}H{b}" for a in range(N_LAYERS) for b in range(N_HEADS)]
    assert first_label(["a", "head.prefix_matching"]) == "head.prefix_matching"
    assert first_label(["a", "b"]) == "a"
    assert runs_drawn(["a", "b", "c", "d"], "c", most=3) == ("c", "a", "b")


@pytest.mark.parametrize("x_scale", ["log", "linear"])
def test_curves_have_a_line_a_run_and_the_level_of_chance(archive: Archive, x_scale: str) -> None:
    known = known_set(archive)
    found = head_score_history(archive, measure=known.measure, heads=("L1H2",), **known.which)
    figure = head_curves_figure(found, RUN.name, step=STEPS[3], x_scale=x_scale)
    lines = [t for t in figure.data if t.mode == "lines" and t.line.dash == "solid"]
    assert len(lines) == 3
    mine = next(t for t in lines if t.line.width > 2)
    assert mine.y[-1] == pytest.approx(prefix_scores(RUN, STEPS[-1])[1, 2])
    chance = [t for t in figure.data if t.line.dash == "dash"]
    assert [set(t.y) for t in chance] == [{CHANCE}]
    texts = [a.text for a in figure.layout.annotations]
    assert {"lm-seed0", "2 other runs", "chance"} <= set(texts)
    assert [s.x0 for s in figure.layout.shapes] == [STEPS[3]]
    low, high = figure.layout.yaxis.range
    assert low <= CHANCE < high
    assert "in focus lm-seed0. At the end lm-seed0: 0.893" in head_curves_in_words(found, "L1H2", RUN.name)


def test_a_log_y_axis_keeps_the_level_of_chance_and_counts_what_it_hides(archive: Archive) -> None:
    known = known_set(archive)
    found = head_score_history(archive, measure=known.measure, heads=("L1H2",), **known.which)
    figure = head_curves_figure(found, RUN.name, step=STEPS[-1], x_scale="log", y_scale="log")
    assert figure.layout.yaxis.type == "log"
    low, high = figure.layout.yaxis.range
    assert low <= np.log10(CHANCE) <= high < 0.5
    # what is written at a height of a log axis is placed by its power of ten
    assert next(a.y for a in figure.layout.annotations if a.text == "chance") == pytest.approx(
        np.log10(CHANCE)
    )
    assert hidden_scores(found) == sum(v <= 0 for v in found.table["value"].to_pylist())


def test_names_at_the_ends_of_curves_do_not_overlap(archive: Archive) -> None:
    known = known_set(archive)
    found = head_score_history(archive, measure=known.measure, heads=("L1H2",), **known.which)
    figure = head_curves_figure(found, RUN.name, step=STEPS[-1], x_scale="log")
    heights = sorted(a.y for a in figure.layout.annotations if a.xshift == 8)
    plot = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    assert len(heights) == 2
    assert np.diff(heights).min() * plot >= 16.9


def test_a_profile_can_be_taken_away_as_numbers(archive: Archive) -> None:
    found = head(archive, runs=RUN.name, layer=1, head=2)
    for profile in profiles(found, RUN.name):
        table = profile_table(profile)
        assert table["value"].to_pylist() == profile["values"]
        (row,) = archive.query(profile_sql(profile, 1, 2)).to_pylist()
        assert list(row["values"]) == pytest.approx(profile["values"])


def test_a_checkpoint_that_is_left_out_leaves_a_gap(made: Made) -> None:
    odd = Archive(made("components odd"))
    known = known_set(odd, eval_set="repeated tokens")
    found = head_score_history(odd, runs="lm-seed1", measure=known.measure, heads=("L1H3",), **known.which)
    figure = head_curves_figure(found, "lm-seed1", step=0, x_scale="linear")
    (line,) = [t for t in figure.data if t.line.dash == "solid"]
    assert np.isnan(line.y[list(line.x).index(STEPS[5])])


def test_partners_profiles_and_scores_of_a_head(archive: Archive) -> None:
    found = head(archive, runs=RUN.name, layer=1, head=2)
    partners = partners_table(found, RUN.name).to_pylist()
    assert (partners[0]["partner"], partners[0]["way"]) == ("L0H0", "reads from, K")
    assert partners[0]["z"] == pytest.approx(15)
    assert partners_step(found, RUN.name) == STEPS[-1]
    (profile,) = profiles(found, RUN.name)
    figure = profile_figure(profile, unit="attention")
    assert list(figure.layout.xaxis.ticktext) == ["0", "1", "2", "4", "8", "16"]
    assert "Largest: 0.35 at 16" in profile_in_words(profile, "L1H2")
    scores = {r["score"]: r for r in scores_table(found, RUN.name).to_pylist()}
    assert scores["head.prefix_matching"]["last"] == pytest.approx(0.893, abs=1e-3)
    # no error is stored with it, and so no z
    assert scores["head.previous_token"]["last_z"] is None
    assert partners_table(found, "another").num_rows == 0
    assert partners_step(found, "another") is None


def test_a_grid_at_chance_looks_pale(archive: Archive) -> None:
    known = known_set(archive)
    early = head_score_history(archive, runs=RUN.name, measure=known.measure, top=1000, **known.which)
    at_chance = replace(early, table=early.table.filter(pc.equal(early.table["step"], 0)))
    found = grid(scores_of(archive, 0), at_chance, RUN.name)
    assert found.values.max() < 2 * CHANCE
    assert found.top == pytest.approx(PALE * CHANCE)
    likely = scores_of(archive, 0)
    chance = likely.table.schema.get_field_index("chance")
    half = likely.table.set_column(chance, "chance", pa.array([0.5] * likely.table.num_rows))
    found = grid(replace(likely, table=half, unit="probability"), at_chance, RUN.name)
    assert found.top == 1, "a probability has no room for four times one half"


def test_only_steps_that_change_the_answer_are_asked_about(archive: Archive, made: Made) -> None:
    steps = sparse_steps(archive, run=RUN.name)
    assert steps == SPARSE
    assert [last_of(steps, s) for s in (0, 5, 8, 3000, 9000)] == [0, 0, 8, 1000, 4000]
    assert last_of((8, 64), 1) == 0
    for step in (1, 512):
        asked, at_once = (
            head(archive, runs=RUN.name, layer=1, head=2, step=s) for s in (last_of(steps, step), step)
        )
        assert asked.partners.equals(at_once.partners)
        assert asked.profiles.equals(at_once.profiles)
        assert asked.patterns.equals(at_once.patterns)
    assert sparse_steps(Archive(made("demo")), run="nobody") == ()


@pytest.fixture
def patterns(archive: Archive) -> list[Pattern]:
    found = head(archive, runs=RUN.name, layer=1, head=RUN.induction, step=3000)
    items = stored_items(found, RUN.name)
    texts = token_texts(archive, run=RUN.name, items=items, most=64)
    return patterns_of(found, RUN.name, texts)


def test_attention_is_what_was_planted_on_the_texts_it_was_taken_on(
    archive: Archive, patterns: list[Pattern]
) -> None:
    assert [p.item for p in patterns] == list(range(ITEMS))
    pattern = patterns[1]
    # the last checkpoint with patterns not after the one asked about
    assert (pattern.step, pattern.name) == (1000, "books, 40 tokens #1")
    assert pattern.tokens == tuple(VOCABULARY[t] for t in token_ids()[1, :POSITIONS])
    below = np.tril_indices(POSITIONS)
    assert pattern.weights[below] == pytest.approx(attention(RUN, 1, RUN.induction)[below])
    assert np.isnan(pattern.weights[np.triu_indices(POSITIONS, 1)]).all()
    assert np.nansum(pattern.weights, axis=1) == pytest.approx(np.ones(POSITIONS))
    assert strongest(pattern, 5) == [(4, pytest.approx(0.8)), (0, pytest.approx(0.2))]
    assert "0.2533 on the first token, 0.8133 on the token before, 0 on the token itself" in pattern_in_words(
        pattern, "L1H2"
    )
    rows = archive.rows(pattern_sql(pattern, "L1H2"))
    assert [(r["item"], r["layer"], r["head"], r["n_query"]) for r in rows] == [(1, 1, 2, POSITIONS)]


def test_attention_is_told_as_matrix_table_and_text(patterns: list[Pattern]) -> None:
    pattern = patterns[0]
    figure = matrix_figure(pattern)
    cells = figure.data[0]
    assert np.asarray(cells.z)[3, 2] == pytest.approx(0.8)
    assert len(set(cells.x)) == len(cells.y) == POSITIONS
    assert "<" not in "".join(cells.x)  # words of the vocabulary are text
    table = pattern_table(pattern).to_pylist()
    assert table[5]["looks_at"].startswith("4: ")
    assert "80%" in table[5]["looks_at"]
    assert table[0]["looked_at"] == pytest.approx((1 + 1 + 0.2 * 14) / 16)
    sent = for_browser(pattern, LOOKS[1])
    assert sent["backwards"]
    assert sent["tokens"][0] == pattern.tokens[0]
    assert sent["weights"][5][4] == pytest.approx(0.8)
    assert sent["weights"][4][5] == 0  # JSON knows no NaN
    assert matrix_csv(pattern).num_rows == POSITIONS * (POSITIONS + 1) // 2


def test_attention_without_texts_has_places_only(archive: Archive) -> None:
    found = head(archive, runs=RUN.name, layer=0, head=0)
    (first, _) = patterns_of(found, RUN.name, {})
    assert set(first.tokens) == {"?"}
    assert len(set(matrix_figure(first).data[0].x)) == POSITIONS
    assert patterns_of(found, "another", {}) == []
    twice = replace(found, patterns=pa.concat_tables([found.patterns, found.patterns]))
    assert [p.name for p in patterns_of(twice, RUN.name, {})][:2] == [first.name, f"{first.name} (2)"]
    alone = replace(first, weights=np.ones((1, 1)), tokens=("a",))
    assert pattern_in_words(alone, "L0H0").endswith("nothing but one token.")


def test_matched_heads_are_the_planted_partners(archive: Archive) -> None:
    assert signature_steps(archive, run=RUN.name, suspect=False) == SPARSE
    every = tuple(m.name for m in seeds())
    runs, n = runs_to_match(archive, runs=(*every, "nobody"), focus="lm-seed1", step=4000, suspect=False)
    assert (runs, n) == (("lm-seed1", "lm-seed0", "lm-seed2"), 3)
    found = match_heads(archive, runs=named(*runs, excluded=False), step=4000, n_null=49)
    for number in range(N_HEADS):
        rows = head_matches(found, "lm-seed1", f"L1H{number}")
        partners = {m.run: m.head for m in rows}
        assert partners == {f"lm-seed{b}": f"L1H{partner_of(number, 1, b)}" for b in (0, 2)}
        assert all(m.similarity > 0.8 and m.excess > 0.3 for m in rows)  # type: ignore[operator]
    told = matches_in_words(rows, "L1H3", 4000)
    assert "in 2 of 2 runs of other inits" in told
    scores = scores_of(archive, runs="lm-*")
    table = matches_table(
        rows, scores, "http://x/heads?a=b", 4000, {"measure": "m", "variant": ""}
    ).to_pylist()
    first = next(r for r in table if r["run"] == "lm-seed0")
    assert first["score"] == pytest.approx(prefix_scores(RUN, 4000)[1, partner_of(3, 1, 0)])
    assert first["page"] == "http://x/heads?measure=m&focus=lm-seed0&step=4000&head=L1H2"
    assert first["identity_gap"] is None
    (none,) = {m.head for m in head_matches(found, "lm-seed1", "L7H7")}
    assert none == ""
    assert "no partner" in matches_in_words(head_matches(found, "lm-seed1", "L7H7"), "L7H7", 4000)
