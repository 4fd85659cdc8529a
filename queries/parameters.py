"""Parameters that several questions take, each with its one description."""

from typing import Annotated, Literal

from pydantic import Field

from queries.reading.curves import Origin
from queries.stats.intervals import Rule

IntervalLevel = Annotated[float, Field(gt=0, lt=1, description="level of the intervals")]
SplitPart = Annotated[str, Field(description="split, tensor or class; auto = test, else the only one")]
CurveOrigin = Annotated[
    Origin, Field(description="auto prefers what was measured at checkpoints to the training log")
]
CrossingRule = Annotated[
    Rule, Field(description="first: the first point there; stays: there and at every later point")
]
Towards = Annotated[
    Literal["auto", "up", "down"], Field(description="auto: up where higher is better, down where lower is")
]
