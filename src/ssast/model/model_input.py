"""Name what a model's loss reads of a batch.

Shapes: B batch, T frames, F mel bins, N labels, D width, S states.
"""

from typing import TypedDict

from torch import Tensor


class ModelInput(TypedDict, total=False):
    """Prepared clips; the fbank, or in its place what `pooled_states` gave of it."""

    fbank: Tensor
    """(B, T, F), normalised."""
    frames: Tensor
    """(B,) each clip's own frames of the fbank."""
    targets: Tensor
    """(B, N), NaN where a label is not known."""
    pooled: Tensor
    """(B, S, D) pooled states of the base."""
