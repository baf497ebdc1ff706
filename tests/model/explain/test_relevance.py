"""Maps of what a model used: right by definition, right on the plane, and right against a truth that is planted."""

import pytest
import torch
from torch import nn

from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import SSASTEncoder
from ssast.model.explain import occlusion, relevance
from ssast.model.pretraining import SSASTForPreTraining

pytestmark = pytest.mark.usefixtures("narrow", "slim_nokd")

FRAMES, BINS = 32, 32
FRAME, PATCH = {"fshape": 32, "tshape": 4}, {"fshape": 8, "tshape": 8}
OVERLAP = PATCH | {"fstride": 4, "tstride": 4}
KINDS = {
    "frame": {},
    "square patches": PATCH,
    "overlapping patches": OVERLAP,
    "class tokens": {"task": "ft_cls"},
    "layer 5": {"layer": 5},
    "last layer": {"layer": 13},
    "weighted": {"weighted": True},
    "frozen": {"freeze": True},
    "padding masked": {"mask_padding": True},
    "one prefix token": {"model_size": "base_nokd"},
}


def classifier(num_labels=2, **settings):
    settings = {"model_size": "tiny", "task": "ft_avgtok", "freeze": False, **FRAME, **settings}
    sizes = {"num_mel_bins": BINS, "target_length": FRAMES}
    return SSASTForAudioClassification(num_labels, **sizes, **settings, seed=0).eval()


class Listener(nn.Module):
    """A model whose first logit is the mean of one box and whose second is its opposite."""

    rounding = None

    def __init__(self, box, **shape):
        super().__init__()
        self.v = SSASTEncoder("tiny", **(shape or PATCH), num_mel_bins=BINS, target_length=FRAMES)
        self.box = box

    def forward(self, fbank_BTF, frames=None):
        heard_B = fbank_BTF[(slice(None), *self.box)].mean(dim=(1, 2))
        return torch.stack([heard_B, -heard_B], dim=1)


BOX = (slice(8, 16), slice(16, 24))


# Folding back to the plane


@pytest.mark.parametrize("shape", [FRAME, PATCH, OVERLAP])
def test_a_constant_stays_constant_on_the_plane(shape):
    encoder = SSASTEncoder("tiny", **shape, num_mel_bins=BINS, target_length=FRAMES)
    plane_TF = relevance.fold(torch.full((encoder.num_patches,), 3.0), encoder)
    assert plane_TF.shape == (FRAMES, BINS)
    torch.testing.assert_close(plane_TF, torch.full((FRAMES, BINS), 3.0))


def test_a_patch_lands_on_its_own_place():
    encoder = SSASTEncoder("tiny", **PATCH, num_mel_bins=BINS, target_length=FRAMES)
    values_P = torch.zeros(encoder.num_patches)
    values_P[2 * encoder.grid[1] + 1] = 1  # third in frequency, second in time
    expected_TF = torch.zeros(FRAMES, BINS)
    expected_TF[8:16, 16:24] = 1
    torch.testing.assert_close(relevance.fold(values_P, encoder), expected_TF)


def test_overlapping_patches_are_averaged_and_land_on_the_same_place():
    """Each patch holds the share of the box that it covers; both strides have their highest values inside the box."""
    box_TF = torch.zeros(FRAMES, BINS)
    box_TF[BOX] = 1
    for shape in (PATCH, OVERLAP):
        encoder = SSASTEncoder("tiny", **shape, num_mel_bins=BINS, target_length=FRAMES)
        plane_TF = relevance.fold(encoder.patches(box_TF[None]).mean(dim=2)[0], encoder)
        top = plane_TF >= plane_TF.max() - 1e-6
        centre = torch.nonzero(top).float().mean(dim=0)
        assert centre.tolist() == [11.5, 19.5]


def test_points_that_no_patch_covers_are_zero():
    encoder = SSASTEncoder("tiny", 32, 5, num_mel_bins=BINS, target_length=FRAMES)
    plane_TF = relevance.fold(torch.ones(encoder.num_patches), encoder)
    assert plane_TF[:30].eq(1).all()
    assert plane_TF[30:].eq(0).all()


# Attention and relevance


