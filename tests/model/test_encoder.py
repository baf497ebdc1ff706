import pytest
import torch
from torch.nn import functional as F

from ssast.errors import UserError
from ssast.model.encoder import SIZES, SSASTEncoder


@pytest.fixture(scope="module")
def square():
    torch.manual_seed(0)
    return SSASTEncoder("tiny", 16, 16, 10, 10, num_mel_bins=64, target_length=80).eval()


def test_patches_are_the_published_unfolding_frequency_major(square, noise):
    clips = noise(2, 80, 64)
    unfolded = F.unfold(clips.transpose(1, 2).unsqueeze(1), (16, 16), stride=(10, 10)).transpose(1, 2)
    assert torch.equal(square.patches(clips), unfolded)
    assert square.grid == (5, 7)


def test_embedding_is_the_published_convolution(square, noise):
    clips = noise(2, 80, 64)
    convolved = square.patch_embed.proj(clips.transpose(1, 2).unsqueeze(1)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(square.embed(square.patches(clips)), convolved, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_its_width_and_prefix(size):
    with torch.device("meta"):
        encoder = SSASTEncoder(size)
    names = dict(encoder.named_parameters())
    assert names["pos_embed"].shape == (1, SIZES[size].prefix + 512, SIZES[size].width)
    assert ("dist_token" in names) == (size != "base_nokd")


def test_no_first_weights_are_drawn_where_those_of_a_file_follow(monkeypatch):
    """Torch draws them by the Python code of its compiler there, which took half of a tiny model's loading."""
    drawn = []
    for layer in (torch.nn.Linear, torch.nn.LayerNorm):
        monkeypatch.setattr(layer, "reset_parameters", lambda self: drawn.append(self))
    with torch.device("meta"):
        SSASTEncoder("tiny")
    assert not drawn
    SSASTEncoder("tiny")
    assert len(drawn) == 12 * 6 + 1


def test_the_last_state_is_the_norm_of_the_one_before(square, noise):
    states = square(noise(1, 80, 64))
    assert len(states) == 14
    assert torch.equal(states[13], square.norm(states[12]))


@pytest.mark.parametrize("layer", [0, 3, 12, 13, -1])
def test_states_stop_at_the_layer_asked_for_and_no_later_block_runs(square, noise, layer):
    ran = []
    handles = [
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, block in enumerate(square.blocks)
    ]
    states = square(noise(1, 80, 64), layer)
    for handle in handles:
        handle.remove()
    last = layer % 14
    assert len(states) == last + 1
    assert ran == list(range(min(last, 12)))


@pytest.mark.parametrize("layer", [14, 99, -2, 1.0, "3", True])
def test_a_layer_that_does_not_exist_is_named(square, noise, layer):
    with pytest.raises(UserError, match=f"layer {layer!r} does not exist"):
        square(noise(1, 80, 64), layer)


def test_traced_states_equal_the_fast_ones_and_attention_rows_sum_to_one(square, noise):
    clips = noise(2, 80, 64)
    trace = square.trace(clips)
    for fast, traced in zip(square(clips), trace.states, strict=True):
        torch.testing.assert_close(fast, traced, atol=2e-5, rtol=1e-4)
    assert [weights.shape for weights in trace.attentions] == [(2, 3, 37, 37)] * 12
    torch.testing.assert_close(trace.attentions[5].sum(-1), torch.ones(2, 3, 37))


def test_one_clip_alone_equals_the_same_clip_in_a_batch(square, noise):
    clips = noise(4, 80, 64)
    torch.testing.assert_close(square(clips[2:3])[13][0], square(clips)[13][2], atol=1e-5, rtol=0)


def test_padding_changes_nothing_when_frames_are_counted(square, noise):
    clips, frames = noise(3, 80, 64), torch.tensor([80, 33, 0])
    other = clips.clone()
    other[1, 33:], other[2] = float("nan"), 1e6
    valid = square.hide_padding(clips, frames)[1]
    assert valid.view(3, 5, 7)[:, 0].sum(1).tolist() == [7, 4, 0]
    first, second = square(clips, frames=frames)[13], square(other, frames=frames)[13]
    assert first.isfinite().all()
    assert torch.equal(first, second)
    torch.testing.assert_close(first[0], square(clips)[13][0], atol=1e-5, rtol=1e-5)


def test_no_token_attends_to_padding(square, noise):
    weights = square.trace(noise(2, 80, 64), frames=torch.tensor([80, 33])).attentions[7][1]
    hidden = torch.arange(7).repeat(5) * 10 >= 33
    assert (weights[:, :, 2:][:, :, hidden] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 37))


def test_frame_counts_for_other_than_every_clip_are_refused(square, noise):
    with pytest.raises(UserError, match="2 frame counts came with 3 clips"):
        square(noise(3, 80, 64), frames=torch.tensor([1, 2]))


@pytest.mark.parametrize(
    "sizes",
    [
        {"fshape": 16, "tshape": 16, "fstride": 10, "tstride": 10, "num_mel_bins": 64},  # overlapping squares
        {"fshape": 16, "tshape": 16, "num_mel_bins": 64},
        {"fshape": 64, "tshape": 2, "num_mel_bins": 64},
        {"fshape": 16, "tshape": 4, "fstride": 16, "tstride": 30, "num_mel_bins": 64},  # with gaps between
    ],
)
@pytest.mark.parametrize("own", [1, 59, 64, 65, 130, 199, 200])
def test_a_clip_at_its_own_length_has_the_states_that_it_has_with_all_its_padding(sizes, own, noise):
    torch.manual_seed(0)
    encoder = SSASTEncoder("tiny", target_length=200, **sizes).eval()
    clip, frames = noise(1, 200, 64), torch.tensor([own])
    columns = (encoder.rounded(own) - encoder.shape[1]) // encoder.stride[1] + 1
    whole, cut = encoder(clip, frames=frames), encoder(clip[:, : encoder.rounded(own)], frames=frames)
    is_own = torch.arange(encoder.grid[1]) * encoder.stride[1] < own
    assert is_own.sum() <= columns
    for state, short in zip(whole, cut, strict=True):
        torch.testing.assert_close(short[:, :2], state[:, :2], atol=2e-5, rtol=1e-4)
        at_home = [tokens[0, 2:].unflatten(0, (encoder.grid[0], -1)) for tokens in (state, short)]
        expected, found = at_home[0][:, is_own], at_home[1][:, is_own[:columns]]
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_a_short_fbank_is_refused_where_padding_is_not_counted(square, noise):
    with pytest.raises(UserError, match="prepare it with the model's target_length"):
        square(noise(1, 40, 64))
    assert square(noise(1, 40, 64), frames=torch.tensor([30]))[13].shape == (1, 2 + 5 * 3, 192)


@pytest.mark.parametrize("shape", [(1, 81, 64), (1, 80, 128), (80, 64)])
def test_an_fbank_of_another_shape_names_both_sides(square, noise, shape):
    with pytest.raises(UserError, match=r"takes \(clips, 80 frames, 64 mel bins\)"):
        square(noise(*shape))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"model_size": "huge"}, "model_size 'huge' is unknown; choose one of tiny, small, base, base_nokd"),
        ({"target_length": 1}, "target_length is 1 frames, less than the 2 frames of one patch"),
        ({"num_mel_bins": 64}, "num_mel_bins is 64, less than the 128 mel bins of one patch"),
        ({"tstride": 0}, "tstride is 0"),
    ],
)
def test_sizes_without_room_for_a_patch_are_refused(sizes, said):
    with pytest.raises(UserError, match=said), torch.device("meta"):
        SSASTEncoder(**{"model_size": "tiny", **sizes})


