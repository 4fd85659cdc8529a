"""What may be called a transition: one class per series from all that was measured of it, with why.

The classes: major (half of the change within an octave) and minor (more than smooth curves have, but less than half);
metric_only (the discrete metric passes, the continuous one does not); axis_only (only windows of linear time pass); none
(not significant where a major one would have been found); unresolved, always with the reason.
"""

import math
from dataclasses import dataclass
from typing import Literal

from queries.stats.sigmoid_fit import MAJOR_W
from queries.stats.transition_shape import FEWEST_INSIDE, MAJOR_SHARE, Shape
from queries.stats.width import WIDEST_SPACING

Class = Literal["major_transition", "minor_transition", "metric_only", "axis_only", "none", "unresolved"]
CLASSES: tuple[Class, ...] = (
    "major_transition",
    "minor_transition",
    "metric_only",
    "axis_only",
    "none",
    "unresolved",
)

# of the range; with hardly any noise every real curve departs from the families, which is no transition
LEAST_EXCESS = 0.05
CONTROL_PERCENTILE = 0.95
# of a run's other series; with fewer no percentile of 95 can be reached by chance less than one time in 20
FEWEST_CONTROLS = 19
# octaves from 10 to 90 % of a logistic that has half of its change in one octave
MAJOR_WIDTH = 2.0
# reasons that points between those that are there would settle
MORE_POINTS = ("octave(s) apart", "cannot be told", "needed inside")


@dataclass(frozen=True)
class Evidence:
    """What is known of one series.

    refused: why nothing could be tested, empty where it was. q, q_linear: of the octave test and of linear windows,
    corrected over all series; q_bootstrap: of the former, were louder noise no account of it; q_discrete: of the discrete
    member of the metric pair, NaN without one. excess, excess_linear, excess_discrete: the statistics, in shares of the
    range. shape: of the change in the direction of the event; first, last: of the times. w_low, w_high: interval of the
    sigmoid's width. spacing: widest gap there. detectable_w: widest full-change sigmoid that would be found, 0 where none.
    controls, beyond: how many matched series of the run there are, and the share of them with a smaller excess. discrete:
    the metric itself is discrete. jump, noise_factor, noise_since: as `Tested` has them.
    """

    refused: str
    q_bootstrap: float
    q: float
    q_linear: float
    excess: float
    excess_linear: float
    shape: Shape | None
    first: float
    last: float
    w_low: float
    w_high: float
    spacing: float
    detectable_w: float
    controls: int = 0
    beyond: float = math.nan
    q_discrete: float = math.nan
    excess_discrete: float = math.nan
    discrete: bool = False
    jump: bool = True
    noise_factor: float = math.nan
    noise_since: float = math.nan


def judge(e: Evidence, fdr: float, *, controls_required: bool = False) -> tuple[Class, str]:
    """The class of a series and why; the reason is empty for transitions."""
    if e.refused or e.shape is None:
        return "unresolved", e.refused or "nothing was measured"
    if e.q < fdr and e.excess >= LEAST_EXCESS:
        return _of_significant(e, e.shape, controls_required)
    if not e.jump and e.q_bootstrap < fdr and e.excess >= LEAST_EXCESS:
        louder = f"noise that is {e.noise_factor:.2g} times as large from step {e.noise_since:,.0f} on"
        return "unresolved", f"a smooth curve with {louder} explains it about as well as a jump does"
    if e.q_discrete < fdr and e.excess_discrete >= LEAST_EXCESS:
        return "metric_only", "the discrete metric is sharp, the continuous one is not"
    if e.q_linear < fdr and e.excess_linear >= LEAST_EXCESS:
        return "axis_only", "sharp in windows of linear time only"
    if e.detectable_w < MAJOR_W:
        return (
            "unresolved",
            "a transition two octaves wide would not stand out from the noise at these checkpoints",
        )
    if e.q < fdr:
        return "none", f"departs from smooth curves by less than {LEAST_EXCESS:.0%} of its range"
    return "none", "no octave changes more than in smooth curves"


def _of_significant(e: Evidence, shape: Shape, controls_required: bool) -> tuple[Class, str]:
    if e.discrete:
        return "unresolved", "only the discrete metric is there, which is sharp where items are alike"
    if e.controls >= FEWEST_CONTROLS and e.beyond < CONTROL_PERCENTILE:
        return "unresolved", f"only {e.beyond:.0%} of {e.controls} matched series of the run change less"
    if e.controls < FEWEST_CONTROLS and controls_required:
        return "unresolved", f"{e.controls} of {FEWEST_CONTROLS} matched series needed to compare with"
    if e.spacing > WIDEST_SPACING + 1e-9:
        return "unresolved", f"checkpoints are {e.spacing:.2g} octave(s) apart where it happens"
    sharp = _sharp(e, shape)
    if sharp is None:
        return "unresolved", "whether one octave holds half of the change cannot be told"
    if not sharp:
        return "minor_transition", ""
    # a plateau is an octave or more: a curve that begins in its change looks as if it began there
    if not shape.t10.low >= 2 * e.first:
        return (
            "unresolved",
            "the change has begun within an octave of the first checkpoint: no plateau before it",
        )
    if not shape.t90.high <= e.last / 2:
        return "unresolved", "the change is not over: no plateau after it"
    # a change that lies within two octaves for certain needs no points inside to be called that narrow
    if shape.n_inside < FEWEST_INSIDE and not shape.t90.high <= shape.t10.low * 2**MAJOR_WIDTH:
        return "unresolved", f"{shape.n_inside} of {FEWEST_INSIDE} checkpoints needed inside the change"
    return "major_transition", ""


def _sharp(e: Evidence, shape: Shape) -> bool | None:
    """Whether one octave holds half of the change: by what the points bound, else by the sigmoid; None where open."""
    if shape.share[0] >= MAJOR_SHARE:
        return True
    if shape.share[1] < MAJOR_SHARE:
        return False
    if e.w_high <= MAJOR_W:
        return True
    return False if e.w_low > MAJOR_W else None
