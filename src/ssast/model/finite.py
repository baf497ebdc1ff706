"""Refuse NaN and infinite numbers in weights and answers, and weights that are far too large or of another kind.

Weights are looked at where a checkpoint is made and where a model is saved, answers where they leave a model.
Shapes: B clips.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from ssast.errors import AudioError, UserError

LARGEST_WEIGHT = 1e8
"""Trained weights stay below a hundred; an output's bias may be as large as the numbers that it predicts."""


def fault(named: Iterable[tuple[str, Tensor]], largest: float = math.inf) -> str:
    """A description of the first tensor that holds NaN, an infinite number or one beyond `largest`; empty if none."""
    for name, tensor in named:
        if tensor.numel() and tensor.is_floating_point():
            # One pass and no second tensor; NaN comes through. A model has hundreds of megabytes.
            low, high = (float(edge) for edge in tensor.detach().aminmax())
            if not (math.isfinite(low) and math.isfinite(high) and max(-low, high) <= largest):
                return f"{name} holds {_described(tensor, low, high)}"
    return ""


def _described(tensor: Tensor, low: float, high: float) -> str:
    wrong = tensor.numel() - int(tensor.isfinite().sum())
    if wrong:
        kind = "NaN" if tensor.isnan().any() else "infinity"
        return f"{kind} ({wrong} of its {tensor.numel()} numbers)"
    return f"the number {low if -low > high else high:.3g}, and no trained weight is larger than {LARGEST_WEIGHT:.0e}"


def check_weights(state_dict: Mapping[str, Tensor], source: str) -> None:
    """UserError that names the first tensor whose numbers cannot be weights."""
    found = fault(state_dict.items(), LARGEST_WEIGHT)
    if found:
        raise UserError(
            f"the weights of {source} cannot be used: {found}; take another copy of the file, "
            "or train the model anew with a lower learning rate.",
            path=source,
        )


def in_float32(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors as float32; UserError that names the first one whose numbers cannot be weights by their kind.

    Whole numbers are what a quantised copy holds: without the scales that belong to them they are no weights.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"the weights of {source} cannot be used: {name} holds numbers of the kind {kind}, and floating-point "
                "ones were expected; give the model as it was before it was quantised.",
                path=source,
            )
    return {name: tensor.float() for name, tensor in tensors.items()}


def check_answers(uids: Sequence[str], answers: Tensor, what: str = "the model's answer") -> Tensor:
    """The answers (B, ...) of these clips as they are; AudioError that names the clips where they are not finite."""
    right_B = answers.isfinite().flatten(1).all(dim=1) if answers.dim() > 1 else answers.isfinite()
    if bool(right_B.all()):
        return answers
    # Several rows may belong to one recording, as windows do.
    names = list(dict.fromkeys(uid for uid, right in zip(uids, right_B.tolist(), strict=True) if not right))
    kind = "NaN" if answers.isnan().any() else "infinite"
    more = f" (and for {len(names) - 1} more)" if len(names) > 1 else ""
    raise AudioError(
        f"{what} is {kind} for the clip {names[0]}{more}, since numbers inside the model grew too large; leave the "
        "clip out, or look at the model's weights and at --dataset_mean and --dataset_std.",
        uid=names[0],
    )


def farthest(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """(largest distance, largest value of the second) of outputs in pairs; UserError where the second are not finite.

    They are what two programs of one model answer to random spectrograms.
    """
    if not all(bool(own.isfinite().all()) for _, own in pairs):
        raise UserError(
            "the model gives NaN or infinity for random spectrograms, so nothing was written: "
            "its weights are too large; train it anew with a lower learning rate."
        )
    largest = max(float((theirs - own).abs().max()) for theirs, own in pairs)
    return largest, max(float(own.abs().max()) for _, own in pairs)
