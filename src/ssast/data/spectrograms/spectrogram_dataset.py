"""Give power spectrograms one by one as log-mel frames, in the place of waveforms.

Shapes: S values of T frames of F mel bins.
"""

from ssast.audio.power_spectrogram import HOP, POWER_RATE, log_mel_of_power
from ssast.audio.sound_findings import length_entry
from ssast.data.audio_conf import as_item
from ssast.data.batch import ClipItem
from ssast.data.dataset import AudioDataset
from ssast.data.recordings import naming
from ssast.data.spectrograms.spectrogram_files import read_spectrogram


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
