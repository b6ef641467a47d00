"""What so many errors among so many independent trials say of the rate of errors.

Source: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
binomial", Biometrika 26 (1934).
"""

from __future__ import annotations

import math

_HALVINGS = 60  # of the interval from 0 to 1: down to a float's last digit


def chance_of_so_few(errors: int, trials: int, rate: float) -> float:
    """The chance of at most so many errors in so many independent trials."""
    if errors >= trials or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    whole = math.lgamma(trials + 1)
    log_rate, log_other = math.log(rate), math.log1p(-rate)
    return math.fsum(
        math.exp(
            whole
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * log_rate
            + (trials - count) * log_other
        )
        for count in range(errors + 1)
    )


def upper_bound(errors: int, trials: int, confidence: float) -> float:
    """The rate that the true one is at most, with that confidence; 1 of no trials."""
    if errors >= trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if chance_of_so_few(errors, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def bounds(errors: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Both limits of the rate, each missed with half of what is left of the confidence."""
    one_sided = (1 + confidence) / 2
    return 1 - upper_bound(trials - errors, trials, one_sided), upper_bound(errors, trials, one_sided)
