"""The options about recordings, where they lie and what becomes of them on the way to the model.

Those of waveform augmentations are made from the table in `audio/alterations.py`.
"""

from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING, Any

from ssast.audio.alterations import ALTERATIONS, Alteration
from ssast.options.declaration import option
from ssast.options.groups import (
    AUDIO,
    BUCKET,
    CLOUD,
    EVERY,
    FBANK,
    HEAR,
    HEARD,
    LABELLED,
    LOADING,
    READ,
    SAVING,
    SEND,
    USE,
    WAVEFORM,
    WORK,
)

_PROBABILITY: dict[str, Any] = {"unit": "probability a clip", "low": 0, "high": 1}


@dataclass(frozen=True)
class RecordingOptions:
    """The part of `Options` about where data lie and how they are heard: every value is checked there."""

    # Loading data
    prefix: str | None = option(
        None,
        "folder of the recordings, PREFIX/UID/waveform.EXT; in a bucket without gs://; arrange: of the audio files",
        LOADING,
        short="i",
        is_path=True,
        is_needed=True,
        modes=(*READ, "arrange"),
    )
    study: str | None = option(
        None, "folder below prefix, where that holds more than one study", LOADING, short="s", is_rare=True
    )
    data_split_root: str | None = option(
        None,
        "folder with train.csv and test.csv, or one csv for evaluate, extract and attention; arrange: the table",
        LOADING,
        short="d",
        is_path=True,
        is_needed=True,
        modes=(*READ, "arrange"),
    )
    label_txt: str | None = option(
        "./labels.txt",
        "text file with the target labels, one a line; arrange reads it only where it is given",
        LOADING,
        short="l",
        is_path=True,
        modes=(*LABELLED, "arrange"),
    )
    lib: bool = option(
        False, "read recordings with librosa", LOADING, modes=(*READ, "predict"), is_rare=True, is_public=True
    )
    pretrained_mdl_path: str | None = option(
        "SSAST-Base-Frame-400.pth",
        "pretrained model to start from: a published name or .pth, or a model folder; none: random weights",
        LOADING,
        modes=("pretrain", "finetune", "sweep", "extract", "attention"),
        shown="SSAST-Base-Frame-400.pth; pretrain: none",
        is_path=True,
    )
    finetuned_mdl_path: str | None = option(
        None,
        "fine-tuned model to use: a model folder, or an older or published file",
        LOADING,
        modes=(*USE, "predict", "audit"),
        is_path=True,
    )
    files: str | None = option(
        None,
        "what to predict or look at: audio files, or folders with some in or below them, here or at addresses; "
        "one a line",
        LOADING,
        modes=("predict", "attention"),
        is_path=True,
        is_needed=True,
        shown="needed for predict",
        is_many=True,
    )
    on_bad_audio: str = option(
        "error",
        "what a recording that cannot be used does: end the run, or be left out and named",
        LOADING,
        choices=("error", "skip"),
        modes=(*WORK, *HEAR, "arrange"),
    )
    file_column: str | None = option(
        None,
        "column of the table that names the audio files, or holds the codes that begin their folders or names",
        LOADING,
        modes=("arrange",),
        shown="the one that does",
    )
    subject_column: str | None = option(
        None,
        "column of the table that says who speaks",
        LOADING,
        modes=("arrange",),
        shown="speaker, subject, or the like",
    )
    label_column: str | None = option(
        None,
        "column of text, such as diagnosis, to make a yes/no label of each entry; several columns with commas between",
        LOADING,
        modes=("arrange",),
        shown="all columns of yes and no are labels",
        is_many=True,
    )
    test_share: float = option(
        0.25,
        "share of the people that test.csv is of; 0: no splits, all.csv alone",
        LOADING,
        low=0,
        below=1,
        modes=("arrange",),
    )
    # Google cloud storage
    bucket_name: str | None = option(
        None, "bucket of the recordings and, while cloud is True, of the results", CLOUD, short="b", modes=BUCKET
    )
    project_name: str | None = option(
        None, "project of the bucket", CLOUD, short="p", modes=BUCKET, is_rare=True, changes_result=False
    )
    cloud: bool = option(
        True,
        "also save the results to the bucket; without --bucket_name they stay here",
        CLOUD,
        is_rare=True,
        changes_result=False,
    )
    cache_gb: float = option(
        50.0,
        "room on this disk for what was read from buckets and for pooled states, in $SSAST_CACHE or ~/.cache/ssast; "
        "what was not used for the longest time goes first",
        CLOUD,
        unit="GB",
        above=0,
        modes=(*READ, "predict"),
        is_rare=True,
        changes_result=False,
    )
    # Saving data
    private: bool = option(
        False,
        "show salted hashes instead of uids, subjects and paths, on screen, in logs, records, errors and pages; "
        "what they stand for is kept in $SSAST_KEYS or ~/.config/ssast",
        SAVING,
        modes=EVERY,
        changes_result=False,
    )
    dataset: str | None = option(
        None,
        "name of the data set in file names",
        SAVING,
        shown="lowest folder of data_split_root",
        is_rare=True,
        is_public=True,
    )
    exp_dir: str = option(
        "./experiments",
        "local folder for everything that is written",
        SAVING,
        short="o",
        modes=EVERY,
        is_path=True,
        changes_result=False,
    )
    cloud_dir: str = option(
        "",
        "folder inside the bucket to save to, without gs:// and bucket name",
        SAVING,
        modes=SEND,
        changes_result=False,
    )
    # Audio and spectrogram
    dataset_mean: float = option(
        -4.2677393,
        "mean of the data set's log-mel values",
        AUDIO,
        low=-1e6,
        high=1e6,
        modes=(*WORK, "convert"),
        is_rare=True,
        is_public=True,
    )
    dataset_std: float = option(
        4.5689974,
        "their standard deviation; values become (x - mean) / (2 std)",
        AUDIO,
        low=1e-6,
        high=1e6,
        modes=(*WORK, "convert"),
        is_rare=True,
        is_public=True,
    )
    resample_rate: int = option(
        16000,
        "sample rate that every recording is brought to",
        AUDIO,
        unit="Hz",
        low=1000,
        high=384000,
        modes=HEARD,
        is_public=True,
    )
    reduce: bool = option(
        True,
        "average the channels into one; otherwise the first is used",
        AUDIO,
        is_rare=True,
        modes=HEARD,
        is_public=True,
    )
    clip_length: float = option(
        0.0,
        "use only the beginning of each recording, 0: all of it",
        AUDIO,
        unit="seconds",
        low=0,
        is_rare=True,
        is_public=True,
        modes=HEARD,
    )
    num_mel_bins: int = option(
        128, "frequency bins of the spectrogram", AUDIO, unit="mel bins", low=1, high=1024, is_rare=True, is_public=True
    )
    target_length: int = option(
        1024,
        "length that spectrograms are cut or padded to",
        AUDIO,
        unit="frames of 10 ms",
        low=1,
        high=1_000_000,
        is_public=True,
        modes=HEARD,
    )
    window_overlap: float = option(
        0.5,
        "recordings longer than target_length are cut into windows that share so much (extract: over time)",
        AUDIO,
        unit="share of a window",
        low=0,
        high=0.95,
        modes=("predict", "extract"),
    )
    window_pooling: str = option(
        "mean",
        "how the scores of its windows become those of a recording",
        AUDIO,
        choices=("mean", "max"),
        modes=("predict",),
        is_rare=True,
    )


