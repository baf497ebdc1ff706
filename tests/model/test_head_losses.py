import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ssast.errors import UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.head import SharedCuts, loss_of, scores_of
from ssast.model.label_kinds import LabelKind, LabelKinds

LEVELS = (0.0, 1.0, 2.0, 3.0)
MIXED = LabelKinds(
    (
        LabelKind("ill"),
        LabelKind("rough", "ordinal", LEVELS, weight=2.0),
        LabelKind("voice", "CE", ("a", "b", "c")),
        LabelKind("age", "MSE", weight=0.5),
    )
)
GAP = float("nan")


def chance(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def small(kinds):
    return SSASTForAudioClassification(
        num_labels=len(kinds.names),
        labels=kinds.names,
        kinds=kinds.entries(),
        loss=kinds.loss,
        model_size="tiny",
        fshape=16,
        tshape=16,
        num_mel_bins=16,
        target_length=32,
        seed=1,
        final_dropout=0.0,
    )


def batch(targets):
    return {"pooled": chance(len(targets), 1, 192), "targets": torch.tensor(targets)}


def test_losses_by_kind_are_those_of_torch_counted_by_their_weights():
    targets = torch.from_numpy(MIXED.spread(np.array([[1, 2, 0, 0.3], [0, 0, 2, -1.0]])))
    logits = chance(2, 8).double()
    found, known = loss_of(MIXED)(logits, targets, ~targets.isnan())
    binary = F.binary_cross_entropy_with_logits
    expected = [
        binary(logits[:, 0], targets[:, 0], reduction="none"),
        2 * binary(logits[:, 1:4], targets[:, 1:4], reduction="none").mean(dim=1),
        F.cross_entropy(logits[:, 4:7], torch.tensor([0, 2]), reduction="none"),
        0.5 * (logits[:, 7] - targets[:, 7]) ** 2,
    ]
    assert torch.allclose(found, torch.stack(expected, dim=1))
    assert known.all()
    assert known.shape == (2, 4)


def test_soft_targets_of_a_choice_are_the_shares_of_raters():
    kinds = LabelKinds((LabelKind("voice", "CE", ("a", "b", "c")),))
    logits, shares = chance(5, 3), chance(5, 3).softmax(dim=1)
    found, _ = loss_of(kinds)(logits, shares, ~shares.isnan())
    assert torch.allclose(found[:, 0], F.cross_entropy(logits, shares, reduction="none"))


def test_a_label_that_is_not_known_teaches_nothing_and_the_others_do():
    model = small(MIXED)
    model.train()
    whole = MIXED.spread(np.array([[1, GAP, 0, 0.3], [GAP, GAP, 1, GAP]])).astype(np.float32).tolist()
    found = model.loss(batch(whole))
    assert int(found["count"]) == 4
    found["loss"].backward()
    assert model.mlp_head.cuts.falls[0].grad.abs().sum() == 0
    rows = model.mlp_head.head.outproj.weight.grad.abs().sum(dim=1)
    assert (rows > 0).tolist() == [True, False, True, True, True, True]


def test_scores_are_probabilities_of_cuts_and_kinds_and_values():
    logits = chance(6, 8)
    found = scores_of(MIXED)(logits)
    assert torch.equal(found[:, :4], torch.sigmoid(logits[:, :4]))
    assert torch.allclose(found[:, 4:7].sum(dim=1), torch.ones(6))
    assert torch.equal(found[:, 7], logits[:, 7])


def test_no_level_of_a_scale_gets_less_than_nothing_whatever_was_learned():
    cuts = SharedCuts(LabelKinds((LabelKind("rough", "ordinal", tuple(map(float, range(12)))),)))
    with torch.no_grad():
        cuts.falls[0].copy_(5 * chance(11))
    scores = torch.sigmoid(cuts(4 * chance(200, 1)))
    assert scores.shape == (200, 11)
    assert (scores.diff(dim=1) <= 0).all()


def test_all_cuts_of_a_scale_share_one_row_of_weights():
    model = small(LabelKinds((LabelKind("rough", "ordinal", LEVELS),)))
    assert model.mlp_head.head.outproj.weight.shape == (1, 192)
    logits = model.classify(chance(9, 1, 192))
    apart = logits - logits[:, :1]
    assert torch.allclose(apart, apart[:1].expand(9, -1), atol=1e-5)


def test_cuts_begin_where_the_training_clips_have_them():
    cuts = SharedCuts(LabelKinds((LabelKind("rough", "ordinal", LEVELS),)))
    cuts.begin([[0.9, 0.5, 0.04]])
    assert torch.sigmoid(cuts(torch.zeros(1, 1)))[0].tolist() == pytest.approx([0.9, 0.5, 0.04], abs=1e-4)
    cuts.begin([[0.9, 0.9, 0.0]])
    found = torch.sigmoid(cuts(torch.zeros(1, 1)))[0].tolist()
    assert found[0] > found[1] > found[2] > 0, "a level that nobody has can still be learned"


def test_weights_of_the_yes_count_for_yes_no_labels_alone():
    kinds = LabelKinds((LabelKind("a", weight=3.0), LabelKind("b")))
    model = small(kinds)
    model.weigh_positives([2.0, 5.0])
    given = batch([[1.0, 1.0], [0.0, 1.0]])
    logits, targets = model.classify(given["pooled"]), given["targets"]
    each = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=torch.tensor([2.0, 5.0]), reduction="none")
    expected = (each * torch.tensor([3.0, 1.0])).mean()
    assert torch.allclose(model.loss(given)["loss"], expected)
    with pytest.raises(UserError, match="made for mixed"):
        small(MIXED).weigh_positives([1.0, 1.0, 1.0, 1.0])


def test_targets_of_another_width_are_refused_with_the_number_of_outputs():
    with pytest.raises(UserError, match="one target for each of its 8 outputs"):
        small(MIXED).loss(batch([[1.0, 2.0, 0.0, 0.3]]))


def test_a_saved_model_of_several_kinds_answers_the_same_when_it_is_loaded(tmp_path):
    model = small(MIXED)
    model.begin_at([[0.8, 0.4, 0.1]])
    model.save_pretrained(tmp_path)
    again = SSASTForAudioClassification.from_pretrained(tmp_path)
    fbank = chance(3, 32, 16)
    assert torch.equal(again.predict_scores(fbank), model.eval().predict_scores(fbank))
    assert (again.label_kinds, again.config["loss"]) == (MIXED, "mixed")
