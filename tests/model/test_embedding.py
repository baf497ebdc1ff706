"""Embeddings over time: a step for each column of patches, whose mean is the embedding of the clip."""

import pytest
import torch

from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification

SIZES = {"model_size": "tiny", "fshape": 16, "tshape": 16, "num_mel_bins": 64, "target_length": 96}  # 4 x 6 patches


def build(**options):
    return SSASTForAudioClassification(3, **SIZES, **{"task": "ft_avgtok", "seed": 0, **options}).eval()


@pytest.fixture(scope="module")
def model():
    return build(weighted=True)


@pytest.mark.parametrize("layer", [0, 5, -1])
def test_a_step_is_the_mean_of_the_patches_one_above_the_other(model, noise, layer):
    steps, middles = model.frame_embeddings(noise(2, 96, 64), layer)
    state = model.hidden_states(noise(2, 96, 64))[layer][:, 2:]
    expected = torch.stack([state[:, time::6].mean(dim=1) for time in range(6)], dim=1)
    torch.testing.assert_close(steps, expected, atol=1e-5, rtol=1e-4)
    assert middles.tolist() == [7.5, 23.5, 39.5, 55.5, 71.5, 87.5]


@pytest.mark.parametrize("kind", ["pt", "wt", "ft"])
def test_the_mean_over_time_is_the_embedding_of_the_clip(model, noise, kind):
    clips = noise(2, 96, 64)
    steps, _ = model.frame_embeddings(clips, embedding_type=kind)
    assert steps.shape == (2, 6, 192)
    torch.testing.assert_close(steps.mean(dim=1), model.extract_embedding(clips, kind), atol=1e-5, rtol=1e-4)


def test_a_frame_model_has_a_step_for_every_patch(noise):
    model = SSASTForAudioClassification(2, "tiny", 64, 2, None, 1, 64, 20, task="ft_avgtok", seed=0).eval()
    steps, middles = model.frame_embeddings(noise(1, 20, 64), 3)
    assert middles.tolist() == [number + 0.5 for number in range(19)]
    torch.testing.assert_close(steps[0], model.hidden_states(noise(1, 20, 64))[3][0, 2:], atol=1e-5, rtol=1e-4)


def test_masked_padding_reaches_no_step_of_the_clip(noise):
    model, clips = build(mask_padding=True), noise(1, 96, 64)
    other = torch.cat([clips[:, :40], noise(1, 56, 64, seed=1)], dim=1)
    frames = torch.tensor([40])
    one, two = (model.frame_embeddings(each, frames=frames)[0][:, :3] for each in (clips, other))
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)


def test_what_no_model_can_give_is_one_sentence(model, noise):
    with pytest.raises(UserError, match="class tokens alone"):
        build(task="ft_cls").frame_embeddings(noise(1, 96, 64), embedding_type="ft")
    with pytest.raises(UserError, match="weighted"):
        build().frame_embeddings(noise(1, 96, 64), embedding_type="wt")
    with pytest.raises(UserError, match="layer 14"):
        model.frame_embeddings(noise(1, 96, 64), 14)
