"""Explain in sentences what a model may not hear rightly of recordings."""

from collections.abc import Mapping, Sequence

from ssast.audio.sound_findings import CLIPPED_SHARE, FINDING_FACTS, LOUD, ODDITIES, QUIET_DB, STILL_SECONDS, WRONGS

_NAMED = 3
"""Recordings that a sentence names."""
# Of one recording, and of several.
SAID = {
    "silent": ("is silent to the model", "are silent to the model"),
    "channels cancel": (
        "has channels of opposite sign, which cancel each other in the mean that the model hears",
        "have channels of opposite sign, which cancel each other in the mean that the model hears",
    ),
    "beyond full scale": (
        f"goes beyond {LOUD:g} times full scale, which shifts its spectrogram",
        f"go beyond {LOUD:g} times full scale, which shifts their spectrograms",
    ),
    "cut": (
        "is longer than what the model hears of it (--target_length, --clip_length)",
        "are longer than what the model hears of them (--target_length, --clip_length)",
    ),
    "silent channel": (
        "has a silent channel, which makes the mean that the model hears quieter",
        "have a silent channel, which makes the mean that the model hears quieter",
    ),
    "different channels": (
        "holds different sounds in its channels, of which the model hears the mean",
        "hold different sounds in their channels, of which the model hears the mean",
    ),
    "very quiet": (f"stays below {QUIET_DB:g} dB of full scale", f"stay below {QUIET_DB:g} dB of full scale"),
    "clipped": (
        f"is clipped in more than {CLIPPED_SHARE:.1%} of its samples",
        f"are clipped in more than {CLIPPED_SHARE:.1%} of their samples",
    ),
    "digital silence": (
        f"holds digital silence of {STILL_SECONDS * 1000:g} ms or more, whose amount can tell a label",
        f"hold digital silence of {STILL_SECONDS * 1000:g} ms or more, whose amount can tell a label",
    ),
}
KINDS = (*WRONGS, *ODDITIES, *FINDING_FACTS)

FindingDetails = Mapping[str, Mapping[str, str]]
"""The details of each kind, by uid."""


def finding_sentences(findings: FindingDetails, total: int, what: str = "recordings") -> list[str]:
    """A sentence for each kind that a run should hear of, the worst first, with the first few recordings' names."""
    return [
        f"{_head(kind, len(findings[kind]), total, what)}: {_named(findings[kind])}."
        for kind in SAID
        if findings.get(kind)
    ]


def finding_counts(findings: FindingDetails) -> dict[str, int]:
    """How many recordings there are of each kind, for a record; kinds without any are left out."""
    return {kind: len(findings[kind]) for kind in KINDS if findings.get(kind)}


def finding_note(details: Mapping[str, str]) -> str:
    """What is doubtful about one recording, by kind, as one line; empty where nothing is."""
    return "; ".join(f"{kind}: {details[kind]}" for kind in SAID if kind in details)


def named(names: Sequence[str], most: int = _NAMED) -> str:
    """`a, b, c and 24 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _head(kind: str, count: int, total: int, what: str) -> str:
    one = what.removesuffix("s")
    if total == 1:
        return f"The {one} {SAID[kind][0]}"
    return f"{count} of {total} {what} {SAID[kind][0 if count == 1 else 1]}"


def _named(details: Mapping[str, str]) -> str:
    """The first few uids, the first one with its numbers."""
    first, *others = details
    return named([f"{first} ({details[first]})", *others])
