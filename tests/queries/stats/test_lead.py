"""Leads over runs: brackets as bounds, the sign test, what counts as together."""

import math

import numpy as np
import pytest

from queries.stats.intervals import Bracket
from queries.stats.lead import RunLead, lead_over_runs, run_lead, sign_p

NEVER = Bracket(64, math.inf, 9)
BEFORE = Bracket(-math.inf, 1, 9)


def bracket(time: float, width: float = 0.5) -> Bracket:
    """On checkpoints `width` octaves apart; time in octaves."""
    k = math.floor(time / width)
    return Bracket(2 ** (k * width), 2 ** ((k + 1) * width), 9)


def simulated(rng: np.random.Generator, n: int, lead: float, spread: float = 0.0) -> list[RunLead]:
    times = 10 + rng.normal(0, 1.5, n)
    return [run_lead(bracket(t), bracket(t + lead + spread * rng.normal())) for t in times]


def test_a_lead_lies_between_the_near_and_the_far_ends_of_the_brackets() -> None:
    lead = run_lead(Bracket(2, 4, 9), Bracket(8, 32, 9))

    assert (lead.order, lead.low, lead.high) == ("leads", 1, 4)
    assert (lead.middle, lead.spacing) == (4 - 1.5, 2)
    # the same bracket end: measured at 4, the event not before 4
    assert run_lead(Bracket(2, 4, 9), Bracket(4, 8, 9)).order == "leads"
    assert run_lead(Bracket(4, 8, 9), Bracket(2, 4, 9)).order == "follows"
    assert run_lead(Bracket(2, 8, 9), Bracket(4, 8, 9)).order == "untold"


def test_what_was_never_seen_is_a_bound_and_what_was_always_there_says_nothing() -> None:
    ahead, behind = run_lead(Bracket(2, 4, 9), NEVER), run_lead(NEVER, Bracket(2, 4, 9))

    assert (ahead.order, ahead.low, ahead.high) == ("leads", 4, math.inf)
    assert (behind.order, behind.low, behind.high) == ("follows", -math.inf, -4)
    assert run_lead(NEVER, NEVER).order == "neither"
    assert (
        run_lead(BEFORE, Bracket(2, 4, 9)).order
        == run_lead(Bracket(2, 4, 9), BEFORE).order
        == "from the start"
    )
    assert run_lead(Bracket(-math.inf, math.inf, 0), NEVER).order == "no data"
    # step 0 has no logarithm: reached by step 1, as early as you like
    assert run_lead(Bracket(0, 1, 9), Bracket(2, 4, 9)).high == math.inf


def test_only_decided_runs_are_tested_and_only_telling_ones_are_counted() -> None:
    runs = [run_lead(Bracket(2, 4, 9), Bracket(8, 16, 9))] * 8
    more = [run_lead(Bracket(2, 8, 9), Bracket(4, 8, 9)), run_lead(NEVER, NEVER), run_lead(BEFORE, NEVER)]
    found = lead_over_runs([*runs, *more])

    assert (found.n_leading, found.n_following, found.n_untold) == (8, 0, 1)
    assert found.p == pytest.approx(2 * 0.5**8)
    assert found.verdict(found.p, 0.05) == "leads"
    assert (sign_p(9, 1), sign_p(5, 0)) == pytest.approx((22 / 1024, 1 / 16))
    assert math.isnan(sign_p(0, 0))


def test_a_run_that_never_gets_there_leaves_one_end_of_the_interval_open() -> None:
    found = lead_over_runs(
        [run_lead(Bracket(2, 4, 9), Bracket(8, 16, 9))] * 5 + [run_lead(Bracket(2, 4, 9), NEVER)]
    )

    assert math.isnan(found.lead)
    assert (found.least, found.most, found.high) == (pytest.approx(9 / 6), math.inf, math.inf)
    assert 0 < found.low < found.least


def test_no_run_and_one_run_say_nothing() -> None:
    assert lead_over_runs([]).verdict(math.nan, 0.05) == "unresolved"
    one = lead_over_runs([run_lead(Bracket(2, 4, 9), Bracket(8, 16, 9))])
    assert (one.low, one.high, one.lead) == (-math.inf, math.inf, 2)
    assert one.verdict(one.p, 0.05) == "unresolved"


def test_together_needs_six_runs_in_brackets_of_their_own() -> None:
    def same(brackets: list[Bracket]) -> str:
        found = lead_over_runs([run_lead(b, b) for b in brackets])
        return found.verdict(found.p, 0.05)

    apart = [bracket(k) for k in range(8)]
    assert same(apart) == same(apart[:6]) == "together"
    assert same(apart[:5]) == "unresolved"
    # all in one bracket: nobody knows where in it each of them is
    assert same(apart[:1] * 8) == "unresolved"


def test_its_errors_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(0)
    nulls = [lead_over_runs(simulated(rng, 10, 0.0, 0.5)) for _ in range(100)]
    assert sum(found.p <= 0.05 for found in nulls) <= 12
    # a lead of just half a spacing is called together by error only
    edge = [lead_over_runs(simulated(rng, 10, 0.25)) for _ in range(100)]
    assert sum(found.together for found in edge) <= 6
    for lead, spread in ((0.25, 0.1), (1.0, 0.5)):
        runs = [lead_over_runs(simulated(rng, 8, lead, spread)) for _ in range(100)]
        assert sum(found.even_low <= lead <= found.even_high for found in runs) >= 90
        assert sum(found.low <= lead <= found.high for found in runs) >= 95


def test_a_lead_of_a_spacing_is_found() -> None:
    rng = np.random.default_rng(1)
    found = [lead_over_runs(simulated(rng, 10, 1.0, 0.2)) for _ in range(50)]

    assert sum(f.verdict(f.p, 0.05) == "leads" for f in found) >= 45


def test_shared_seeds_keep_the_rate_of_false_leads() -> None:
    """Nine runs of three inits whose sides the init decides: as independent runs a quarter would lead or follow."""
    rng = np.random.default_rng(0)
    inits = np.arange(9) % 3
    found = {False: 0, True: 0}
    for _ in range(100):
        sides = rng.choice([-3.0, 3.0], 3)[inits] + 0.1 * rng.normal(size=9)
        runs = [run_lead(bracket(10), bracket(10 + side)) for side in sides]
        for shared in found:
            lead = lead_over_runs(runs, shared=[inits.tolist()] if shared else ())
            found[shared] += lead.verdict(lead.p, 0.05) in ("leads", "follows")
    assert found[False] > 12
    assert found[True] == 0


def test_of_several_shared_seeds_the_worst_p_counts_and_half_widths_add() -> None:
    runs = [run_lead(bracket(10), bracket(13 + 0.5 * (k % 6))) for k in range(12)]
    init, order = [k % 6 for k in range(12)], [k // 4 for k in range(12)]
    alone = [lead_over_runs(runs, shared=[values]) for values in (init, order)]
    both = lead_over_runs(runs, shared=[init, order])

    assert (both.p, both.n_leading) == (max(lead.p for lead in alone), 12)
    assert both.least - both.low == pytest.approx(math.hypot(*(x.least - x.low for x in alone)))
    assert both.high - both.most == pytest.approx(math.hypot(*(x.high - x.most for x in alone)))
    assert both.even_high - both.lead == pytest.approx(math.hypot(*(x.even_high - x.lead for x in alone)))
    assert lead_over_runs(runs, shared=[list(range(12))]) == lead_over_runs(runs)
