"""Measure the joint loss with one thing changed of it: temperature, negatives, or what the model hears.

Shapes: B clips, T frames, F mel bins, M hidden patches, K values a patch.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ssast import SSASTForPreTraining
from ssast.model.masking import generative_loss
from ssast.model.pretraining import GENERATIVE_WEIGHT, take

LOG_POWER = 2 * 4.5689974
"""So much of the natural logarithm of power is 1 in a normalised fbank."""
DECIBEL = math.log(10) / 10 / LOG_POWER
GAIN, RATIO, TILT = 6.0, (5.0, 30.0), 4.0


@dataclass(frozen=True)
class Objective:
    """What is changed of `pretrain_joint`.

    Likenesses are divided by `temperature`. Each hidden patch is found among those of `clips` clips, in place of its
    own clip's. With `is_altered` the model hears another gain (within 6 dB) and added noise (5 to 30 dB below the
    clip's power, white to falling by 17 dB towards the highest bin), and its targets stay clean.
    """

    temperature: float = 1.0
    clips: int = 1
    is_altered: bool = False

    def loss(self, model: SSASTForPreTraining, fbank_BTF: Tensor) -> Tensor:
        """The loss of one batch, its masks and alterations from torch's ambient random state."""
        heard_BTF = altered(fbank_BTF) if self.is_altered else fbank_BTF
        mask_index_BM = model.draw_masks(len(fbank_BTF))
        hidden_BMD = model.hidden_states(model.v.patches(heard_BTF), mask_index_BM, None)
        target_BMK = take(model.v.patches(fbank_BTF), mask_index_BM).float()
        mse = generative_loss(model.gpredlayer(hidden_BMD).float(), target_BMK, None)
        return self.nce(model.cpredlayer(hidden_BMD).float(), target_BMK) + GENERATIVE_WEIGHT * mse

    def nce(self, pred_BMK: Tensor, target_BMK: Tensor) -> Tensor:
        """InfoNCE among the hidden patches of so many clips."""
        several = [values.unflatten(0, (-1, self.clips)).flatten(1, 2) for values in (target_BMK, pred_BMK)]
        with torch.autocast(pred_BMK.device.type, enabled=False):
            alike_GNN = several[0] @ several[1].transpose(1, 2) / self.temperature
        own_N = torch.arange(alike_GNN.shape[1], device=alike_GNN.device)
        return F.cross_entropy(alike_GNN.flatten(0, 1), own_N.repeat(len(alike_GNN)))


def altered(fbank_BTF: Tensor) -> Tensor:
    """Normalised fbanks as a louder or softer recording in some noise would give them; padding stays zero."""
    clips, device = len(fbank_BTF), fbank_BTF.device
    gain_B, ratio_B, tilt_B = (
        torch.empty(clips, 1, 1, device=device).uniform_(low, high) for low, high in ((-GAIN, GAIN), RATIO, (0.0, TILT))
    )
    own_BT1 = (fbank_BTF != 0).any(dim=2, keepdim=True)
    log_power_BTF = (fbank_BTF * LOG_POWER).masked_fill(~own_BT1, -math.inf)
    count_B11 = own_BT1.sum(dim=(1, 2), keepdim=True).clamp(min=1) * fbank_BTF.shape[2]
    mean_B11 = log_power_BTF.flatten(1).logsumexp(dim=1)[:, None, None] - count_B11.log()
    bins_F = torch.linspace(0, 1, fbank_BTF.shape[2], device=device)
    level_BTF = mean_B11 - ratio_B * math.log(10) / 10 - tilt_B * bins_F
    grain_BTF = torch.distributions.Gamma(fbank_BTF.new_tensor(4.0), 4.0).sample(fbank_BTF.shape).log()
    noisy_BTF = torch.logaddexp(log_power_BTF, level_BTF + grain_BTF) / LOG_POWER + gain_B * DECIBEL
    return torch.where(own_BT1, noisy_BTF, fbank_BTF)
