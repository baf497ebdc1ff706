"""Make traits of what a table knows of each clip beside its sound, and pair clips that are alike in one.

A trait may give a label away. Shapes: N clips, n whose label is known, P with it, Q without it; G values of a trait.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssast.data.tables.people import is_empty, is_grouped, number_in
from ssast.dataset_audit.listening import ListenedRecording
from ssast.metrics.measures import Floats
from ssast.safe_reading import is_number

if TYPE_CHECKING:
    import pandas as pd

TRAIT_TITLES = {
    "duration": "length",
    "loudness": "loudness",
    "noise_floor": "noise floor",
    "bandwidth": "bandwidth",
    "sample_rate": "sample rate",
    "channels": "number of channels",
    "digital_silence": "digital silence",
    "container": "file format",
}
"""What is measured of every recording, in the words of the page."""
UNITS = {
    "duration": "s",
    "loudness": "dB",
    "noise_floor": "dB",
    "bandwidth": "Hz",
    "sample_rate": "Hz",
    "digital_silence": "s",
}
MORE = {
    "duration": "longer recordings",
    "loudness": "louder recordings",
    "noise_floor": "recordings with more noise in the pauses",
    "bandwidth": "recordings with higher frequencies",
    "digital_silence": "recordings with more digital silence",
}
"""Who has more of it."""
RESOLUTION = {"duration": 0.01, "loudness": 0.1, "noise_floor": 0.1, "bandwidth": 31.25, "digital_silence": 0.01}
"""What is measured of recordings is no finer than this: a frame of the spectrogram, a step of its Fourier transform."""
COUNTED = ("sample_rate", "channels", "container")
FEW_VALUES = 10
"""A column of numbers with at most so many different ones is taken as kinds, not as an amount."""
PARTS = 5
"""An amount is also cut into so many equal parts, since what lies in the middle may have the label too."""
EMPTY_CELL = "(empty)"

LEAST_LEFT = 0.5
"""A trait is practical where differences above its resolution make at least so much of what it tells."""
ROUNDING = 1.000001


@dataclass(frozen=True)
class Trait:
    """One thing known of each clip: its kind, or of an amount its fifth, as `codes` (N,), and `amounts` (N,) or None.

    `names` (G) says what each code stands for; an amount is NaN where it is not known. `name` is that of the column,
    `source` where it came from.
    """

    name: str
    source: str
    codes: NDArray[np.intp]
    names: tuple[str, ...]
    amounts: Floats | None = None

    @property
    def title(self) -> str:
        """What a page calls it."""
        return TRAIT_TITLES[self.name] if self.source == "recording" else self.name

    def at(self, rows: NDArray[Any]) -> "Trait":
        """Return the trait of some clips."""
        amount = None if self.amounts is None else self.amounts[rows]
        return Trait(self.name, self.source, self.codes[rows], self.names, amount)


def traits(table: "pd.DataFrame", sources: Mapping[str, str]) -> tuple[list[Trait], dict[str, str]]:
    """The traits of a table of clips, and why a column is none: it never varies, or has nearly a value a clip.

    Of a column of numbers some cells may be words, such as `unknown`: they count as empty, which stands there too.
    """
    found, left_out = [], {}
    for name in map(str, table.columns):
        source, (values, words) = sources[name], without_words(table[name])
        if words:
            left_out[name] = f"{words} of {len(values)} cells hold no number and count as empty"
        kinds = values.dropna().nunique() + int(values.isna().any())
        is_measured = source == "recording" and name in RESOLUTION
        is_amount = is_measured or (_is_amount(values) and not (source == "recording" and name in COUNTED))
        if kinds < 2:
            left_out[name] = f"the same for every clip ({_shown(values.iloc[0])})" if len(values) else "no clips"
        elif not is_amount and kinds > max(FEW_VALUES, len(values) / 2):
            left_out[name] = f"{kinds} different values for {len(values)} clips: names or free text"
        else:
            found.append(_amount(name, source, values) if is_amount else _kinds(name, source, values))
    return found, left_out


def without_words(values: "pd.Series") -> tuple["pd.Series", int]:
    """A column of text that is mostly an amount as numbers, and how many cells hold another word.

    Any other column as it is, and 0.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values):
        return values, 0
    filled = [str(cell).strip() for cell in values.tolist() if not is_empty(cell)]
    known = [cell for cell in filled if number_in(cell) is not None]
    are_codes = any(re.match(r"[+-]?0\d", cell) for cell in known)
    if 2 * len(known) <= len(filled) or are_codes or is_grouped(known):
        return values, 0
    numbers = pd.Series([number_in(cell) for cell in values.tolist()], index=values.index, dtype=np.float64)
    return (numbers, len(filled) - len(known)) if _is_amount(numbers) else (values, 0)


def _is_amount(values: "pd.Series") -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(values) and values.nunique() > FEW_VALUES)


def _kinds(name: str, source: str, values: "pd.Series") -> Trait:
    shown = np.array([_shown(value) for value in values.tolist()], dtype=object)
    names, code_N = np.unique(shown.astype(str), return_inverse=True)
    return Trait(name, source, code_N.astype(np.intp), tuple(map(str, names)))


def _shown(value: Any) -> str:
    if value is None or value != value:
        return EMPTY_CELL
    return f"{value:g}" if is_number(value) else str(value)


