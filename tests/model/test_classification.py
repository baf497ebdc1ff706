import pytest
import torch

from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification

SIZES = {"model_size": "tiny", "fshape": 16, "tshape": 16, "num_mel_bins": 64, "target_length": 96}  # 4 x 6 patches


def build(num_labels=3, **options):
    return SSASTForAudioClassification(num_labels, **SIZES, **{"seed": 0, **options}).eval()


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def weighted():
    return build(weighted=True, task="ft_avgtok")


def test_the_plain_constructor_gives_logits_from_random_weights(model, noise):
    assert model(noise(2, 96, 64)).shape == (2, 3)
    assert model.n_states == 13


@pytest.mark.parametrize("task", ["ft_cls", "ft_avgtok"])
@pytest.mark.parametrize("layer", [0, 6, 12, 13, -1])
def test_logits_are_the_head_over_the_pooled_layer(noise, task, layer):
    model, clips = build(task=task, layer=layer), noise(2, 96, 64)
    state = model.hidden_states(clips)[layer]
    pooled = state[:, :2].mean(1) if task == "ft_cls" else state[:, 2:].mean(1)
    torch.testing.assert_close(model(clips), model.mlp_head(pooled), atol=1e-5, rtol=1e-4)


def test_base_nokd_pools_its_single_class_token(noise, slim_nokd):
    model = SSASTForAudioClassification(2, **{**SIZES, "model_size": "base_nokd"}, seed=0).eval()
    state = model.hidden_states(noise(1, 96, 64))[-1]
    torch.testing.assert_close(model.extract_embedding(noise(1, 96, 64), "pt"), state[:, 0], atol=1e-5, rtol=1e-4)


def test_the_weighted_sum_is_over_the_first_thirteen_with_weights_as_they_are(weighted, noise):
    clips = noise(2, 96, 64)
    assert torch.equal(weighted.weightsum, torch.full((13,), 1 / 13))
    weights = torch.linspace(-1, 2, 13)
    with torch.no_grad():
        before = weighted.weightsum.clone()
        weighted.weightsum.copy_(weights)
        states = torch.stack(weighted.hidden_states(clips)[:13])
        summed = (weights.view(13, 1, 1, 1) * states).sum(0)[:, 2:].mean(1)
        embedding, logits = weighted.extract_embedding(clips, "wt"), weighted(clips)
        weighted.weightsum.copy_(before)
    torch.testing.assert_close(embedding, summed, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits, weighted.mlp_head(summed), atol=1e-4, rtol=1e-4)


def test_a_frozen_base_trains_only_head_and_layer_weights(noise):
    model = build(weighted=True).train()
    model.loss({"fbank": noise(2, 96, 64), "targets": torch.ones(2, 3)})["loss"].backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert "weightsum" in trained
    assert all(name == "weightsum" or name.startswith("mlp_head.") for name in trained)
    assert not model.v.training
    assert model.mlp_head.training
    assert not model.pooled_states(noise(2, 96, 64)).requires_grad


def test_an_unfrozen_base_trains_as_a_whole(noise):
    model = build(freeze=False).train()
    model.loss({"fbank": noise(2, 96, 64), "targets": torch.ones(2, 3)})["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.v.training


def test_one_clip_alone_in_any_batch_gives_the_same_logits(model, noise):
    clips = noise(5, 96, 64)
    torch.testing.assert_close(model(clips[3:4])[0], model(clips)[3], atol=1e-5, rtol=0)


def test_pooled_states_classify_to_the_same_logits_and_any_layers_come_in_one_pass(model, weighted, noise):
    clips = noise(2, 96, 64)
    assert torch.equal(weighted.classify(weighted.pooled_states(clips)), weighted(clips))
    pooled = model.pooled_states(clips, layers=[13, 0, 5, 0])
    states = model.hidden_states(clips)
    for place, layer in enumerate([13, 0, 5, 0]):
        torch.testing.assert_close(pooled[:, place], states[layer][:, :2].mean(1), atol=1e-5, rtol=1e-4)


def test_embeddings_follow_type_layer_and_task(model, noise):
    clips = noise(2, 96, 64)
    states = model.hidden_states(clips)
    torch.testing.assert_close(model.extract_embedding(clips, "pt"), states[13][:, :2].mean(1), atol=1e-5, rtol=1e-4)
    other = model.extract_embedding(clips, "pt", layer=4, task="ft_avgtok")
    torch.testing.assert_close(other, states[4][:, 2:].mean(1), atol=1e-5, rtol=1e-4)
    dense = model.mlp_head.head.dense(states[13][:, :2].mean(1))
    torch.testing.assert_close(model.extract_embedding(clips), dense, atol=1e-5, rtol=1e-4)
    assert model.extract_embedding(clips).shape == (2, 192)
    assert not model.extract_embedding(clips).requires_grad


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("wt",), "wt needs learned layer weights, but this model was made with weighted False"),
        (("xy",), "embedding_type 'xy' is unknown; choose one of pt, wt, ft"),
        (("pt", 99), "layer 99 does not exist"),
        (("pt", None, "cls"), "task 'cls' is unknown; choose one of ft_cls, ft_avgtok"),
    ],
)
def test_an_embedding_that_cannot_be_had_gets_a_sentence(model, noise, arguments, said):
    with pytest.raises(UserError, match=said):
        model.extract_embedding(noise(1, 96, 64), *arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "cls"}, "task 'cls' is unknown"),
        ({"layer": 14}, "layer 14 does not exist"),
        ({"loss": "L1"}, "loss 'L1' is unknown; choose one of BCE, MSE"),
        ({"labels": ["a"]}, "1 label names came with num_labels 3"),
    ],
)
def test_settings_that_cannot_be_get_a_sentence(options, said):
    with pytest.raises(UserError, match=said):
        build(**options)


