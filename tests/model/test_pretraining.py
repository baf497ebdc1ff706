import json

import pytest
import torch
from torch.nn import functional as F

from ssast.errors import UserError
from ssast.model.pretraining import SSASTForPreTraining

pytestmark = pytest.mark.usefixtures("narrow")

SIZES = {"model_size": "tiny", "fshape": 16, "tshape": 16, "num_mel_bins": 64, "target_length": 96}  # 4 x 6 patches


@pytest.fixture(scope="module")
def joint():
    return SSASTForPreTraining(**SIZES, mask_patch=10, seed=0).eval()


@pytest.fixture(scope="module")
def padded():
    return SSASTForPreTraining(**SIZES, mask_patch=10, mask_padding=True, seed=0).eval()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_joint_is_nce_plus_ten_times_mse_of_one_pass(joint, noise):
    passes = []
    handle = joint.v.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    output = joint(noise(3, 96, 64), generator=generator())
    handle.remove()
    torch.testing.assert_close(output.loss, output.nce + 10 * output.mse)
    assert len(passes) == 1
    assert output.mask_index.shape == (3, 10)


def test_losses_are_those_of_the_paper_clip_by_clip(joint, noise):
    clips = noise(3, 96, 64)
    output = joint(clips, mask_patch=7, generator=generator())
    nce, right, mse = [], [], []
    for clip, index in zip(clips, output.mask_index, strict=True):
        patches = joint.v.patches(clip[None])
        embedded = joint.v.embed(patches)
        embedded[0, index] = joint.mask_embed[0, 0]
        *_, hidden = joint.v.stream(joint.v.tokens(embedded))
        hidden, target = hidden[0, 2:][index], patches[0, index]
        total = target @ joint.cpredlayer(hidden).T
        nce += [-total.log_softmax(-1).diagonal()]
        right += [total.softmax(-1).argmax(0) == torch.arange(7)]
        mse += [(joint.gpredlayer(hidden) - target).square()]
    torch.testing.assert_close(output.nce, torch.stack(nce).mean(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.mse, torch.stack(mse).mean(), atol=1e-5, rtol=1e-4)
    assert output.accuracy == torch.stack(right).float().mean()


@pytest.mark.parametrize(
    ("objective", "there", "unused"),
    [
        ("pretrain_mpc", {"loss", "nce", "accuracy", "chance"}, "gpredlayer"),
        ("pretrain_mpg", {"loss", "mse"}, "cpredlayer"),
        ("pretrain_joint", {"loss", "nce", "accuracy", "chance", "mse"}, None),
    ],
)
def test_an_objective_reports_and_trains_its_own_part(noise, objective, there, unused):
    model = SSASTForPreTraining(**SIZES, objective=objective, mask_patch=10, seed=0)
    losses = model.loss({"fbank": noise(2, 96, 64)}, generator())
    assert set(losses) == {*there, "count"}
    losses["loss"].backward()
    without = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == ({unused} if unused else set())
    assert all(parameter.requires_grad for name, parameter in model.named_parameters() if parameter.grad is not None)


def test_given_masks_override_the_count_which_is_not_even_checked(joint, noise):
    index = torch.tensor([[0, 5, 23], [1, 2, 3]])
    output = joint(noise(2, 96, 64), mask_patch=1000, mask_index=index)
    assert torch.equal(output.mask_index, index)
    assert output.loss.isfinite()


def test_the_encoder_sees_nothing_of_a_masked_patch_but_targets_do(joint, noise):
    index = torch.tensor([[0, 7, 8]])
    clips, other = noise(1, 96, 64), noise(1, 96, 64)
    other[:, :16, :16] += 5  # patch 0
    first, second = (joint.v.patches(fbank) for fbank in (clips, other))
    hidden = [joint.hidden_states(patches, index, None) for patches in (first, second)]
    assert torch.equal(*hidden)
    assert joint(clips, mask_index=index).mse != joint(other, mask_index=index).mse


def by_definition(model, fbank, index, layer):
    """The encoder's output at the masked patches of one clip, where masks enter before block layer + 1."""
    patches = model.v.patches(fbank[None])
    tokens = model.v.tokens(model.v.embed(patches))[0]
    masks = (model.mask_embed[0] + model.v.pos_embed[0, 2:])[index]
    is_visible = torch.ones(len(tokens), dtype=torch.bool)
    is_visible[index + 2] = False
    seen = tokens[is_visible][None]
    for number, block in enumerate(model.v.blocks):
        if number == layer:
            seen = torch.cat([seen, masks[None]], dim=1)
        seen = block(seen, None)
    return model.v.norm(seen)[0, -len(index) :]


@pytest.mark.parametrize("layer", [0, 1, 8, 10, 11])
@pytest.mark.parametrize("shape", [(16, 16), (64, 2)])
def test_hidden_patches_enter_after_as_many_blocks_as_asked(noise, layer, shape):
    sizes = SIZES | {"fshape": shape[0], "tshape": shape[1]}
    model = SSASTForPreTraining(**sizes, mask_patch=10, mask_layer=layer, seed=0).eval()
    clips, index = noise(2, 96, 64), model.draw_masks(2, generator=generator())
    hidden = model.hidden_states(model.v.patches(clips), index, None)
    for clip, row, found in zip(clips, index, hidden, strict=True):
        torch.testing.assert_close(found, by_definition(model, clip, row, layer), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", [0, 10])
def test_padding_changes_nothing_wherever_masks_enter(noise, layer):
    model = SSASTForPreTraining(**SIZES, mask_patch=10, mask_padding=True, mask_layer=layer, seed=0).eval()
    clips, frames = noise(3, 96, 64), torch.tensor([96, 40, 5])
    other = clips.clone()
    other[1, 40:], other[2, 5:] = 1e4, -1e4
    first, second = (model(each, frames=frames, generator=generator()) for each in (clips, other))
    for name in ("loss", "nce", "accuracy", "mse", "count"):
        assert torch.equal(getattr(first, name), getattr(second, name))


def test_only_the_visible_patches_go_through_the_first_blocks(noise):
    model, lengths = SSASTForPreTraining(**SIZES, mask_patch=10, mask_layer=7, seed=0), []
    for block in model.v.blocks:
        block.register_forward_hook(lambda _, given, output: lengths.append((given[0].shape[1], output.shape[1])))
    model(noise(2, 96, 64), generator=generator()).loss.backward()
    assert lengths == [(16, 16)] * 7 + [(26, 26)] * 4 + [(26, 10)]
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_depth_of_injection_is_kept_with_the_model_and_is_no_weight(tmp_path, joint):
    late = SSASTForPreTraining(**SIZES, mask_patch=10, mask_layer=10, seed=0)
    assert late.state_dict().keys() == joint.state_dict().keys()
    late.save_pretrained(tmp_path / "late")
    assert SSASTForPreTraining.from_pretrained(tmp_path / "late").mask_layer == 10
    assert SSASTForPreTraining.from_published(tmp_path / "late").mask_layer == 10
    assert SSASTForPreTraining.from_published(tmp_path / "late", mask_layer=3).config["mask_layer"] == 3


def test_a_folder_that_says_nothing_of_it_means_as_published(tmp_path, joint):
    joint.save_pretrained(tmp_path / "older")
    config = json.loads((tmp_path / "older/config.json").read_text())
    del config["mask_layer"]
    (tmp_path / "older/config.json").write_text(json.dumps(config))
    assert SSASTForPreTraining.from_pretrained(tmp_path / "older").mask_layer == 0


@pytest.mark.parametrize("layer", [-1, 12, 2.5, "8"])
def test_a_depth_that_does_not_exist_gets_a_sentence(layer):
    with pytest.raises(UserError, match=f"mask_layer {layer!r} is unknown; choose one of 0, 1, 2"):
        SSASTForPreTraining(**SIZES, mask_layer=layer)


def test_a_patch_that_is_masked_twice_gets_a_sentence(joint, noise):
    with pytest.raises(UserError, match="mask_index names a patch of a clip twice"):
        joint(noise(1, 96, 64), mask_index=torch.tensor([[3, 7, 3]]))


def test_targets_carry_no_gradient(joint, noise):
    index = torch.tensor([[0, 7, 8]])
    clips = noise(1, 96, 64).requires_grad_()
    joint(clips, mask_index=index).loss.backward()
    assert not clips.grad[:, :16, :16].any()
    assert clips.grad[:, :16, 16:32].any()


@pytest.mark.parametrize("count", [24, 25, 0])
def test_as_many_masks_as_patches_get_a_sentence(joint, noise, count):
    with pytest.raises(UserError, match=f"mask_patch is {count}, but a clip has 24 patches"):
        joint(noise(1, 96, 64), mask_patch=count)


@pytest.mark.parametrize("index", [[[0, 24]], [[-1, 3]], [[1], [2]], [[]]])
def test_masks_outside_the_grid_or_of_another_shape_get_a_sentence(joint, noise, index):
    with pytest.raises(UserError, match="mask_index"):
        joint(noise(1, 96, 64), mask_index=torch.tensor(index))


def test_an_unknown_objective_gets_a_sentence():
    with pytest.raises(UserError, match="objective 'joint' is unknown; choose one of pretrain_mpc"):
        SSASTForPreTraining("tiny", objective="joint")


def test_heads_have_as_many_outputs_as_a_patch_has_values():
    model = SSASTForPreTraining("tiny", 8, 4, 64, 40, seed=0)
    assert model.cpredlayer[2].out_features == model.gpredlayer[2].out_features == 32
    assert model(torch.randn(1, 40, 64), mask_patch=20).loss.isfinite()


def test_losses_are_float32_under_autocast(joint, noise):
    index = torch.arange(10).expand(2, 10)
    with torch.autocast("cpu", torch.bfloat16):
        half = joint(noise(2, 96, 64), mask_index=index)
    full = joint(noise(2, 96, 64), mask_index=index)
    assert {half.loss.dtype, half.nce.dtype, half.mse.dtype} == {torch.float32}
    torch.testing.assert_close(half.loss, full.loss, atol=0.05, rtol=0.01)


def test_masked_padding_of_full_clips_changes_nothing(joint, padded, noise):
    clips, index = noise(2, 96, 64), torch.arange(10).expand(2, 10)
    plain = joint(clips, mask_index=index)
    masked = padded(clips, mask_index=index, frames=torch.tensor([96, 96]))
    for name in ("loss", "nce", "accuracy", "chance", "mse"):
        torch.testing.assert_close(getattr(plain, name), getattr(masked, name), atol=1e-5, rtol=1e-5)


def test_padding_is_neither_target_nor_negative_nor_attended_to(padded, noise):
    # Two rows of two patches are own (frames 0 to 31), so of masks 0, 1, 6, 5 and 11 the last two drop out.
    clips, frames = noise(1, 96, 64), torch.tensor([32])
    other = clips.clone()
    other[:, 32:] = 1e4
    with_padding = padded(clips, mask_index=torch.tensor([[0, 1, 6, 5, 11]]), frames=frames)
    changed = padded(other, mask_index=torch.tensor([[0, 1, 6, 5, 11]]), frames=frames)
    without = padded(clips, mask_index=torch.tensor([[0, 1, 6]]), frames=frames)
    for name in ("loss", "nce", "accuracy", "chance", "mse"):
        torch.testing.assert_close(getattr(with_padding, name), getattr(changed, name), atol=0, rtol=0)
        torch.testing.assert_close(getattr(with_padding, name), getattr(without, name), atol=1e-5, rtol=1e-5)


def test_frames_matter_only_to_a_model_with_mask_padding(joint, noise):
    index = torch.arange(10).expand(2, 10)
    counted = joint(noise(2, 96, 64), mask_index=index, frames=torch.tensor([3, 0]))
    assert torch.equal(counted.loss, joint(noise(2, 96, 64), mask_index=index).loss)


@pytest.mark.parametrize("frames", [[0, 0], [96, 0], [1, 40]])
def test_clips_of_padding_give_no_nan(padded, noise, frames):
    padded.zero_grad()
    output = padded(noise(2, 96, 64), frames=torch.tensor(frames), generator=generator())
    output.loss.backward()
    assert output.loss.isfinite()
    assert output.accuracy.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in padded.parameters() if parameter.grad is not None)


def test_a_seed_gives_the_same_weights_masks_and_losses(noise):
    before = torch.random.get_rng_state()
    outputs = [
        SSASTForPreTraining(**SIZES, mask_patch=10, seed=5)(noise(2, 96, 64), generator=generator(7)) for _ in range(2)
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(outputs[0].loss, outputs[1].loss)
    assert torch.equal(outputs[0].mask_index, outputs[1].mask_index)


def test_a_few_steps_teach_it_something(noise):
    model = SSASTForPreTraining(**SIZES, mask_patch=6, seed=0)
    optimiser, clips = torch.optim.Adam(model.parameters(), 1e-3), noise(4, 96, 64)
    index = torch.arange(6).expand(4, 6)
    losses = []
    for _ in range(12):
        loss = model(clips, mask_index=index).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    assert F.relu(torch.tensor(losses)).isfinite().all()


@pytest.mark.usefixtures("full_width")
def test_pretraining_continues_from_a_published_file_at_another_length(published, noise):
    model = SSASTForPreTraining.from_published(published(), "pretrain_mpg", target_length=64, mask_patch=9)
    assert model.v.grid == (8, 4)
    assert model(noise(1, 64, 128)).mask_index.shape == (1, 9)


def test_pretraining_continues_from_an_own_folder_with_its_own_count(tmp_path, joint, noise):
    joint.save_pretrained(tmp_path / "run")
    model = SSASTForPreTraining.from_published(tmp_path / "run")
    index = torch.arange(10).expand(1, 10)
    assert model.mask_patch == 10
    assert torch.equal(model(noise(1, 96, 64), mask_index=index).loss, joint(noise(1, 96, 64), mask_index=index).loss)


@pytest.mark.usefixtures("full_width")
def test_a_wrong_size_names_both_sides(published):
    with pytest.raises(UserError, match="with model_size tiny, tshape 16, but model_size base, tshape 2 was"):
        SSASTForPreTraining.from_published(published(), model_size="base", fshape=16, tshape=2)


@pytest.mark.parametrize("shape", [(16, 16), (64, 2)])
@pytest.mark.parametrize("layer", [0, 10])
@pytest.mark.parametrize("objective", ["pretrain_mpc", "pretrain_mpg", "pretrain_joint"])
def test_losses_of_clips_at_their_own_length_are_those_with_all_their_padding(noise, shape, layer, objective):
    sizes = {"model_size": "tiny", "fshape": shape[0], "tshape": shape[1], "num_mel_bins": 64, "target_length": 320}
    options = {"mask_patch": 60, "mask_padding": True, "mask_layer": layer, "objective": objective, "seed": 0}
    model = SSASTForPreTraining(**sizes, **options)
    frames = torch.tensor([150, 130, 190])
    length = model.v.rounded(190)
    assert length == 192
    clips = noise(3, 320, 64)
    whole = model(clips, frames=frames, generator=generator())
    short = model(clips[:, :length], frames=frames, generator=generator())
    for name in ("loss", "nce", "accuracy", "chance", "mse", "count"):
        one, other = getattr(whole, name), getattr(short, name)
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    starts = torch.arange(model.v.grid[1]).repeat(model.v.grid[0]) * shape[1]
    for row, other, own in zip(whole.mask_index, short.mask_index, frames, strict=True):
        assert {n for n in row.tolist() if starts[n] < own} == {n for n in other.tolist() if starts[n] < own}
    gradients = [torch.autograd.grad(output.loss, model.v.pos_embed)[0] for output in (whole, short)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_masks_that_are_given_to_a_short_fbank_keep_their_numbers_and_stay_on_it(padded, noise):
    index, frames = torch.tensor([[0, 1, 12, 7]]), torch.tensor([40])
    whole = padded(noise(1, 96, 64), mask_index=index, frames=frames)
    short = padded(noise(1, 96, 64)[:, :64], mask_index=index, frames=frames)
    torch.testing.assert_close(whole.loss, short.loss, atol=1e-5, rtol=1e-5)
    assert torch.equal(short.mask_index, index)
    with pytest.raises(UserError, match="names a patch past the 4 columns of this fbank"):
        padded(noise(1, 96, 64)[:, :64], mask_index=torch.tensor([[0, 4]]), frames=frames)