def _amount(name: str, source: str, values: "pd.Series") -> Trait:
    amount_N = values.to_numpy(dtype=np.float64, na_value=np.nan)
    amount_N = np.where(np.isfinite(amount_N), amount_N, np.nan)
    known_n = amount_N[~np.isnan(amount_N)]
    edges = np.unique(np.quantile(known_n, np.arange(1, PARTS) / PARTS))
    code_N = np.searchsorted(edges, amount_N, side="right")
    ends = [float(known_n.min()), *edges.tolist(), float(known_n.max())]
    names = [f"{low:.4g} to {high:.4g}" if high > low else f"{low:.4g}" for low, high in pairwise(ends)]
    code_N = np.where(np.isnan(amount_N), len(names), code_N)
    return Trait(name, source, code_N.astype(np.intp), (*names, EMPTY_CELL), amount_N)


_AMOUNTS = ("duration", "loudness", "noise_floor", "bandwidth", "sample_rate", "channels", "digital_silence")


def _measured(one: ListenedRecording) -> tuple[float, ...]:
    """What was measured of a recording, in the order of _AMOUNTS."""
    sound = one.sound
    levels = (0.0, 0.0, 0.0) if sound is None else (sound.loudness_db, sound.noise_db, sound.bandwidth_hz)
    return one.seconds, *levels, one.sample_rate, one.channels, round(one.still.seconds, 4)


def as_columns(
    heard: Mapping[str, ListenedRecording], uids: "pd.Index"
) -> tuple[dict[str, Sequence[object] | NDArray[Any]], "pd.DataFrame"]:
    """What was measured of these recordings, by column, and the fields of their metadata.json.

    As few objects as can be: there may be millions of recordings, most of which have the same fields.
    """
    import pandas as pd

    kinds = {name: np.int64 if name in ("sample_rate", "channels") else np.float64 for name in _AMOUNTS}
    columns = {name: np.empty(len(uids), kind) for name, kind in kinds.items()}
    containers, fields, field_R = list[str](), dict[int, Mapping[str, Any]](), np.empty(len(uids), np.int64)
    for at, one in enumerate(map(heard.__getitem__, uids)):
        for name, value in zip(_AMOUNTS, _measured(one), strict=True):
            columns[name][at] = value
        containers.append(one.container)
        field_R[at] = id(one.metadata)
        fields[id(one.metadata)] = one.metadata
    places = {number: place for place, number in enumerate(fields)}
    told = pd.DataFrame([dict(own) for own in fields.values()])
    rows = told.iloc[[places[number] for number in field_R.tolist()]]
    return {**columns, "container": containers}, rows.set_axis(uids)


def is_practical(trait: Trait, has_n: NDArray[np.bool_], *, is_amount: bool) -> bool:
    """Whether what a trait tells comes from differences larger than its measure's resolution; True without one."""
    finest = RESOLUTION.get(trait.name, 0.0) if trait.source == "recording" else 0.0
    if trait.amounts is None or not finest:
        return True
    known_n = ~np.isnan(trait.amounts)
    if not is_amount:
        low, high = np.quantile(trait.amounts[known_n], (0.1, 0.9))
        return bool(high - low > finest * ROUNDING)
    with_P, without_Q = trait.amounts[known_n & has_n], trait.amounts[known_n & ~has_n]
    plain, coarse = (abs(_lead(with_P, without_Q, least)) for least in (0.0, finest * ROUNDING))
    return bool(coarse >= LEAST_LEFT * plain)


def _lead(with_P: Floats, without_Q: Floats, least: float) -> float:
    """Of pairs that differ by more than `least`: the share in which the first is larger, less that of the others."""
    if not len(with_P) or not len(without_Q):
        return 0.0
    sorted_Q = np.sort(without_Q)
    larger = np.searchsorted(sorted_Q, with_P - least, side="left").mean()
    smaller = len(sorted_Q) - np.searchsorted(sorted_Q, with_P + least, side="right").mean()
    return float(larger - smaller) / len(sorted_Q)


CALIPER = 0.1
"""A pair differs by at most so many standard deviations of the trait."""
_Indices = NDArray[np.intp]


def matched(trait: Trait, has_n: NDArray[np.bool_], seed: int = 0) -> _Indices:
    """The clips that found a partner, each once; half of them have the label.

    Of an amount the nearest free partner within the caliper, in random order; of kinds any of the same kind.
    """
    rng = np.random.default_rng([seed, 3])
    own, other = (rng.permutation(np.flatnonzero(which)) for which in (has_n, ~has_n))
    if len(own) > len(other):
        own, other = other, own
    pairs = _nearest(trait.amounts, own, other) if trait.amounts is not None else _same(trait.codes, own, other)
    return np.sort(np.array(pairs, dtype=np.intp).ravel())


def _nearest(amount_n: NDArray[np.float64], own: _Indices, other: _Indices) -> list[tuple[int, int]]:
    known_n = amount_n[~np.isnan(amount_n)]
    reach = CALIPER * float(known_n.std()) if len(known_n) else 0.0
    free = sorted((float(amount_n[at]), int(at)) for at in other if not np.isnan(amount_n[at]))
    pairs = []
    for at in own:
        value = float(amount_n[at])
        place = bisect_left(free, (value, -1))
        near = [(abs(free[k][0] - value), k) for k in (place - 1, place) if 0 <= k < len(free)]
        if near and min(near)[0] <= reach:  # never true of NaN
            pairs.append((int(at), free.pop(min(near)[1])[1]))
    return pairs


def _same(code_n: _Indices, own: _Indices, other: _Indices) -> list[tuple[int, int]]:
    free: dict[int, list[int]] = {}
    for at in other:
        free.setdefault(int(code_n[at]), []).append(int(at))
    return [(int(at), free[int(code_n[at])].pop()) for at in own if free.get(int(code_n[at]))]
