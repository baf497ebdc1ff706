"""Offer a model through the interface of the HEAR benchmark: embeddings of sounds, and of each step of time.

`heareval` takes the module by its name: `python -m heareval.embeddings.runner ssast.adapters.hear --model FOLDER`.
"""

import torch
from torch import Tensor, nn

from ssast.adapters.embedding import DEFAULT, embedding_model
from ssast.adapters.time_steps import Stepwise


class HearModel(nn.Module):
    """A model with the attributes that the interface asks for; embeddings are those of one layer."""

    def __init__(self, steps: Stepwise):
        super().__init__()
        self.steps = steps
        self.sample_rate = steps.frontend.sample_rate
        self.scene_embedding_size = self.timestamp_embedding_size = steps.model.v.width


def load_model(model_file_path: str = "", layer: int = -1, precision: str = "fp32") -> HearModel:
    """The model of a folder, a published file or name, or a hub name ("": SSAST-Base-Frame-400).

    `precision` is fp32, bf16, or auto: bf16 where the device to which the model is moved is made for it.
    """
    return HearModel(Stepwise(embedding_model(model_file_path or DEFAULT), [layer], precision)).eval()


@torch.no_grad()
def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Return embeddings (n, steps, width) of sounds (n, samples), and each step's middle (n, steps) in milliseconds."""
    states, times = model.steps(list(audio))
    embeddings = torch.stack([one[:, 0] for one in states])
    return embeddings, torch.stack(times).to(embeddings) * 1000


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Return the mean over time of the embeddings (n, width) of sounds (n, samples)."""
    return get_timestamp_embeddings(audio, model)[0].mean(dim=1)
