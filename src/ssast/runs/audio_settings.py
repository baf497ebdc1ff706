"""Take the audio settings from the options, or from a fine-tuned model, whose own settings go first."""

from dataclasses import replace

from ssast.audio.settings import OPTION_OF, AudioSettings
from ssast.options.options import Options
from ssast.options.records import MODES
from ssast.runs.context import say
from ssast.runs.models import Model

_WINDOWS = "window_overlap"


def audio_settings(options: Options) -> AudioSettings:
    """How recordings become the model's input: kept in the model folder, so that every later mode does the same."""
    names = [name for name in AudioSettings.__dataclass_fields__ if name not in (_WINDOWS, "spectrograms")]
    sound = AudioSettings(**{name: getattr(options, OPTION_OF.get(name, name)) for name in names})
    in_windows = options.whole_recording and "whole_recording" in MODES[options.mode].options
    return replace(sound, window_overlap=options.window_overlap) if in_windows else sound


def model_settings(
    asked: AudioSettings,
    model: Model,
    given: frozenset[str] = frozenset(),
    *,
    overlap: float | None = None,
) -> AudioSettings:
    """The settings kept with a fine-tuned model, or else those asked for; says which `given` options give way.

    A model that was saved from Python without a frontend still has the size of its input.

    Whether recordings are heard whole, and with which `overlap`, is asked of the model too, but what is given wins.
    """
    size = {"target_length": model.v.target_length, "num_mel_bins": model.v.num_mel_bins}
    if not model.frontend:
        say(
            f"the model does not say how it hears: it gets {asked.sample_rate} Hz, less {asked.mean:g}, over "
            f"2 x {asked.std:g}; check --resample_rate, --dataset_mean and --dataset_std"
        )
    kept = AudioSettings.kept({**asked.entries(), **size, **(model.frontend or {})})
    for name, value in kept.entries().items():
        option = OPTION_OF.get(name, name)
        if name != _WINDOWS and option in given and getattr(asked, name) != value:
            say(f"--{option} {getattr(asked, name)} is left aside: the model was fine-tuned with {value}")
    in_windows = asked if "whole_recording" in given else kept
    if in_windows.window_overlap is None:
        return replace(kept, window_overlap=None)
    return replace(kept, window_overlap=kept.share(overlap if _WINDOWS in given else None))
