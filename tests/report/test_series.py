import numpy as np
import pytest
from scipy import stats

from xinet_jax.report.record import Curve
from xinet_jax.report.series import aligned, mean_interval, thinned


def test_members_with_other_steps_are_aligned():
    curves = [Curve(np.array([10, 30]), np.array([1.0, 3.0])), Curve(np.array([20, 30]), np.array([2.0, 4.0]))]
    steps, values = aligned(curves)
    assert steps.tolist() == [10, 20, 30]
    np.testing.assert_array_equal(values, [[1.0, np.nan, 3.0], [np.nan, 2.0, 4.0]])
    assert aligned([]).values.shape == (0, 0)


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(size=(5, 3))
    mean, low, high = mean_interval(values)
    expected = stats.t.interval(0.95, 4, loc=values.mean(axis=0), scale=stats.sem(values))
    np.testing.assert_allclose([low, high], expected)
    np.testing.assert_allclose(mean, values.mean(axis=0))


def test_values_that_are_no_numbers_are_left_out():
    values = np.full((4, 3), np.nan)
    values[:, 0], values[0, 1] = [1.0, 3.0, 5.0, np.inf], 1.0
    mean, low, high = mean_interval(values)
    np.testing.assert_array_equal(mean, [3.0, 1.0, np.nan])
    assert low[0] == pytest.approx(3 - stats.t.ppf(0.975, 2) * 2 / np.sqrt(3))
    assert np.isnan([low[1], high[1], low[2]]).all()


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_have_no_interval(seeds):
    mean, low, high = mean_interval(np.array([[1.0, 2.0]] * seeds))
    assert mean.tolist() == [1.0, 2.0]
    assert np.isnan([low, high]).all()


def test_thinning_keeps_the_ends():
    curve = aligned([Curve(np.arange(1001), np.arange(1001.0))])
    thin = thinned(curve, most=100)
    assert (thin.steps[0], thin.steps[-1], len(thin.steps)) == (0, 1000, 100)
    np.testing.assert_array_equal(thin.values[0], thin.steps)
    assert thinned(curve, most=2000) is not None
    assert len(thinned(curve, most=2000).steps) == 1001
