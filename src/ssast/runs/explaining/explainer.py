"""Explain what a model makes of one clip: maps over the spectrogram, tested by removal, and the values for its file.

Shapes: T frames, F mel bins, P patches, N blocks or labels, H heads, M maps.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from ssast import redaction
from ssast.data.batch import Batch
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.explain import occlusion, relevance
from ssast.model.finite import check_answers
from ssast.model.pretraining import SSASTForPreTraining
from ssast.pages.maps import BY_LABEL, FINE, METHODS, Clip, Grid

GRADIENT_ROWS, GRADIENT_CELLS = 16, 2048
HIDDEN_SHARE = 0.75
IN_FILE = {"integrated": "integrated_gradients", "gradient": "input_x_gradient"}
"""Names in UID.npz that are not the maps' own."""
Planes = dict[str, np.ndarray]
Drops = dict[int, list[float]]
"""By label's number how far its logit falls, share by share of what is removed."""


@dataclass
class Explanation:
    """What was found in one clip: the page's clip, arrays for its file, panels for its picture.

    `relevance` holds the planes (T, F) by label's number, for the group averages.
    """

    clip: Clip
    values: dict[str, np.ndarray]
    panels: list[tuple[str, str]]
    relevance: dict[int, np.ndarray] = field(default_factory=dict)


class ClipExplainer:
    """One model's way of looking at clips; `labels` are all of its labels, `explained` the places of those shown.

    `numbers` are the places of labels that are values, not yes or no.
    """

    labels: Sequence[str] = ()
    explained: Sequence[int] = ()
    numbers: Collection[int] = ()

    def __init__(self, model: Any, seed: int):
        self.model, self.encoder, self.seed = model, model.v, seed
        self.blocks = max(relevance.pooled_states(model))

    def __call__(self, batch: Batch) -> Explanation:
        """Look at a batch of one clip: "uid" (or a shorter "name"), "fbank", "frames", "waveform", "lengths".

        AudioError where what is found is NaN or infinite.
        """
        found = self._found(batch)
        for name, values in found.values.items():
            if values.dtype.kind == "f":
                self._check(batch, torch.from_numpy(values), f"{name} of this model")
        return found

    def _found(self, batch: Batch) -> Explanation:
        raise NotImplementedError

    def _check(self, batch: Batch, values: Tensor, what: str) -> Tensor:
        """The values of the batch's one clip; AudioError unless they are finite."""
        return check_answers([batch.get("name", batch["uid"][0])], values[None], what)[0]

    def grid(self, plane_TF: np.ndarray, size: tuple[int, int] | None = None) -> Grid:
        """A plane on cells of `size` (mel bins, frames), by default the patches' own or their stride."""
        shape, stride = self.encoder.shape, self.encoder.stride
        height, width = size or (min(shape[0], stride[0]), min(shape[1], stride[1]))
        return Grid.of(plane_TF, height, width)

    def plane(self, values_P: Tensor) -> np.ndarray:
        """Values of patches on the plane (T, F)."""
        return relevance.fold(values_P.float().cpu(), self.encoder).numpy()

    def _without_labels(self, attention_NHP: Tensor, rollout_P: Tensor) -> tuple[Planes, Planes]:
        """Planes by key of rollout and raw attention, and the same by patches for the file."""
        planes = {"rollout": self.plane(rollout_P)}
        for block, attention_HP in enumerate(attention_NHP, start=1):
            planes[f"attention/{block}/mean"] = self.plane(attention_HP.mean(dim=0))
            planes |= {
                f"attention/{block}/{head}": self.plane(row_P) for head, row_P in enumerate(attention_HP, start=1)
            }
        grid = self.encoder.grid
        kept = {"attention": attention_NHP.unflatten(-1, grid), "rollout": rollout_P.unflatten(-1, grid)}
        return planes, {name: value.float().cpu().numpy() for name, value in kept.items()}

    def _last(self, planes: Planes) -> list[tuple[str, str]]:
        """Panels of what knows no label."""
        key = f"attention/{self.blocks}/mean"
        shown = [("rollout", "attention rollout"), (key, f"attention of layer {self.blocks}, mean of the heads")]
        return [(key, title) for key, title in shown if key in planes]


