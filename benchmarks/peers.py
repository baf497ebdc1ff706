"""Hugging Face's Audio Spectrogram Transformer beside ours: square patches, the same sizes, random weights."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ASTConfig, ASTForAudioClassification

from ssast import SSASTForAudioClassification
from ssast.engine.optimiser import TrainingSettings, optimiser

LENGTH, BINS, SIDE, LABELS = 1024, 128, 16, 5


def theirs() -> ASTForAudioClassification:
    """The peer, base size, patches side by side."""
    sides = {"patch_size": SIDE, "frequency_stride": SIDE, "time_stride": SIDE}
    config = ASTConfig(**sides, max_length=LENGTH, num_mel_bins=BINS, num_labels=LABELS)
    config.problem_type = "multi_label_classification"
    return ASTForAudioClassification(config)


def ours() -> SSASTForAudioClassification:
    """Our classifier of the same size, all of it trained."""
    return SSASTForAudioClassification(LABELS, "base", SIDE, SIDE, target_length=LENGTH, freeze=False, seed=0)


def training_steps(fbank_BTF: Tensor, *, bf16: bool) -> tuple[Callable[[], None], Callable[[], None]]:
    """One fine-tuning step of ours, as `ssast finetune` takes it, and of the peer, in fp32 as it comes."""
    targets_BN = torch.ones(len(fbank_BTF), LABELS)
    own, peer = ours().train(), theirs().train()
    optimizers = optimiser(own, TrainingSettings()), torch.optim.Adam(peer.parameters(), lr=3e-4)

    def our_step() -> None:
        optimizers[0].zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = own.loss({"fbank": fbank_BTF, "targets": targets_BN})["loss"]
        loss.backward()
        optimizers[0].step()

    def their_step() -> None:
        optimizers[1].zero_grad()
        logits_BN = peer(fbank_BTF).logits
        F.binary_cross_entropy_with_logits(logits_BN, targets_BN).backward()
        optimizers[1].step()

    return our_step, their_step


def embeddings(fbank_BTF: Tensor, *, bf16: bool) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """One embedding a clip of ours, as `ssast extract` makes it, and of the peer, in fp32 as it comes."""
    own, peer = ours().eval(), theirs().eval()
    if bf16:
        own.v.bfloat16()
    return (
        lambda: own.extract_embedding(fbank_BTF, "pt"),
        lambda: peer.audio_spectrogram_transformer(fbank_BTF).pooler_output,
    )
