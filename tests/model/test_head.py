import pytest
import torch

from ssast.errors import UserError
from ssast.model.head import ClassificationHead, pool_patches, pool_prefix


def test_the_order_is_dense_activation_norm_dropout_output():
    assert list(ClassificationHead(8, 3).head._modules) == ["dense", "activation", "norm", "dropout", "outproj"]
    assert list(ClassificationHead(8, 3, layernorm=False).head._modules) == [
        "dense",
        "activation",
        "dropout",
        "outproj",
    ]


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
def test_every_activation_makes_logits(activation):
    head = ClassificationHead(8, 3, hidden=5, activation=activation)
    assert head(torch.randn(2, 8)).shape == (2, 3)
    assert head.dense(torch.randn(2, 8)).shape == (2, 5)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"activation": "mish"}, "choose one of relu, gelu, silu, tanh"), ({"final_dropout": 1.5}, "from 0 to 1")],
)
def test_options_out_of_range_say_what_is_allowed(options, said):
    with pytest.raises(UserError, match=said):
        ClassificationHead(8, 3, **options)


def test_no_label_gets_a_sentence():
    with pytest.raises(UserError, match="at least 1 label"):
        ClassificationHead(8, 0)


def test_pooling_takes_prefix_or_patches_and_only_valid_ones():
    tokens = torch.arange(12.0).view(2, 6, 1)
    valid = torch.tensor([[True, True, False, False], [False] * 4])
    assert pool_prefix(tokens, 2).flatten().tolist() == [0.5, 6.5]
    assert pool_patches(tokens, 2).flatten().tolist() == [3.5, 9.5]
    assert pool_patches(tokens, 2, valid).flatten().tolist() == [2.5, 0.0]


def test_a_published_head_is_layernorm_and_output_layer_alone():
    head = ClassificationHead(6, 3, kind="published", final_dropout=0.9, activation="tanh", layernorm=False)
    assert set(head.state_dict()) == {
        f"head.{name}.{part}" for name in ("norm", "outproj") for part in ("weight", "bias")
    }
    pooled = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    norm, output = head.head.norm, head.head.outproj
    mean, variance = pooled.mean(dim=1, keepdim=True), pooled.var(dim=1, unbiased=False, keepdim=True)
    expected = ((pooled - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias) @ output.weight.T + output.bias
    assert torch.allclose(head.train()(pooled), expected, atol=1e-6)
    with pytest.raises(UserError, match="head 'linear' is unknown; choose one of dense, published"):
        ClassificationHead(6, 3, kind="linear")
