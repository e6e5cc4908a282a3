"""Numbers over environment steps: members side by side, their mean, and how well it is known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

from xinet_jax.report.record import Curve

CONFIDENCE = 0.95
FEWEST = 3  # members that an interval is given of: that of two is 25 standard errors wide
MOST_POINTS = 400  # of a curve in a report


class Aligned(NamedTuple):
    """Curves of several members at the same environment steps; NaN where a member has no value.

    Attributes:
      steps: environment steps, `[points]`.
      values: `[members, points]`.
    """

    steps: Int[np.ndarray, " points"]
    values: Float[np.ndarray, "members points"]


class Interval(NamedTuple):
    """A mean over members and the ends of its 95% confidence interval, which are NaN of fewer than three members."""

    mean: Float[np.ndarray, "*points"]
    low: Float[np.ndarray, "*points"]
    high: Float[np.ndarray, "*points"]


def aligned(curves: Sequence[Curve]) -> Aligned:
    """Returns curves at the union of their steps.

    Examples:
      >>> first, second = Curve(np.array([10, 20]), np.array([1.0, 2.0])), Curve(np.array([20]), np.array([4.0]))
      >>> aligned([first, second])
      Aligned(steps=array([10, 20]), values=array([[ 1.,  2.], [nan,  4.]]))
    """
    steps = np.unique(np.concatenate([curve.steps for curve in curves])) if curves else np.zeros(0, np.int64)
    values = np.full((len(curves), len(steps)), np.nan)
    for row, curve in enumerate(curves):
        values[row, np.searchsorted(steps, curve.steps)] = curve.values
    return Aligned(steps, values)


def mean_interval(values: Float[np.ndarray, "members *points"]) -> Interval:
    """Returns the mean over members and its confidence interval by Student's t distribution.

    Values that are NaN are left out.

    Args:
      values: one row per member.

    Examples:
      >>> mean, low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
      >>> round(float(low), 2), float(mean), round(float(high), 2)
      (-0.48, 2.0, 4.48)
    """
    there = np.isfinite(values)
    count = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, values, 0.0).sum(axis=0) / count
        variance = np.where(there, values - mean, 0.0) ** 2
        error = np.sqrt(variance.sum(axis=0) / (count - 1) / count)
        error = np.where(count >= FEWEST, error, np.nan)
        half = error * stdtrit(np.maximum(count, FEWEST) - 1, 0.5 + CONFIDENCE / 2)
    mean = np.where(count > 0, mean, np.nan)
    return Interval(np.asarray(mean), np.asarray(mean - half), np.asarray(mean + half))


def thinned(curve: Aligned, most: int = MOST_POINTS) -> Aligned:
    """Returns at most so many points of curves, evenly chosen; the first and the last are among them.

    Examples:
      >>> thinned(Aligned(np.arange(9), np.zeros((1, 9))), most=3).steps
      array([0, 4, 8])
    """
    count = len(curve.steps)
    chosen = np.linspace(0, count - 1, most).round().astype(int) if count > most else np.arange(count)
    return Aligned(curve.steps[chosen], curve.values[:, chosen])
