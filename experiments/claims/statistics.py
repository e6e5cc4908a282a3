"""Interquartile means over seeds, with intervals by stratified bootstrap (Agarwal et al. 2021).

The statistic of rliable, by scipy: rliable 1.2.0 depends on a package that cannot be imported beside pandas 3, and
draws from numpy's global generator whatever it is given.

With five seeds the interquartile mean is that of the middle three, with three it is the mean. Percentile intervals of
so few seeds are too narrow: they hold nothing beyond the best and the worst seed. Two that do not overlap are a strong
hint, and no proof.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

DRAWS = 10_000


class Estimate(NamedTuple):
    """An estimate, and the ends of its 95% interval; these are NaN of a single seed, or where a score is no number."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.0f}" + (f" [{self.low:.0f}, {self.high:.0f}]" if np.isfinite(self.low) else "")


def interquartile_mean(*tasks: np.ndarray) -> Estimate:
    """Returns the interquartile mean of all scores; seeds are drawn for each task by itself.

    Args:
      *tasks: scores on one task each, `[seeds]`.
    """
    return _estimate(_mean, tasks)


def trimmed(scores: np.ndarray) -> float:
    """Returns the interquartile mean of scores, `[seeds]`, alone."""
    return float(_mean(scores, axis=0))


def difference(ours: np.ndarray, theirs: np.ndarray) -> Estimate:
    """Returns the difference of two interquartile means, `[seeds]` each; seeds are drawn for each by itself."""
    return _estimate(lambda a, b, axis: _mean(a, axis=axis) - _mean(b, axis=axis), (ours, theirs))


def share(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Estimate:
    """Returns the interquartile mean of our scores as shares of their interquartile mean on the same task [%].

    Args:
      ours, theirs: scores on one task each, `[seeds]`. Seeds of both are drawn for each task by itself.
    """

    def statistic(*samples: np.ndarray, axis: int) -> np.ndarray:
        pairs = zip(samples[: len(ours)], samples[len(ours) :], strict=True)
        return _mean(*(100 * a / np.expand_dims(_mean(b, axis=axis), axis) for a, b in pairs), axis=axis)

    return _estimate(statistic, (*ours, *theirs))


def _mean(*samples: np.ndarray, axis: int) -> np.ndarray:
    return stats.trim_mean(np.concatenate(samples, axis), 0.25, axis)


def _estimate(statistic, samples) -> Estimate:
    value = float(statistic(*samples, axis=0))
    if min(map(len, samples)) < 2 or not np.isfinite(np.concatenate(samples)).all():
        return Estimate(value, np.nan, np.nan)
    interval = stats.bootstrap(
        samples, statistic, n_resamples=DRAWS, method="percentile", vectorized=True, rng=np.random.default_rng(0)
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))
