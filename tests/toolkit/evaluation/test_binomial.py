"""Chances and bounds of a rate, against scipy's binomial and beta distributions."""

from __future__ import annotations

import pytest
from scipy import stats

from toolkit.evaluation.binomial import bounds, chance_of_so_few, upper_bound

COUNTED = [(0, 1), (0, 59), (1, 93), (5, 217), (50, 462), (216, 217), (217, 217), (1000, 4000)]


@pytest.mark.parametrize(("errors", "trials"), COUNTED)
def test_against_scipy(errors: int, trials: int) -> None:
    for rate in (0.0, 0.01, 0.05, 0.5, 0.99, 1.0):
        assert chance_of_so_few(errors, trials, rate) == pytest.approx(stats.binom.cdf(errors, trials, rate), abs=1e-9)
    low, high = (1, 1) if errors == trials else stats.beta.ppf([0.9, 0.975], errors + 1, trials - errors)
    assert upper_bound(errors, trials, 0.9) == pytest.approx(low, abs=1e-9)
    exact = stats.binomtest(errors, trials).proportion_ci(0.95, "exact")
    assert bounds(errors, trials) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert bounds(errors, trials)[1] == pytest.approx(high, abs=1e-9)


def test_of_nothing_nothing_is_known() -> None:
    assert bounds(0, 0) == (0.0, 1.0)
