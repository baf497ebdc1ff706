"""What spectrograms give in the place of sound: the error of log-mel values, and the cosine of embeddings.

python benchmarks/spectrograms.py RECORDINGS --models MODEL ... [--clips 200]

RECORDINGS is a folder of <uid>/waveform.EXT, MODEL a folder that `pretrain` made, or `random`. Of each clip the sound
is heard our way, and as the power spectrogram that torchaudio makes of it (n_fft 400, hop 160, 16 kHz): first linear
with all frames, then as Bridge2AI-Voice publishes it, in decibels of half precision, cut 80 dB below the loudest, every
second frame. An embedding is the mean of a layer's states over the clip's own time, padding left out. `other clip` is
the cosine of one clip's embedding with the next one's: what cannot be told apart has a cosine as high as that.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssast.audio.frontend import Frontend
from ssast.audio.power_spectrogram import FFT_SIZE, HOP, POWER_RATE, check_power, log_mel_of_power
from ssast.data.audio_conf import AudioConf
from ssast.data.recordings import recording_blocks
from ssast.data.storage.location import Location
from ssast.model.encoder import SSASTEncoder
from ssast.model.pretraining import SSASTForPreTraining

LAYERS = (0, 3, 6, 9, 12)
PER_NEPER = 10 / np.log(10)
"""So many decibels is a step of 1 of a natural logarithm of power."""


def power(waveform_S: Tensor) -> Tensor:
    """The power spectrogram (N, T) as torchaudio makes it."""
    window = torch.hann_window(FFT_SIZE)
    return torch.stft(waveform_S, FFT_SIZE, HOP, window=window, center=True, return_complex=True).abs().square()


def of_power(waveform_S: Tensor, bins: int) -> Tensor:
    """Log-mel values by way of linear power."""
    return log_mel_of_power(check_power(power(waveform_S)), bins)


def of_published(waveform_S: Tensor, bins: int) -> Tensor:
    """Log-mel values by way of decibels of every second frame, the others put between on straight lines."""
    decibels = 10 * power(waveform_S).clamp(min=1e-10).log10()
    decibels = torch.maximum(decibels, decibels.max() - 80)[:, ::2].half().float()
    every = torch.empty(len(decibels), 2 * decibels.shape[1] - 1)
    every[:, ::2], every[:, 1::2] = decibels, (decibels[:, 1:] + decibels[:, :-1]) / 2
    return log_mel_of_power((10 ** (every / 10)).T, bins)


WAYS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "linear power": of_power,
    "decibels, every second frame": of_published,
}


def encoder(name: str) -> SSASTEncoder:
    """The encoder of a model folder, or the base model with random weights."""
    if name == "random":
        torch.manual_seed(0)
        return SSASTForPreTraining(model_size="base").v.eval()
    return SSASTForPreTraining.from_pretrained(name).v.eval()


@torch.no_grad()
def embeddings(encoder: SSASTEncoder, frontend: Frontend, mel_TF: Tensor) -> Tensor:
    """The mean over a clip's time of the states of LAYERS (K, D)."""
    fbank_BTF = frontend.normalise(frontend.fit(mel_TF[None], encoder.target_length))
    frames_B = torch.tensor([min(len(mel_TF), encoder.target_length)])
    _, own_BP = encoder.hide_padding(fbank_BTF, frames_B)
    states = [state_BLD[0, -encoder.num_patches :] for state_BLD in encoder(fbank_BTF, frames=frames_B)]
    return torch.stack([states[layer][own_BP[0]].mean(0) for layer in LAYERS])


def cosines(ours_RKD: Tensor, theirs_RKD: Tensor) -> Tensor:
    """The cosine of each clip in each layer (R, K)."""
    return torch.cosine_similarity(ours_RKD, theirs_RKD, dim=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--models", nargs="+", default=["random"])
    parser.add_argument("--clips", type=int, default=200)
    asked = parser.parse_args()
    torch.set_num_threads(2)
    every = sorted(path.name for path in asked.recordings.iterdir() if path.is_dir())
    uids = every[:: max(1, len(every) // asked.clips)][: asked.clips]
    frontend, conf, root = Frontend(POWER_RATE), AudioConf.of(None), Location(str(asked.recordings))
    waves = [conf.heard(recording_blocks(root, uid)).waveform[0] for uid in uids]
    ours = [frontend.fbank(wave_S[None])[0] for wave_S in waves]
    theirs = {name: [way(wave_S, frontend.num_mel_bins) for wave_S in waves] for name, way in WAYS.items()}
    print(f"{len(uids)} clips of {asked.recordings.parent.name}; log-mel values are natural logarithms of power\n")
    print("| spectrograms | mean error | root mean square | mean absolute | in dB | correlation |")
    print("|---|---|---|---|---|---|")
    for name, found in theirs.items():
        pairs = [(one[: len(own)], own[: len(one)]) for one, own in zip(found, ours, strict=True)]
        made, heard = (torch.cat([pair[side].flatten() for pair in pairs]) for side in (0, 1))
        gap = made - heard
        root_mean, absolute = float(gap.square().mean().sqrt()), float(gap.abs().mean())
        correlation = float(torch.corrcoef(torch.stack([made, heard]))[0, 1])
        errors = f"{float(gap.mean()):+.3f} | {root_mean:.3f} | {absolute:.3f} | {absolute * PER_NEPER:.2f}"
        print(f"| {name} | {errors} | {correlation:.4f} |")
    print("\n| model | spectrograms | layer | mean cosine | least | 1 % below | other clip |")
    print("|---|---|---|---|---|---|---|")
    for model in asked.models:
        own = encoder(model)
        heard_RKD = torch.stack([embeddings(own, frontend, mel_TF) for mel_TF in ours])
        other_RK = cosines(heard_RKD, heard_RKD.roll(1, dims=0))
        for name, found in theirs.items():
            found_RK = cosines(heard_RKD, torch.stack([embeddings(own, frontend, mel_TF) for mel_TF in found]))
            for at, layer in enumerate(LAYERS):
                value_R = found_RK[:, at]
                low = float(value_R.quantile(0.01))
                told = f"{float(value_R.mean()):.4f} | {float(value_R.min()):.4f} | {low:.4f}"
                print(f"| {Path(model).name} | {name} | {layer} | {told} | {float(other_RK[:, at].mean()):.3f} |")


if __name__ == "__main__":
    main()