def _fields(alteration: Alteration) -> list[tuple[str, type, Any]]:
    """The two options of a waveform augmentation: how often, then how much."""
    amount = alteration.amount
    often = option(0.0, alteration.help, WAVEFORM, **_PROBABILITY, is_rare=True, is_public=True)
    kind: dict[str, Any] = {"unit": amount.unit, "low": 0, "high": amount.largest, "is_rare": True}
    kind["amount_of"] = alteration.name
    much = option(amount.default, amount.help, WAVEFORM, **kind)
    return [(alteration.name, float, often), (amount.name, float, much)]


if TYPE_CHECKING:

    class WaveformOptions(RecordingOptions):
        """Fields made from a table are known by name only; modes read them with getattr."""

else:
    _WAVEFORM_FIELDS = [field for alteration in ALTERATIONS for field in _fields(alteration)]
    WaveformOptions = make_dataclass("WaveformOptions", _WAVEFORM_FIELDS, bases=(RecordingOptions,), frozen=True)


@dataclass(frozen=True)
class DataOptions(WaveformOptions):
    """The part of `Options` that is about data: every value is checked there."""

    # Waveform augmentation of a batch
    mixup: float = option(
        0.0, "mix with another clip of the batch, labels too", WAVEFORM, **_PROBABILITY, is_public=True
    )
    mixup_alpha: float = option(
        10.0,
        "shares are drawn from Beta(alpha, alpha); large: near halves",
        WAVEFORM,
        above=0,
        is_rare=True,
        amount_of="mixup",
    )
    # Spectrogram augmentation
    freqm: int = option(0, "hide a band narrower than this", FBANK, unit="mel bins", low=0, is_public=True)
    timem: int = option(0, "hide a stretch shorter than this", FBANK, unit="frames", low=0, is_public=True)
    noise: bool = option(False, "add noise and roll by up to 10 frames", FBANK, is_public=True)
    cdo: bool = option(False, "coarse dropout: hide small rectangles", FBANK, is_rare=True, is_public=True)
    shift: bool = option(False, "shift by a little in time and frequency", FBANK, is_rare=True, is_public=True)