class Pretrained(ClipExplainer):
    """Rollout, raw attention and guesses at hidden patches of a model that knows no label."""

    model: SSASTForPreTraining

    def _found(self, batch: Batch) -> Explanation:
        """What `ClipExplainer` says; the same patches are hidden in every clip."""
        fbank_TF, frames = batch["fbank"][0], int(batch["frames"][0])
        attention_BNHP, rollout_BP = relevance.relevance_of_clip(self.model, batch["fbank"], batch["frames"])
        self._check(batch, rollout_BP[0], "the rollout")
        planes, values = self._without_labels(attention_BNHP[0], rollout_BP[0])
        own_1P = relevance.valid_patches(self.encoder, batch["frames"])
        guess = self._guess(fbank_TF, frames, own_1P)
        pictures = {"as it is": fbank_TF.cpu().numpy(), "hidden patches blank": guess.hidden.numpy()}
        count = len(guess.mask_index)
        remark = f"{count} of the clip's own {int(own_1P.sum())} patches were hidden."
        values |= {"fbank": pictures["as it is"], "hidden_patches": guess.mask_index.numpy()}
        if guess.drawn is not None:
            pictures["hidden patches as guessed"] = values["guessed"] = guess.drawn.numpy()
        if guess.right is not None:
            told_P = torch.zeros(self.encoder.num_patches)
            planes["told"] = self.plane(told_P.scatter(0, guess.mask_index, guess.right.float() * 2 - 1))
            if count:
                remark += f" {guess.right.float().mean():.0%} of them were told apart; chance is {1 / count:.1%}."
        sound = own_sound(batch)
        sound["remark"] += remark
        clip = Clip(
            pictures=pictures,
            maps={key: self.grid(plane) for key, plane in planes.items()},
            in_padding=in_padding(planes, frames),
            **sound,
        )
        return Explanation(clip, values, self._last(planes))

    def _guess(self, fbank_TF: Tensor, frames: int, own_1P: Tensor) -> occlusion.HiddenPatches:
        """The share of patches hidden as in pretraining, or three quarters where a shorter clip has too few."""
        count = min(self.model.mask_patch, max(1, int(HIDDEN_SHARE * self.encoder.num_patches)))
        mask_1M = self.model.draw_masks(1, count, torch.Generator().manual_seed(self.seed), own_1P)
        return occlusion.guesses(self.model, fbank_TF, mask_1M[0], frames)


