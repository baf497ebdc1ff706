"""Keep each power spectrogram as `<uid>/spectrogram.npy` beside its metadata.json; give it in the place of a waveform.

They are read within bounds and become log-mel frames. Shapes: N frequencies, S values of T frames of F mel bins.
"""

import io
import json
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from torch import Tensor

from ssast.audio.power_spectrogram import FFT_SIZE, HOP, POWER_BINS, POWER_RATE, check_power, log_mel_of_power
from ssast.audio.sound_findings import length_entry
from ssast.data.audio_conf import as_item
from ssast.data.batch import ClipItem
from ssast.data.dataset import AudioDataset
from ssast.data.metadata import MARKER, POWER_SPECTROGRAM, SPECTROGRAM_FILE
from ssast.data.recordings import find_recording, naming
from ssast.data.storage.location import Location
from ssast.errors import AudioError

_KIND = {"kind": "power", "n_fft": FFT_SIZE, "hop_length": HOP, "sample_rate_hz": POWER_RATE, "window": "hann"}
_MOST_BYTES = 2 << 30


def write_marker(recordings: Path) -> None:
    """Say of a folder that its recordings are spectrograms."""
    (recordings / MARKER).write_text(json.dumps(_KIND) + "\n", encoding="utf-8")


def write_spectrogram(folder: Path, power_NT: Tensor) -> None:
    """Write one in a new folder, in float32; AudioError where it is none that `check_power` takes."""
    check_power(power_NT)
    folder.mkdir(parents=True)
    np.save(folder / f"{SPECTROGRAM_FILE}.npy", power_NT.float().numpy(), allow_pickle=False)
    metadata = {"encoding": POWER_SPECTROGRAM.upper(), "sample_rate_hz": POWER_RATE}
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")


def read_spectrogram(root: Location, uid: str) -> Tensor:
    """The power (T, N) of a recording; AudioError, without the uid, where it cannot be used."""
    found = find_recording(root, uid)
    if found.extension != "npy":
        raise AudioError(
            f"{MARKER} says that all recordings here are spectrograms, but this one is {found.location.name}; keep "
            "sound and spectrograms in folders of their own",
            path=found.location.name,
        )
    content = found.location.read_bytes(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise AudioError(f"its spectrogram is larger than {_MOST_BYTES:,} bytes; cut it")
    return check_power(torch.from_numpy(_array(content)))


def _array(content: bytes) -> np.ndarray:
    """The numbers (N, T) of an npy file; nothing is allocated that its bytes do not hold."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        shape, is_fortran, kind = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else ((), False, None)
    except (ValueError, SyntaxError, TokenError, MemoryError, RecursionError) as error:
        raise AudioError("its spectrogram.npy is damaged; arrange the spectrograms anew") from error
    values = content[file.tell() :]
    is_sized = len(shape) == 2 and min(shape) >= 0 and max(shape) <= _MOST_BYTES
    is_whole = is_sized and shape[0] * shape[1] * 4 == len(values)
    if is_fortran or kind != np.dtype("<f4") or not is_whole:
        raise AudioError(
            f"its spectrogram.npy is not one of {POWER_BINS} x frames float32 numbers; arrange the spectrograms anew"
        )
    return np.frombuffer(bytearray(values), dtype="<f4").reshape(shape)


class SpectrogramDataset(AudioDataset):
    """As `AudioDataset`, but "waveform" (1, S) are the log-mel frames of a spectrogram, for a `LogMelFrontend`."""

    def _heard(self, index: int, epoch: int) -> ClipItem:
        with naming(self.uids[index]):
            power_TN = read_spectrogram(self.root, self.uids[index])
            mel_TF = log_mel_of_power(power_TN[: self.conf.target_length + 3], self.conf.num_mel_bins)
        item: ClipItem = {
            "waveform": mel_TF[: self.conf.target_length].reshape(1, -1),
            "whole_length": (len(power_TN) - 3) * self.conf.num_mel_bins,
        }
        if self.is_new(index):
            item |= as_item((length_entry((len(power_TN) - 1) * HOP / POWER_RATE),))
        return item