@pytest.mark.parametrize(("task", "masks"), [("ft_cls", False), ("ft_avgtok", False), ("ft_avgtok", True)])
def test_pooled_tokens_are_those_of_the_task(task, masks):
    model = classifier(task=task, mask_padding=masks)
    weight_BL = relevance.pooled_tokens(model, 1, torch.tensor([9]))
    expected = {("ft_cls", False): [0, 1], ("ft_avgtok", False): range(2, 10), ("ft_avgtok", True): [2, 3, 4]}[
        task, masks
    ]
    assert weight_BL[0].nonzero().flatten().tolist() == list(expected)
    assert weight_BL.sum().item() == pytest.approx(1)


def sums_to_one(attentions):
    for weights_BHLL in attentions:
        torch.testing.assert_close(weights_BHLL.sum(dim=-1), torch.ones(weights_BHLL.shape[:-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_attention_sum_to_one(kind, noise):
    model, frames_B = classifier(**KINDS[kind]), torch.tensor([FRAMES, 9])
    trace = model.v.trace(noise(2, FRAMES, BINS), model.layer, frames_B if model.mask_padding else None)
    assert len(trace.attentions) == (5 if kind == "layer 5" else 12)
    sums_to_one(trace.attentions)


@pytest.mark.parametrize("masks", [False, True])
def test_rows_of_a_pretraining_models_attention_sum_to_one(masks, noise):
    model = SSASTForPreTraining("tiny", **PATCH, num_mel_bins=BINS, target_length=FRAMES, mask_padding=masks, seed=0)
    frames_B = torch.tensor([FRAMES, 9]) if masks else None
    with torch.no_grad():
        sums_to_one(model.v.trace(noise(2, FRAMES, BINS), frames=frames_B).attentions)


@pytest.mark.parametrize("kind", KINDS)
def test_what_pooled_tokens_attend_to_and_rollout_are_shares(kind, noise):
    """With the prefix, which is not shown, they sum to 1."""
    model = classifier(**KINDS[kind])
    attention_BNHP, rollout_BP = relevance.relevance_of_clip(model, noise(2, FRAMES, BINS), torch.tensor([FRAMES, 9]))
    assert attention_BNHP.shape[2:] == (model.v.heads, model.v.num_patches)
    assert ((attention_BNHP.sum(dim=-1) > 0.4) & (attention_BNHP.sum(dim=-1) < 1)).all()
    assert ((rollout_BP.sum(dim=-1) > 0.001) & (rollout_BP.sum(dim=-1) < 1)).all()


def test_rows_carried_back_equal_the_published_product_of_matrices():
    generator = torch.Generator().manual_seed(0)
    flows = [torch.rand(1, 6, 6, generator=generator) for _ in range(4)]
    start_BL = torch.rand(1, 6, generator=generator)
    whole = torch.eye(6)
    for flow in flows:  # R = R + A R, Chefer et al. 2021
        whole = whole + flow[0] @ whole
    torch.testing.assert_close(relevance.through_blocks(flows, {4: start_BL}, mixed=False), start_BL @ whole)


def test_relevance_of_two_states_is_the_sum_of_each():
    generator = torch.Generator().manual_seed(0)
    flows = [torch.rand(1, 6, 6, generator=generator) for _ in range(4)]
    first, second = torch.rand(2, 1, 6, generator=generator)
    both = relevance.through_blocks(flows, {2: first, 4: second}, mixed=True)
    apart = [relevance.through_blocks(flows, {n: start}, mixed=True) for n, start in ((2, first), (4, second))]
    torch.testing.assert_close(both, apart[0] + apart[1])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_can_be_explained(kind, noise):
    model = classifier(**KINDS[kind])
    found = relevance.explain(model, noise(2, FRAMES, BINS), [1, 0], torch.tensor([FRAMES, 9]), steps=2)
    blocks = 5 if kind == "layer 5" else 12
    patches = model.v.num_patches
    assert found.relevance.shape == found.published.shape == (2, 2, patches)
    assert found.attention.shape == (2, blocks, model.v.heads, patches)
    assert found.input_x_gradient.shape == found.integrated_gradients.shape == (2, 2, FRAMES, BINS)
    assert (found.relevance >= 0).all()
    assert (found.published >= 0).all()
    assert found.relevance.sum() > 0
    assert found.published.sum() > 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_relevance_as_published_equals_a_plain_rewriting_of_it(noise):
    """Chefer et al. 2021: R starts as the identity, each block makes it R + A R, the pooled tokens' rows are read."""
    model, fbank_BTF = classifier(task="ft_cls"), noise(1, FRAMES, BINS)
    logits_BN, trace = model.trace(fbank_BTF)
    grads = torch.autograd.grad(logits_BN[0, 1], trace.attentions)
    tokens = model.v.num_prefix + model.v.num_patches
    whole_LL = torch.eye(tokens)
    for weights_BHLL, grad_BHLL in zip(trace.attentions, grads, strict=True):
        whole_LL = whole_LL + (weights_BHLL * grad_BHLL)[0].clamp(min=0).mean(dim=0) @ whole_LL
    found = relevance.explain(model, fbank_BTF, [1], steps=1).published[0, 0]
    torch.testing.assert_close(found, whole_LL[:2, 2:].mean(dim=0).detach())


def test_integrated_gradients_add_up_to_the_change_of_the_logit(noise):
    model, fbank_BTF = classifier(**PATCH), 2 * noise(2, FRAMES, BINS)
    found = relevance.explain(model, fbank_BTF, [0, 1], steps=64)
    change_BN = found.logits - model(torch.zeros_like(fbank_BTF)).detach()
    torch.testing.assert_close(found.integrated_gradients.sum(dim=(2, 3)), change_BN, rtol=0.1, atol=0.01)


def test_labels_come_in_the_order_asked_for(noise):
    model, fbank_BTF = classifier(), noise(1, FRAMES, BINS)
    found, other = (relevance.explain(model, fbank_BTF, order).relevance for order in ([0, 1], [1, 0]))
    torch.testing.assert_close(found, other.flip(1))


def test_without_a_block_relevance_is_what_each_patch_adds(noise):
    found = relevance.explain(classifier(layer=0), noise(1, FRAMES, BINS), [0])
    assert found.attention.shape[1] == 0
    assert found.relevance.sum() > 0
    nothing = relevance.explain(classifier(layer=0, task="ft_cls"), noise(1, FRAMES, BINS), [0])
    assert nothing.relevance.sum() == 0
    assert nothing.input_x_gradient.abs().sum() == 0


def test_padding_that_is_masked_gets_nothing(noise):
    model = classifier(mask_padding=True)
    found = relevance.explain(model, noise(1, FRAMES, BINS), [0], torch.tensor([16]))
    assert found.relevance[0, 0, :4].sum() > 0
    assert found.relevance[0, 0, 4:].sum() == 0
    assert found.rollout[0, 4:].sum() == 0
    assert found.input_x_gradient[0, 0, 16:].abs().sum() == 0


@pytest.mark.parametrize("task", ["ft_cls", "ft_avgtok"])
@pytest.mark.parametrize("shape", [{"fshape": 32, "tshape": 2}, PATCH, OVERLAP])
@pytest.mark.parametrize("layer", [0, 13])
def test_a_clip_is_explained_at_its_own_length_as_with_all_its_padding(noise, shape, task, layer, monkeypatch):
    sizes = {"num_mel_bins": BINS, "target_length": 200}
    how = {"task": task, "layer": layer, "freeze": False, "mask_padding": True, "seed": 0}
    model = SSASTForAudioClassification(2, "tiny", **sizes, **shape, **how).eval()
    fbank_BTF, frames = noise(1, 200, BINS), torch.tensor([50])
    gone_KC, cells_TF = torch.eye(30, dtype=torch.bool), torch.arange(200)[:, None].expand(-1, BINS) % 30

    def found():
        every = relevance.explain(model, fbank_BTF, [1, 0], frames, steps=2)
        return [*vars(every).values(), occlusion.logits_without(model, fbank_BTF[0], gone_KC, cells_TF, 50)]

    short = found()
    monkeypatch.setattr(SSASTForAudioClassification, "rounding", None)
    for own, whole in zip(short, found(), strict=True):
        torch.testing.assert_close(own, whole, atol=1e-5, rtol=1e-4)
    assert model.v.target_length == 200
    assert model.v.pos_embed.requires_grad


def test_input_x_gradient_is_the_derivative_along_the_input(noise):
    model, fbank_BTF = classifier(), noise(1, FRAMES, BINS)
    product = relevance.explain(model, fbank_BTF, [0]).input_x_gradient.sum().item()
    step = 1e-2
    with torch.no_grad():
        change = model(fbank_BTF * (1 + step))[0, 0] - model(fbank_BTF * (1 - step))[0, 0]
    assert product == pytest.approx(change.item() / (2 * step), rel=0.05, abs=1e-3)


# Taking away


def test_occlusion_marks_the_box_that_the_model_hears():
    plane_NTF = occlusion.occlusion(Listener(BOX), torch.ones(FRAMES, BINS), FRAMES, size=(8, 8))
    box_TF = torch.zeros(FRAMES, BINS)
    box_TF[BOX] = 1
    torch.testing.assert_close(plane_NTF[0], box_TF)
    torch.testing.assert_close(plane_NTF[1], -box_TF)


def test_occlusion_leaves_the_padding_alone():
    plane_NTF = occlusion.occlusion(Listener(BOX, **FRAME), torch.ones(FRAMES, BINS), 10)
    assert plane_NTF[0, 8:10].gt(0).all()
    assert plane_NTF[:, 10:].eq(0).all()


@pytest.mark.parametrize(("shape", "frames"), [(FRAME, 32), (PATCH, 32), (OVERLAP, 20), (FRAME, 3)])
def test_occlusion_needs_few_passes_of_whole_patches(shape, frames):
    encoder = SSASTEncoder("tiny", **shape, num_mel_bins=BINS, target_length=FRAMES)
    height, width = occlusion.occlusion_size(encoder, frames)
    assert height % shape["fshape"] == 0
    assert width % shape["tshape"] == 0
    assert len(occlusion.own_cells(occlusion.cells(encoder, (height, width)), frames)) <= occlusion.MOST_BLOCKS


def test_a_true_map_is_faithful_and_its_opposite_is_not():
    model, fbank_TF = Listener(BOX), torch.ones(FRAMES, BINS)
    box_TF = torch.zeros(FRAMES, BINS)
    box_TF[BOX] = 1
    maps_MTF = torch.stack([box_TF, -box_TF])
    found = occlusion.faithfulness(model, fbank_TF, maps_MTF, FRAMES, generator=torch.Generator().manual_seed(0))
    assert found.top[0, :, 0].tolist() == [1, 1, 1]
    assert found.top[1, :, 0].tolist() == [0, 0, 0]
    assert found.random.shape == (5, 3, 2)
    assert 0 <= found.random[:, 0, 0].mean() < 0.9


def test_the_top_share_is_taken_from_own_cells_only():
    cells_TF = occlusion.cells(Listener(BOX).v)
    map_TF = torch.arange(FRAMES).float()[:, None].expand(FRAMES, BINS)
    own_C = occlusion.own_cells(cells_TF, 16)
    chosen = occlusion.top_cells(map_TF, cells_TF, own_C, 0.5)
    assert sorted(chosen.tolist()) == [1, 5, 9, 13]


# Pretrained models


@pytest.mark.parametrize("objective", ["pretrain_joint", "pretrain_mpc", "pretrain_mpg"])
def test_guesses_are_those_of_pretraining(objective, noise):
    sizes = {"num_mel_bins": BINS, "target_length": FRAMES}
    model = SSASTForPreTraining("tiny", **PATCH, **sizes, objective=objective, seed=0).eval()
    fbank_TF = noise(FRAMES, BINS)
    mask_1M = torch.tensor([[0, 5, 9]])
    guess = occlusion.guesses(model, fbank_TF, mask_1M[0], FRAMES)
    output = model(fbank_TF[None], mask_index=mask_1M)
    assert guess.hidden[8:16, 8:16].eq(0).all()  # patch 5
    torch.testing.assert_close(guess.hidden[8:16, :8], fbank_TF[8:16, :8])  # patch 1
    if output.mse is None:
        assert guess.drawn is None
    else:
        hidden = guess.hidden.eq(0)
        mse = (guess.drawn - fbank_TF)[hidden].square().mean()
        torch.testing.assert_close(mse, output.mse.detach())
        torch.testing.assert_close(guess.drawn[~hidden], fbank_TF[~hidden])
    if output.accuracy is None:
        assert guess.right is None
    else:
        assert guess.right.float().mean() == output.accuracy


@pytest.mark.parametrize("mask_padding", [True, False])
def test_guesses_are_counted_among_the_clips_own_patches_only(mask_padding, noise):
    sizes = {"num_mel_bins": BINS, "target_length": FRAMES, "mask_padding": mask_padding}
    model = SSASTForPreTraining("tiny", **PATCH, **sizes, seed=0).eval()
    fbank_TF = noise(FRAMES, BINS)
    fbank_TF[8:] = 0  # of the 4 x 4 patches, column 0 is the clip's own: 0, 4, 8 and 12
    guess = occlusion.guesses(model, fbank_TF, torch.tensor([0, 1, 2, 3, 8, 15]), frames=8)
    assert guess.mask_index.tolist() == [0, 8]
    assert len(guess.right) == 2
    assert torch.equal(guess.drawn[8:], fbank_TF[8:])
    assert guess.hidden[:8, :8].eq(0).all()
    assert not torch.equal(guess.drawn[:8, :8], fbank_TF[:8, :8])


def test_a_pretrained_model_can_be_looked_at(noise):
    model = SSASTForPreTraining("tiny", **FRAME, num_mel_bins=BINS, target_length=FRAMES, seed=0).eval()
    attention_BNHP, rollout_BP = relevance.relevance_of_clip(model, noise(2, FRAMES, BINS), torch.tensor([32, 16]))
    assert attention_BNHP.shape == (2, 12, 3, 8)
    assert rollout_BP.shape == (2, 8)


# A planted truth


def planted(clips, seed, height=8, width=4):
    """Noise with a distractor in every clip; half have a sound at a known time and band, which is the label."""
    generator = torch.Generator().manual_seed(seed)
    fbank_BTF = 0.4 * torch.randn(clips, FRAMES, BINS, generator=generator)
    has_B = torch.arange(clips) % 2
    starts_2B = torch.randint(0, FRAMES // width, (2, clips), generator=generator) * width
    inside_BTF = torch.zeros(clips, FRAMES, BINS, dtype=torch.bool)
    for clip, (start, other) in enumerate(starts_2B.T.tolist()):
        fbank_BTF[clip, other : other + width, :height] += 2
        inside_BTF[clip, start : start + width, 16 : 16 + height] = True
        if has_B[clip]:
            fbank_BTF[clip, start : start + width, 16 : 16 + height] += 2
    return fbank_BTF, has_B.float()[:, None], inside_BTF


def trained(steps, width, **settings):
    """A tiny model that has learned to hear the planted sound, within seconds."""
    model = classifier(1, **settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    for step in range(steps):
        fbank_BTF, targets_B1, _ = planted(16, step, width=width)
        loss = model.loss({"fbank": fbank_BTF, "targets": targets_B1})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@pytest.mark.parametrize(
    ("settings", "width", "steps"),
    [
        ({"tshape": 2}, 2, 40),
        pytest.param({"tshape": 2, "task": "ft_cls"}, 2, 60, marks=pytest.mark.slow),
        pytest.param({"task": "ft_cls"}, 4, 40, marks=pytest.mark.slow),
        (PATCH, 8, 30),
        pytest.param(OVERLAP, 8, 40, marks=pytest.mark.slow),
    ],
    ids=["frame", "frame, class tokens", "wide frame, class tokens", "patch", "overlap, very sure"],
)
def test_relevance_lies_on_the_planted_sound(settings, width, steps, request):
    """At least three times its share of the time (frame models) or of the area (patch models), and faithful."""
    if settings is OVERLAP:  # so narrow a model that is so sure saturates, and its map spreads
        request.getfixturevalue("full_width")
    model = trained(steps, width, **settings).eval()
    fbank_BTF, _, inside_BTF = (part[1::2] for part in planted(40, 1000, width=width))
    if model.v.grid[0] == 1:
        inside_BTF = inside_BTF.any(dim=2, keepdim=True).expand_as(inside_BTF)
    found = relevance.explain(model, fbank_BTF, [0])
    plane_BTF = relevance.fold(found.relevance[:, 0], model.v)
    share_B = (plane_BTF * inside_BTF).sum(dim=(1, 2)) / plane_BTF.sum(dim=(1, 2))
    assert (found.logits > 0).float().mean() >= 0.9
    assert share_B.min() >= 3 * inside_BTF[0].float().mean()
    drops = [
        occlusion.faithfulness(model, fbank_TF, map_TF[None], FRAMES, generator=torch.Generator().manual_seed(0))
        for fbank_TF, map_TF in zip(fbank_BTF, plane_BTF, strict=True)
    ]
    wins = [one.top[0, 1, 0] > one.random[:, 1, 0].mean() for one in drops]
    assert sum(wins) >= 0.95 * len(wins)