class Finetuned(ClipExplainer):
    """Everything, for the labels numbered `explained`; `targets` gives what the csv says of a uid, by label."""

    model: SSASTForAudioClassification

    def __init__(self, model: SSASTForAudioClassification, seed: int, explained: Sequence[int], targets: Any):
        super().__init__(model, seed)
        self.labels = (model.label_kinds.named(model.labels) if model.labels else model.label_kinds).outputs
        self.numbers = model.label_kinds.numbers
        self.explained, self.targets = explained, targets

    def _found(self, batch: Batch) -> Explanation:
        fbank_BTF, frames_B = batch["fbank"], batch["frames"]
        # First of all: maps of an answer that is none cannot be tested by removal.
        score_N = self._check(batch, self.model.predict_scores(fbank_BTF, frames_B)[0], "the score").tolist()
        fbank_TF, frames = fbank_BTF[0], int(frames_B[0])
        found = relevance.explain(self.model, fbank_BTF, self.explained, frames_B)
        planes, values = self._without_labels(found.attention[0], found.rollout[0])
        planes |= self._by_label(found, fbank_TF, frames)
        drops, random = self._test(fbank_TF, planes, frames)
        clip = Clip(
            pictures={"as it is": fbank_TF.cpu().numpy()},
            maps={key: self._grid(key, plane, frames) for key, plane in planes.items()},
            scores={label: score_N[label] for label in self.explained},
            targets=self.targets(batch["uid"][0]),
            drops=drops,
            random=random,
            in_padding=in_padding(planes, frames),
            numbers=self.numbers,
            **own_sound(batch),
        )
        name = self.labels[clip.best or 0]
        panels = [(f"{key}/{clip.best}", f"{METHODS[key]} for {name}") for key in BY_LABEL if key != "published"]
        planes_by_label = {label: planes[f"relevance/{label}"] for label in self.explained}
        values |= self._values(found, planes, clip)
        return Explanation(clip, values, panels + self._last(planes), planes_by_label)

    def _by_label(self, found: relevance.Relevance, fbank_TF: Tensor, frames: int) -> Planes:
        covered_NTF = occlusion.occlusion(self.model, fbank_TF, frames)
        planes = {}
        for at, label in enumerate(self.explained):
            planes[f"relevance/{label}"] = self.plane(found.relevance[0, at])
            planes[f"published/{label}"] = self.plane(found.published[0, at])
            planes[f"gradient/{label}"] = found.input_x_gradient[0, at].float().cpu().numpy()
            planes[f"integrated/{label}"] = found.integrated_gradients[0, at].float().cpu().numpy()
            planes[f"occlusion/{label}"] = covered_NTF[label].numpy()
        return planes

    def _grid(self, key: str, plane_TF: np.ndarray, frames: int) -> Grid:
        """A plane on the cells that its method can tell apart."""
        if key.split("/")[0] in FINE:
            return Grid.of(plane_TF, -(-self.encoder.num_mel_bins // GRADIENT_ROWS), 1, GRADIENT_CELLS)
        return self.grid(
            plane_TF, occlusion.occlusion_size(self.encoder, frames) if key.startswith("occlusion") else None
        )

    def _test(self, fbank_TF: Tensor, planes: Planes, frames: int) -> tuple[dict[str, Drops], Drops]:
        """Drops by key and label, and by chance by label, for every map but those of single heads."""
        keys = [key for key in planes if not key.startswith("attention/") or key.endswith("/mean")]
        maps_MTF = torch.stack([torch.from_numpy(planes[key]) for key in keys])
        generator = torch.Generator().manual_seed(self.seed)
        found = occlusion.faithfulness(self.model, fbank_TF, maps_MTF, frames, generator=generator)
        drops: dict[str, Drops] = {}
        for top_SN, key in zip(found.top, keys, strict=True):
            parts = key.split("/")
            labels = [int(parts[1])] if parts[0] in BY_LABEL else self.explained
            drops[key] = {label: top_SN[:, label].tolist() for label in labels}
        return drops, {label: found.random[:, :, label].mean(dim=0).tolist() for label in self.explained}

    def _values(self, found: relevance.Relevance, planes: Planes, clip: Clip) -> Planes:
        by_label = {
            IN_FILE.get(key, key): np.stack([planes[f"{key}/{label}"] for label in self.explained]) for key in BY_LABEL
        }
        return by_label | {
            "relevance_patches": found.relevance[0].unflatten(-1, self.encoder.grid).float().cpu().numpy(),
            "labels": np.array([self.labels[label] for label in self.explained]),
            "logits": found.logits[0, list(self.explained)].float().cpu().numpy(),
            "fbank": clip.picture,
        }


class OwnSound(TypedDict):
    """What the page's clip needs besides maps; `waveform` (S,) lies under its own frames."""

    uid: str
    frames: int
    waveform: np.ndarray
    sample_rate: int
    remark: str


def own_sound(batch: Batch) -> OwnSound:
    """What the page's clip needs besides maps: its name, own frames, and the sound that lies under them."""
    frames, rate = int(batch["frames"][0]), int(batch["sample_rate"])
    samples = int((frames - 1) * 0.010 * rate + 0.025 * rate)
    waveform_S = batch["waveform"][0, : int(batch["lengths"][0])]
    kept_S = waveform_S[: max(samples, 1)]
    rest = (int(batch["whole_lengths"][0]) - len(kept_S)) / rate
    remark = f"The model hears the first {len(kept_S) / rate:.2f} s; {rest:.2f} s more are not shown. "
    name = redaction.shown_name("uid", batch.get("name", batch["uid"][0]))
    return {
        "uid": name,
        "frames": frames,
        "waveform": kept_S.cpu().numpy(),
        "sample_rate": rate,
        "remark": remark if rest >= 0.05 else "",
    }


def in_padding(planes: Planes, frames: int) -> dict[str, float]:
    """The share of each plane, by its size, that lies past the clip's own frames."""
    totals = {key: float(np.abs(plane).sum()) for key, plane in planes.items()}
    return {key: float(np.abs(planes[key][frames:]).sum()) / total if total else 0.0 for key, total in totals.items()}
