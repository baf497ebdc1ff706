"""Measure how well a value repeats in people who were recorded twice: ICC, standard error, minimal detectable change.

Shapes: P people, 2 sessions, D values of a person.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ssast.metrics.estimates import RATIO, Estimate
from ssast.metrics.intervals import LEVEL
from ssast.metrics.measures import Floats

SESSIONS = 2
_NORMAL = 1.959963984540054
LEAST_PEOPLE = 3


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of a two-way analysis of variance: between people, between sessions, and what is left (D,)."""

    people: int
    between: Floats
    sessions: Floats
    error: Floats


def mean_squares(values: Floats) -> MeanSquares:
    """Compute the mean squares of values (P, 2) or (P, 2, D); a constant has exactly zero."""
    people = len(values)
    values = values - values.mean(axis=(0, 1))
    of_people, of_sessions = values.mean(axis=1), values.mean(axis=0)
    between = SESSIONS * (of_people**2).sum(axis=0) / (people - 1)
    sessions = people * (of_sessions**2).sum(axis=0)
    away = values - of_people[:, None] - of_sessions[None]
    return MeanSquares(people, between, sessions, (away**2).sum(axis=(0, 1)) / (people - 1))


def icc_agreement(found: MeanSquares) -> Floats:
    """ICC(2,1): a shift between the sessions counts against it; NaN where nothing varies."""
    below = found.between + found.error + SESSIONS * (found.sessions - found.error) / found.people
    return _ratio(found.between - found.error, below)


def icc_consistency(found: MeanSquares) -> Floats:
    """ICC(3,1): a shift of everybody between the sessions does not count; NaN where nothing varies."""
    return _ratio(found.between - found.error, found.between + found.error)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 1e-300)


def repeatability(values: Floats) -> dict[str, dict[str, Any]]:
    """Each measure of the values (P, 2) of one score, as {"value", "interval"} (95 %), None where it is undefined."""
    found = mean_squares(values)
    away_P = values[:, 1] - values[:, 0]
    spread = float(away_P.std(ddof=1))
    sem = spread / np.sqrt(SESSIONS)
    chi = _chi_interval(sem, found.people - 1)
    shift = float(away_P.mean())
    reach = _t(found.people - 1) * spread / np.sqrt(found.people)
    edge = _t(found.people - 1) * spread * np.sqrt(1 / found.people + _NORMAL**2 / (2 * (found.people - 1)))
    factor = _NORMAL * np.sqrt(SESSIONS)
    low, high = shift - _NORMAL * spread, shift + _NORMAL * spread
    return {
        "icc_2_1": _told(float(icc_agreement(found)), _agreement_interval(found)),
        "icc_3_1": _told(float(icc_consistency(found)), _consistency_interval(found)),
        "sem": _told(sem, chi),
        "mdc95": _told(factor * sem, None if chi is None else [factor * end for end in chi]),
        "within_cv": _variation(values),
        "bias": _told(shift, [shift - reach, shift + reach]),
        "limit_low": _told(low, [low - edge, low + edge]),
        "limit_high": _told(high, [high - edge, high + edge]),
    }


def _told(value: float, interval: list[float] | None) -> dict[str, Any]:
    is_known = bool(np.isfinite(value))
    pair = [float(end) for end in interval] if is_known and interval else None
    return {"value": float(value) if is_known else None, "interval": pair}


def _t(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _f(share: float, first: float, second: float) -> float:
    from scipy.special import fdtri

    return float(fdtri(first, second, share))


def _chi_interval(sem: float, freedom: int) -> list[float] | None:
    """The exact interval of a standard deviation of normal values."""
    from scipy.special import chdtri

    if sem <= 0:
        return None
    return [float(sem * np.sqrt(freedom / chdtri(freedom, tail))) for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)]


def _consistency_interval(found: MeanSquares) -> list[float] | None:
    """McGraw and Wong (1996), case 3."""
    if not found.error > 0:
        return None
    freedom, ratio = found.people - 1, float(found.between / found.error)
    high = _f((1 + LEVEL) / 2, freedom, freedom)
    low_ratio, high_ratio = ratio / high, ratio * high
    return [(one - 1) / (one + SESSIONS - 1) for one in (low_ratio, high_ratio)]


def _agreement_interval(found: MeanSquares) -> list[float] | None:
    """McGraw and Wong (1996), case 2, with Satterthwaite's degrees of freedom."""
    if not found.error > 0:
        return None
    n, k, icc = found.people, SESSIONS, float(icc_agreement(found))
    ratio = float(found.sessions / found.error)
    rest = n * (1 + (k - 1) * icc) - k * icc
    below = (n - 1) * (k * icc * ratio) ** 2 + rest**2
    freedom = (k - 1) * (n - 1) * (k * icc * ratio + rest) ** 2 / below if below > 1e-20 else 0.0
    if not freedom > 0:  # people have one mean and sessions too: all that varies is error
        return None
    between, error = float(found.between), float(found.error)
    others = k * float(found.sessions) + (k * n - k - n) * error
    upper, lower = _f((1 + LEVEL) / 2, n - 1, freedom), _f((1 + LEVEL) / 2, freedom, n - 1)
    low = n * (between - upper * error) / (upper * others + n * between)
    return [low, n * (lower * between - error) / (others + n * lower * between)]


def _variation(values: Floats) -> dict[str, Any]:
    """Standard deviation within a person over the mean; None where values are not all above 0."""
    if not (values > 0).all():
        return _told(float("nan"), None)
    people = len(values)
    square_P, own_P = (values[:, 1] - values[:, 0]) ** 2 / 2, values.mean(axis=1)
    mean_square, mean = float(square_P.mean()), float(own_P.mean())
    variation = float(np.sqrt(mean_square) / mean)
    if mean_square <= 0:
        return _told(0.0, None)
    pulls_P = variation * ((square_P / mean_square - 1) / 2 - (own_P / mean - 1)) / people
    return _told(variation, Estimate(variation, pulls_P, people, RATIO).interval())


def embedding_repeatability(values: Floats, resamples: int, seed: int) -> dict[str, Any]:
    """ICC(2,1) and ICC(3,1) of the values (P, 2, D) of embeddings: median over D with its interval, and deciles.

    The interval of the median comes from people drawn with replacement.
    """
    rng = np.random.default_rng(seed)
    people = len(values)
    measures = {"icc_2_1": icc_agreement, "icc_3_1": icc_consistency}
    drawn: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(resamples):
        found = mean_squares(values[rng.integers(0, people, people)])
        for name, measure in measures.items():
            drawn[name].append(_median(measure(found)))
    whole = mean_squares(values)
    told: dict[str, Any] = {"dimensions": int(values.shape[2])}
    for name, measure in measures.items():
        known = (own := measure(whole))[~np.isnan(own)]
        told[name] = _told(_median(own), _spread(_median(own), np.array(drawn[name]), people))
        told[name] |= {"deciles": [float(one) for one in np.quantile(known, [0.1, 0.9])] if len(known) else None}
    return told


def _median(values_D: Floats) -> float:
    known = values_D[~np.isnan(values_D)]
    return float(np.median(known)) if len(known) else float("nan")


def _spread(point: float, draws: Floats, people: int) -> list[float] | None:
    known = draws[~np.isnan(draws)]
    if len(known) < 2 or not np.isfinite(point):
        return None
    reach = _t(people - 1) * float(known.std(ddof=1)) * np.sqrt(people / (people - 1))
    return [max(point - reach, -1.0), min(point + reach, 1.0)]
