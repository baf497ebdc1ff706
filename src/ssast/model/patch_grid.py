"""Lay patches on a grid of frequency and time, and say how long a clip is on it."""

from ssast.errors import UserError

LENGTH_STEP = 64
"""A clip goes through the model in so many frames, or a multiple: at 1024 there are 16 lengths, so that clips of one
length are soon found, and a clip of 3 s (298 frames) carries 22 frames of padding; 128 would make that 86."""
MOST_STEP = 16
"""Patches may lie so many of their own sizes apart: beyond, a short file would ask for a spectrogram of gigabytes."""


def patch_grid(
    fshape: int, tshape: int, fstride: int, tstride: int, num_mel_bins: int, target_length: int
) -> tuple[int, int]:
    """Patches along frequency and time for these sizes in mel bins and frames; UserError where not one patch fits."""
    sizes = {"fshape": fshape, "tshape": tshape, "fstride": fstride, "tstride": tstride}
    for name, value in sizes.items():
        if value < 1:
            raise UserError(f"{name} is {value}, but a patch needs at least 1; give a positive whole number.")
    if num_mel_bins < fshape:
        raise UserError(
            f"num_mel_bins is {num_mel_bins}, less than the {fshape} mel bins of one patch (fshape); "
            "give more mel bins or a smaller patch."
        )
    if target_length < tshape:
        raise UserError(
            f"target_length is {target_length} frames, less than the {tshape} frames of one patch (tshape); "
            "give a longer target_length or a smaller patch."
        )
    for name, step, shape in (("fstride", fstride, fshape), ("tstride", tstride, tshape)):
        if step > MOST_STEP * shape:
            raise UserError(
                f"{name} is {step}, more than {MOST_STEP} patches of {shape} ({name.replace('stride', 'shape')}), so "
                "most of the spectrogram would go unheard; give a smaller one."
            )
    return (num_mel_bins - fshape) // fstride + 1, (target_length - tshape) // tstride + 1


def rounded_length(frames: int, columns: int, tshape: int, tstride: int, target_length: int) -> int:
    """The frames in which a clip with so many own frames goes through a model that keeps padding out.

    All of at most `columns` columns of patches that hold an own frame, and whole steps of LENGTH_STEP frames as far as
    patches allow. Nothing but the clip's own frames decides, so that a clip has one length in any batch.
    """
    step = max(1, LENGTH_STEP // tstride)
    own = -(-frames // tstride)  # columns that start within the clip
    used = -(-max(own, 2) // step) * step  # of one patch none could be hidden and one be seen
    return target_length if used >= columns else (used - 1) * tstride + tshape
