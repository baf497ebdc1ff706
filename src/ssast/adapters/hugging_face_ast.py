"""Export a model as a folder that `transformers` loads as its AST, and measure how closely both agree.

Shapes: B batch, T frames, F mel bins, L tokens, D width, N labels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ssast.adapters.onnx import _CLIPS, Export, _Model, compared, inputs_for, needed_module, write_json
from ssast.errors import UserError
from ssast.model.blocks import EPS
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.encoder import DEPTH, NUM_STATES, SSASTEncoder
from ssast.model.head import PUBLISHED_HEAD

_RATE = 16000
"""The only sample rate for which AST's feature extractor makes the same filterbanks, with or without torchaudio."""
BASE = "audio_spectrogram_transformer."
IN_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def to_ast(model: _Model, folder: Path) -> Export:
    """Write config.json, model.safetensors and preprocessor_config.json, as `from_pretrained` of transformers reads.

    A fine-tuned model whose head AST has becomes ASTForAudioClassification, any other ASTModel, that is its encoder;
    the remarks say so. UserError: a model that AST has no place for (patches that are not square, one class token,
    mask_padding), transformers is missing, or the folder does not answer as the model does.
    """
    _check(model)
    transformers = needed_module("transformers")
    remarks = []
    tuned = model if isinstance(model, SSASTForAudioClassification) else None
    misfit = _head_misfit(tuned) if tuned else ""
    has_head = tuned is not None and not misfit
    if misfit:
        remarks.append(f"the head stays behind, since {misfit}; transformers.ASTModel loads the encoder")
    kind = "ASTForAudioClassification" if has_head else "ASTModel"
    state = dict(_encoder(model.v, BASE if has_head else ""))
    if tuned and has_head:
        state |= {f"classifier.{_head_name(name)}": value for name, value in tuned.mlp_head.head.state_dict().items()}
    save_file(
        {name: value.contiguous() for name, value in state.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    write_json(folder / "config.json", _config(model, kind))
    extractor = _extractor(model)
    if extractor is None:
        remarks.append(
            f"no preprocessor_config.json, since AST's filterbanks are made at {_RATE} Hz and this model's are not"
        )
    else:
        write_json(folder / "preprocessor_config.json", extractor)
    return _proof(model, getattr(transformers, kind).from_pretrained(folder).eval(), has_head, tuple(remarks))


def _check(model: _Model) -> None:
    """UserError where AST has no place for the encoder."""
    height, width = model.v.shape
    reason = ""
    if height != width:
        reason = f"its patches are {height} mel bins x {width} frames, and AST knows square ones alone"
    elif model.v.num_prefix != 2:
        reason = "it has one class token, and AST two"
    elif model.mask_padding:
        reason = "it keeps padding out of attention (mask_padding), which AST does not"
    if reason:
        raise UserError(f"this model cannot become AST, since {reason}; take --format onnx.")


def _head_misfit(model: SSASTForAudioClassification) -> str:
    """Why AST has no place for the head; empty where it has."""
    if model.config["head"] != PUBLISHED_HEAD:
        return "AST's head is LayerNorm and output layer, without this one's dense layer"
    if model.label_kinds.has_levels:
        return "AST's head has one answer a label, this one's a level of a scale or one of several kinds"
    if model.task != "ft_cls":
        return "AST's head hears the class tokens, this one's all patches (ft_avgtok)"
    if model.weighted or model.layers != (NUM_STATES - 1,):
        return "AST's head hears the last state alone"
    return ""


def _encoder(encoder: SSASTEncoder, base: str) -> Iterator[tuple[str, Tensor]]:
    """The encoder's tensors under the names of published AST folders."""
    own = encoder.state_dict()
    yield f"{base}embeddings.cls_token", own["cls_token"]
    yield f"{base}embeddings.distillation_token", own["dist_token"]
    yield f"{base}embeddings.position_embeddings", own["pos_embed"]
    for part in ("weight", "bias"):
        yield f"{base}embeddings.patch_embeddings.projection.{part}", own[f"patch_embed.proj.{part}"]
        yield f"{base}layernorm.{part}", own[f"norm.{part}"]
        for number in range(DEPTH):
            block, theirs = f"blocks.{number}", f"{base}encoder.layer.{number}"
            for name, other in IN_BLOCK.items():
                yield f"{theirs}.{other}.{part}", own[f"{block}.{name}.{part}"]
            thirds = own[f"{block}.attn.qkv.{part}"].chunk(3)
            for name, third in zip(("query", "key", "value"), thirds, strict=True):
                yield f"{theirs}.attention.attention.{name}.{part}", third.clone()


def _head_name(name: str) -> str:
    layer, part = name.split(".")
    return f"{ {'norm': 'layernorm', 'outproj': 'dense'}[layer] }.{part}"


def _config(model: _Model, kind: str) -> dict[str, object]:
    encoder = model.v
    config: dict[str, object] = {
        "architectures": [kind],
        "model_type": "audio-spectrogram-transformer",
        "hidden_size": encoder.width,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": encoder.heads,
        "intermediate_size": 4 * encoder.width,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": EPS,
        "patch_size": encoder.shape[0],
        "qkv_bias": True,
        "frequency_stride": encoder.stride[0],
        "time_stride": encoder.stride[1],
        "max_length": encoder.target_length,
        "num_mel_bins": encoder.num_mel_bins,
    }
    if kind == "ASTModel" or not isinstance(model, SSASTForAudioClassification):
        return config
    names = list(model.labels or [f"label_{number}" for number in range(model.num_labels)])
    config["id2label"] = {str(number): name for number, name in enumerate(names)}
    config["label2id"] = {name: number for number, name in enumerate(names)}
    config["problem_type"] = "multi_label_classification" if model.config["loss"] == "BCE" else "regression"
    return config


def _extractor(model: _Model) -> dict[str, object] | None:
    """The settings of AST's feature extractor that make this model's input; None where none do."""
    kept = model.config.get("frontend") or {}
    if kept.get("sample_rate", _RATE) != _RATE:
        return None
    extractor = {
        "feature_extractor_type": "ASTFeatureExtractor",
        "feature_size": 1,
        "sampling_rate": _RATE,
        "num_mel_bins": model.v.num_mel_bins,
        "max_length": model.v.target_length,
        "padding_value": 0.0,
        "padding_side": "right",
        "do_normalize": True,
        "return_attention_mask": False,
    }
    return extractor | {name: kept[name] for name in ("mean", "std") if name in kept}


def _proof(model: _Model, other: Any, has_head: bool, remarks: tuple[str, ...]) -> Export:
    outputs = ("logits",) if has_head else ("last_hidden_state",)
    pairs = []
    with torch.no_grad():
        for clips in _CLIPS:
            (fbank_BTF,) = inputs_for(model, clips, with_frames=False)
            own = model(fbank_BTF) if has_head else model.v(fbank_BTF)[-1]
            pairs.append((other(fbank_BTF)[outputs[0]], own))
    return compared(outputs, pairs, remarks)
