"""Clips of one length go through the model together; what comes back is in their order and the same in any batch."""

import pytest
import torch

from ssast.audio.frontend import Frontend
from ssast.data.loader import collate
from ssast.data.prepare import Prepare
from ssast.engine import inference, lengths
from ssast.engine.hardware import engine
from ssast.engine.inference import on_device
from ssast.engine.lengths import Grouping, answers
from ssast.model.classification import SSASTForAudioClassification

torch.set_num_threads(1)
CPU = torch.device("cpu")
FRONTEND = Frontend(16000, 32, 200)
DRAWN = torch.randint(3, 230, (40,), generator=torch.Generator().manual_seed(0)).tolist()


@pytest.fixture(scope="module")
def model():
    sizes = {"fshape": 16, "tshape": 16, "fstride": 10, "tstride": 10, "num_mel_bins": 32, "target_length": 200}
    return SSASTForAudioClassification(2, "tiny", **sizes, mask_padding=True, task="ft_avgtok", seed=0).eval()


def clip(number, frames):
    waveform_1S = 0.1 * torch.randn(1, 400 + 160 * (frames - 1), generator=torch.Generator().manual_seed(number))
    return {"uid": str(number), "waveform": waveform_1S, "targets": torch.empty(0)}


def batches(size, frames=DRAWN):
    clips = [clip(number, own) for number, own in enumerate(frames)]
    return [collate(clips[start : start + size]) for start in range(0, len(clips), size)]


def scores(model, several, rounding, seen=None, clips=8):
    prepare = Prepare(FRONTEND, rounding=rounding)

    def apply(batch):
        made = prepare(batch)
        if seen is not None:
            seen.append((made["fbank"].shape[:2], made["frames"].tolist()))
        return model.predict_scores(made["fbank"], made["frames"])

    found = answers(lambda batch: on_device(apply, batch, CPU), several, Grouping.of(prepare, clips))
    return [(uid, row) for batch, rows in found for uid, row in zip(batch["uid"], rows, strict=True)]


def test_scores_are_those_of_padded_clips_and_come_in_their_order(model):
    plain, cut = scores(model, batches(7), None), scores(model, batches(7), model.rounding)
    assert [uid for uid, _ in cut] == [str(number) for number in range(len(DRAWN))] == [uid for uid, _ in plain]
    torch.testing.assert_close(
        torch.stack([row for _, row in cut]), torch.stack([row for _, row in plain]), atol=1e-5, rtol=0
    )


def test_a_clip_has_the_same_bytes_in_any_batch_and_alone(model):
    together = scores(model, batches(40), model.rounding, clips=16)
    for size in (1, 7, 8):
        again = scores(model, batches(size), model.rounding)
        assert all(torch.equal(row, other) for (_, row), (_, other) in zip(together, again, strict=True))
    for number in (0, 13, 39):
        ((_, alone),) = scores(model, [collate([clip(number, DRAWN[number])])], model.rounding)
        assert torch.equal(alone, together[number][1])


def test_eight_clips_of_one_length_go_through_at_a_time(model):
    seen = []
    scores(model, batches(8), model.rounding, seen)
    assert {shape[0] for shape, _ in seen} == {8}
    for (_, length), frames in seen:
        assert {model.v.rounded(own) for own in frames} == {length}
    lengths_of_all = [model.v.rounded(min(own, 200)) for own in DRAWN]
    least = sum(-(-lengths_of_all.count(length) // 8) for length in set(lengths_of_all))
    assert len(seen) == least, "only the last group of each length is not full"


def test_no_clip_waits_longer_than_allowed_for_others_of_its_length(model, monkeypatch):
    """A rare length once would have kept all that came after it in memory."""
    monkeypatch.setattr(lengths, "GROUPS_WAITING", 2)
    pulled = []

    def several():
        for batch in batches(4, [20, *[150] * 59]):
            pulled.append(batch["uid"][0])
            yield batch

    prepare = Prepare(FRONTEND, rounding=model.rounding)
    found = answers(lambda batch: batch["lengths"][:, None].float(), several(), Grouping.of(prepare, 8))
    first, _ = next(found)
    assert first["uid"] == ["0", "1", "2", "3"]
    assert len(pulled) == 5


def test_values_that_wait_take_bounded_memory(model, monkeypatch):
    monkeypatch.setattr(lengths, "BYTES_WAITING", 1000)
    pulled = []

    def several():
        for batch in batches(4, [20, *[150] * 59]):
            pulled.append(batch["uid"][0])
            yield batch

    prepare = Prepare(FRONTEND, rounding=model.rounding)
    found = answers(lambda batch: torch.zeros(len(batch["uid"]), 50), several(), Grouping.of(prepare, 8))
    next(found)
    assert len(pulled) == 3


def test_batches_without_clips_and_what_stands_beside_clips_come_back(model):
    empty = collate([])
    several = [
        empty,
        *({**batch, "steps": 1, "windows": list(batch["uid"])} for batch in batches(3, [20, 150, 20, 90])),
    ]
    prepare = Prepare(FRONTEND, rounding=model.rounding)
    found = list(answers(lambda batch: batch["lengths"][:, None].float(), several, Grouping.of(prepare, 8)))
    assert [batch["uid"] for batch, _ in found] == [[], ["0", "1", "2"], ["3"]]
    assert [batch.get("windows") for batch, _ in found] == [None, ["0", "1", "2"], ["3"]]
    for batch, values in found[1:]:
        assert values[:, 0].tolist() == batch["lengths"].tolist()


def test_values_over_time_are_as_long_as_the_longest_of_their_batch(model):
    prepare = Prepare(FRONTEND, rounding=model.rounding)

    def steps(batch):
        made = prepare(batch)
        return model.frame_embeddings(made["fbank"], 3, "pt", made["frames"])[0]

    found = list(answers(steps, batches(2, [20, 150, 20]), Grouping.of(prepare, 8)))
    assert [values.shape[1] for _, values in found] == [18, 6]
    assert not found[0][1][0, 6:].any()


def test_a_pass_by_lengths_that_was_cut_off_goes_on_to_the_same_rows(model, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "SECONDS_A_PART", -1.0)
    monkeypatch.setattr(lengths, "GROUPS_WAITING", 1)
    loaded, grouping = batches(4), Grouping.of(Prepare(FRONTEND, rounding=model.rounding), 8)

    def run(folder, most_calls=99):
        calls = []

        def apply(batch):
            if len(calls) == most_calls:
                raise KeyboardInterrupt
            calls.append(batch["uid"])
            return batch["lengths"][:, None].float()

        done = inference.run_inference(
            apply,
            lambda start, stop: iter(loaded[start:stop]),
            steps=len(loaded),
            folder=folder,
            key="a",
            engine=engine("cpu", "fp32"),
            title="test",
            grouping=grouping,
        )
        return [row for table in done.tables() for row in table.to_pylist()], len(calls)

    whole, calls = run(tmp_path / "whole")
    assert [row["uid"] for row in whole] == [str(number) for number in range(len(DRAWN))]
    assert [row["values"] for row in whole] == [[400 + 160 * (own - 1)] for own in DRAWN]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", most_calls=calls - 1)
    kept = len(list((tmp_path / "cut").glob("part-*.parquet")))
    assert kept > 0
    again, _ = run(tmp_path / "cut")
    assert again == whole
