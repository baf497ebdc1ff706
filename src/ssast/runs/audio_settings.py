"""Take the audio settings from the options, or from a fine-tuned model, whose own settings go first."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ssast.audio.settings import OPTION_OF, AudioSettings
from ssast.options.options import Options
from ssast.runs.context import say


def audio_settings(options: Options) -> AudioSettings:
    """How recordings become the model's input: kept in the model folder, so that every later mode does the same."""
    names = AudioSettings.__dataclass_fields__
    return AudioSettings(**{name: getattr(options, OPTION_OF.get(name, name)) for name in names})


def model_settings(
    asked: AudioSettings, frontend: Mapping[str, Any] | None, given: frozenset[str] = frozenset()
) -> AudioSettings:
    """The settings kept with a fine-tuned model, or else those asked for; says which `given` options give way."""
    kept = AudioSettings.kept({**asdict(asked), **(frontend or {})})
    for name, value in asdict(kept).items():
        option = OPTION_OF.get(name, name)
        if option in given and getattr(asked, name) != value:
            say(f"--{option} {getattr(asked, name)} is left aside: the model was fine-tuned with {value}")
    return kept
