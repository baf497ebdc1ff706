"""Find what in the ratings of a label is perhaps not meant, to be said before a model learns from them.

Shapes: R rows, J ratings of a row at most.
"""

from collections.abc import Iterator

import numpy as np

from ssast.model.label_kinds import NUMBER, SCALE, Doubles, LabelKind
from ssast.safe_reading import some

_CODES = {-99.0, -9.0, -1.0, 9.0, 88.0, 99.0}
"""What tables write for a rating that is not there."""
_HEAVY = 20.0
"""A squared error that begins above this leaves little of the other labels' losses, which begin at about 1."""


def doubts(label: LabelKind, own_RJ: Doubles, is_mixed: bool) -> Iterator[str]:
    """What in the ratings of a label is perhaps not meant; `is_mixed` where other labels are no numbers."""
    if codes := likely_codes(label, own_RJ):
        shown = " and ".join(f"{code:g}" for code in codes)
        yield f"{shown} counts as a level of {label.name!r}; where it means missing, leave the cells empty"
    if unseen := unseen_ends(label, own_RJ):
        shown = some([f"{level:g}" for level in unseen])
        yield f"no row of the training csv rates {label.name!r} as {shown}, so that is not learned"
    if label.kind == NUMBER and is_mixed and label.weight * (square := float(np.nanmean(own_RJ**2))) > _HEAVY:
        weight = np.format_float_positional(float(f"{1 / square:.1g}"))  # YAML reads 1e-05 as text
        yield (
            f"numbers as large as those of {label.name!r} have squared errors that outweigh the other labels; give it "
            f"a weight of about {weight} in labels.yaml"
        )


def likely_codes(label: LabelKind, own_RJ: Doubles) -> list[float]:
    """Levels of a scale that look like codes of missing ratings: at its end, apart from all others or alone below 0."""
    found = sorted(set(own_RJ[~np.isnan(own_RJ)].tolist())) if label.kind == SCALE else []
    if len(found) < 3:
        return []
    is_low = found[0] in _CODES and found[1] >= 0
    is_high = found[-1] in _CODES and found[-1] - found[-2] > 2
    return [level for level, is_code in ((found[0], is_low), (found[-1], is_high)) if is_code]


def unseen_ends(label: LabelKind, own_RJ: Doubles) -> list[float]:
    """Levels of a scale below all ratings, or above them; between two that were given a scale knows its place."""
    seen = own_RJ[~np.isnan(own_RJ)]
    if label.kind != SCALE or not len(seen):
        return []
    return [float(level) for level in label.levels if level < seen.min() or level > seen.max()]
