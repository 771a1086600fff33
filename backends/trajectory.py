"""A trajectory with its sampled tokens."""

from __future__ import annotations

import art
from pydantic import Field, SkipValidation

from backends.packing import Row


class ExactTrajectory(art.Trajectory):
    """ART's trajectory with its training rows, computed once when the step was accounted for."""

    rows: SkipValidation[list[Row]] = Field(default_factory=list, exclude=True)