def test_initial_weights_come_from_the_ambient_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return SSASTEncoder("tiny", target_length=20).state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["cls_token"], other["cls_token"])
    assert first["blocks.0.mlp.fc1.weight"].std().item() == pytest.approx((2 / (192 + 768)) ** 0.5, rel=0.02)
    assert not first["blocks.0.mlp.fc1.bias"].any()


@pytest.mark.parametrize("shape", [{"fshape": 128, "tshape": 2}, {"fshape": 16, "tshape": 16}])
def test_initial_positions_are_all_different_and_most_alike_between_neighbours(shape):
    encoder = SSASTEncoder("tiny", **shape, target_length=160)
    positions_PD = encoder.pos_embed.detach()[0, encoder.num_prefix :]
    distance_PP = torch.cdist(positions_PD, positions_PD).fill_diagonal_(torch.inf)
    assert distance_PP.min() > 0.1
    nearest_P = distance_PP.argmin(dim=1)
    steps = {1} if encoder.grid[0] == 1 else {1, encoder.grid[1]}
    assert {abs(int(other) - index) for index, other in enumerate(nearest_P)} <= steps


def test_bf16_on_a_cpu_stays_close_to_float32(square, noise):
    clips = noise(2, 80, 64)
    with torch.autocast("cpu", torch.bfloat16):
        half = square(clips)[13].float()
    assert F.cosine_similarity(half.flatten(1), square(clips)[13].flatten(1)).min() > 0.999
