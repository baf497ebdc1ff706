"""Read the thresholds that travel with a model."""

from ssast.errors import UserError
from ssast.safe_reading import brief, is_number, json_of


def thresholds_of(text: str, source: str) -> dict[str, float]:
    """The threshold of each label, from 0 to 1; UserError for anything else."""
    try:
        found = json_of(text)["thresholds"]
        wrong = {label: value for label, value in found.items() if not (is_number(value) and 0 <= value <= 1)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = brief(str(error), 200) if isinstance(error, ValueError) else "it names no thresholds by label"
        raise UserError(
            f"{source} cannot be read ({reason}); remove it to use 0.5, or fine-tune again.", path=source
        ) from error
    for label, value in wrong.items():
        raise UserError(
            f"{source} gives {brief(label)!r} the threshold {brief(value)}, expected a number from 0 to 1; "
            "remove it to use 0.5, or fine-tune again.",
            path=source,
        )
    return {label: float(value) for label, value in found.items()}