def test_attention_covers_all_blocks_whatever_the_layer(noise):
    attentions = build(layer=2).attentions(noise(2, 96, 64))
    assert [weights.shape for weights in attentions] == [(2, 3, 26, 26)] * 12


@pytest.mark.parametrize("options", [{}, {"weighted": True, "task": "ft_avgtok"}, {"layer": 5}, {"freeze": False}])
def test_a_trace_gives_the_logits_and_gradients_of_attention_and_input(noise, options):
    model, clips = build(**options), noise(1, 96, 64)
    logits, trace = model.trace(clips.requires_grad_())
    torch.testing.assert_close(logits, model(clips), atol=1e-5, rtol=1e-4)
    gradients = torch.autograd.grad(logits[:, 1].sum(), [*trace.attentions, clips])
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    assert len(trace.attentions) == min(max(model.layers), 12)


def test_a_trace_of_a_frozen_model_needs_no_gradient_of_the_input(model, noise):
    logits, trace = model.trace(noise(1, 96, 64))
    assert torch.autograd.grad(logits[:, 0].sum(), trace.attentions[0])[0].any()


@pytest.mark.parametrize("task", ["ft_cls", "ft_avgtok"])
def test_masked_padding_makes_scores_independent_of_the_padding(noise, task):
    model, frames = build(task=task, mask_padding=True), torch.tensor([96, 40, 0])
    clips = noise(3, 96, 64)
    other = clips.clone()
    other[1, 40:], other[2] = 100.0, -3.0
    assert torch.equal(model(clips, frames), model(other, frames))
    assert model(clips, frames).isfinite().all()
    torch.testing.assert_close(model(clips, frames)[0], model(clips)[0], atol=1e-5, rtol=1e-4)


def test_frames_matter_only_to_a_model_with_mask_padding(model, noise):
    clips = noise(2, 96, 64)
    assert torch.equal(model(clips, torch.tensor([3, 0])), model(clips))


def test_missing_targets_are_left_out_of_the_loss_alone(model, noise):
    clips, targets = noise(2, 96, 64), torch.tensor([[1.0, 0.0, float("nan")], [float("nan"), 0.5, 1.0]])
    loss = model.loss({"fbank": clips, "targets": targets})["loss"]
    known = ~targets.isnan()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(model(clips)[known], targets[known])
    torch.testing.assert_close(loss, expected)
    nothing = model.loss({"fbank": clips, "targets": torch.full((2, 3), float("nan"))})["loss"]
    assert nothing == 0


def test_the_loss_takes_pooled_states_in_place_of_fbanks(model, noise):
    clips, targets = noise(2, 96, 64), torch.ones(2, 3)
    pooled = {"pooled": model.pooled_states(clips), "targets": targets}
    assert torch.equal(model.loss(pooled)["loss"], model.loss({"fbank": clips, "targets": targets})["loss"])


def test_targets_of_another_width_name_both_sides(model, noise):
    with pytest.raises(UserError, match=r"targets have shape \(2, 2\).*logits have \(2, 3\)"):
        model.loss({"fbank": noise(2, 96, 64), "targets": torch.ones(2, 2)})


def test_scores_are_probabilities_under_bce_and_values_under_mse(model, noise):
    clips = noise(2, 96, 64)
    torch.testing.assert_close(model.predict_scores(clips), model(clips).sigmoid())
    torch.testing.assert_close(build(loss="MSE").predict_scores(clips), model(clips))


def test_from_published_takes_shape_and_size_from_the_file_and_fits_the_rest(published, noise):
    model = SSASTForAudioClassification.from_published(
        published(), num_labels=2, fstride=10, tstride=10, target_length=200, labels=["a", "b"], seed=1
    )
    assert model.v.grid == (12, 19)
    assert not model.training
    assert model(noise(1, 200, 128)).shape == (1, 2)
    again = SSASTForAudioClassification.from_published(published(), num_labels=2, target_length=200, seed=1)
    assert again.v.grid == (8, 12)
    assert torch.equal(model.mlp_head.head.outproj.weight, again.mlp_head.head.outproj.weight)


def test_from_published_with_fewer_mel_bins_cuts_positions_out_of_the_centre(published):
    path = published()
    whole = SSASTForAudioClassification.from_published(path, num_labels=1, target_length=128)
    part = SSASTForAudioClassification.from_published(path, num_labels=1, target_length=128, num_mel_bins=64)
    expected = whole.v.pos_embed[:, 2:].unflatten(1, (8, 8))[:, 2:6].flatten(1, 2)
    assert torch.equal(part.v.pos_embed[:, 2:], expected)


def test_from_published_takes_the_encoder_of_an_own_folder(tmp_path, model, noise):
    model.save_pretrained(tmp_path / "run")
    other = SSASTForAudioClassification.from_published(tmp_path / "run", num_labels=5, target_length=96)
    for one, another in zip(model.hidden_states(noise(1, 96, 64)), other.hidden_states(noise(1, 96, 64)), strict=True):
        assert torch.equal(one, another)


def test_a_target_length_shorter_than_a_patch_gets_a_sentence(published):
    with pytest.raises(UserError, match="target_length is 15 frames, less than the 16 frames of one patch"):
        SSASTForAudioClassification.from_published(published(), num_labels=1, target_length=15)
