"""The script for a GPU runs in a small form, that of large runs says what its page says, cells repeat their bytes."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from statsmodels.stats.proportion import proportion_confint

from ssast import SSASTForPreTraining

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_script_for_a_gpu_measures_every_part_on_a_processor(tmp_path):
    words = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--small", "--device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert list(found) == [
        *("machine", "correctness", "synchronisations", "rates", "profile", "end to end", "learning"),
    ]
    assert "failed" not in (tmp_path / "gpu.json").read_text()
    distances = {name: value for name, value in found["correctness"].items() if "cosine" not in name}
    assert distances.pop("attention is right")
    assert set(distances.values()) == {0.0}, "a processor has the numbers of a processor"
    assert all(value > 0.98 for name, value in found["correctness"].items() if "cosine" in name)
    assert found["synchronisations"]["steps taken"] == 10
    assert [(row["N"], row["way"]) for row in found["rates"]] == [(0, "eager"), (10, "eager"), (0, "published")]
    assert all(row["ms"] > 0 and row["share of the rate"] > 0 for row in found["rates"])
    assert sum(found["profile"].values()) == pytest.approx(1)
    assert found["end to end"]["0"] > 0
    assert [row["N"] for row in found["learning"]] == [0, 0, 0, 10, 10, 10]
    table = (tmp_path / "gpu.md").read_text()
    assert all(f"## {part.capitalize()}" in table for part in found)


def test_the_page_of_large_runs_has_the_lines_that_its_script_prints(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    scale = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "scale", scale)
    spec.loader.exec_module(scale)
    monkeypatch.setattr(sys, "argv", ["scale.py", "table"])
    scale.main()
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(said) == 17 + sum(map(len, scale.kept("runs").values()))
    assert set(said) <= set((ROOT / "docs" / "scale.md").read_text(encoding="utf-8").splitlines())


def test_runs_that_were_measured_are_kept_and_large_ones_have_no_folders(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    scale = importlib.import_module("scale")
    asked = []
    monkeypatch.setattr(scale, "RESULTS", tmp_path)
    monkeypatch.setattr(scale, "extracted", lambda *what: asked.append(what) or {"bytes": 1.0, "seconds": 2.0})
    for _ in range(2):
        scale.measure_runs([1000, 100_000], again=False)
    assert asked == [("folders", 1000), ("shards", 1000), ("shards", 100_000)]
    scale.measure_runs([1000], again=True)
    assert len(asked) == 5
    assert sorted(scale.kept("runs")["shards"]) == ["1000", "100000"]


@pytest.mark.slow
def test_a_report_of_twenty_labels_and_four_columns_of_groups_stays_below_5_mb(monkeypatch):
    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    report = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "report", report)
    spec.loader.exec_module(report)
    _, predictions, metrics = report.scored(20, 200, 50, 2)
    assert len(predictions.labels) == 20
    assert list(metrics["groups"]["columns"]) == ["sex", "age", "site", "device"]
    text = report.page_of(predictions, metrics)
    assert text.count("<audio") == 8
    assert len(text.encode()) < 5e6


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """The scripts of pretraining and fine-tuning as modules, whose results go into a folder of their own."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    names = (
        "probes",
        "published",
        "objectives",
        "starts",
        "pretraining",
        "finetuning",
        "confirming",
        "packed_fbanks",
        "egemaps",
    )
    names = (*names, "relevance")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = {name: importlib.import_module(name) for name in names}
    monkeypatch.setattr(found["pretraining"], "LOOKED_AT", found["pretraining"].BATCH)
    for name in ("pretraining", "finetuning", "confirming"):
        monkeypatch.setattr(found[name], "RESULTS", tmp_path / f"{name}_results")
        (tmp_path / f"{name}_results").mkdir()
    (tmp_path / "pretraining_results" / "steps.json").write_text('{"seconds": 1, "10": 2}')
    yield found
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def corpus(tmp_path):
    """Tables and fbanks of people who each sound like themselves: 12 in training, 15 in the test, and 6 with digits."""
    generator = torch.Generator().manual_seed(0)

    def lay_out(root, split, rows):
        (root / "splits").mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(root / "splits" / f"{split}.csv", index=False)
        own = {row["speaker"]: torch.randn(1, 128, generator=generator) for row in rows}
        clips = [own[row["speaker"]] + torch.randn(40, 128, generator=generator) for row in rows]
        torch.save([clip.half() for clip in clips], root / f"{split}.fbanks.pt")

    def trait(person):
        return {"speaker": person, "female": int(person[1:]) % 2, "child": int(person[1:]) // 2 % 2}

    for split, people in (("train", range(12)), ("test", range(20, 35))):
        rows = [{"uid": f"{n}_{k}", **trait(f"p{n}")} for n in people for k in range(4)]
        lay_out(tmp_path / "voices", split, rows)
    for split, people in (("train", "abcd"), ("test", "ef")):
        spoken = [(n, digit, k) for n in people for digit in (0, 1) for k in range(2)]
        rows = [{"uid": f"{d}_{n}_{k}", "speaker": n, "zero": 1 - d, "one": d} for n, d, k in spoken]
        lay_out(tmp_path / "digits", split, rows)
    return [str(tmp_path / "voices"), "--digits", str(tmp_path / "digits")]


def run(script, words, monkeypatch):
    monkeypatch.setattr(sys, "argv", [script.__file__, *words])
    script.main()
    return {path.name: path.read_bytes() for path in script.RESULTS.glob("*-*.json")}


@pytest.mark.usefixtures("narrow")
@torch.no_grad()
def test_an_objective_of_which_nothing_is_changed_is_the_models_own(scripts):
    model = SSASTForPreTraining("tiny", target_length=64, mask_patch=12, mask_layer=10, seed=0)
    fbank_BTF = torch.randn(4, 64, 128, generator=torch.Generator().manual_seed(0))
    found = []
    for loss in (
        lambda: model.loss({"fbank": fbank_BTF})["loss"],
        lambda: scripts["objectives"].Objective().loss(model, fbank_BTF),
    ):
        torch.manual_seed(3)
        found.append(float(loss()))
    assert found[0] == found[1]
    torch.manual_seed(3)
    assert float(scripts["objectives"].Objective(temperature=2.0).loss(model, fbank_BTF)) != found[0]


@pytest.mark.slow
@pytest.mark.usefixtures("narrow")
def test_a_second_run_of_a_cell_of_pretraining_reproduces_its_bytes(scripts, corpus, monkeypatch):
    words = [*corpus, "--ways", "random", "10", "--seeds", "0"]
    first = run(scripts["pretraining"], words, monkeypatch)
    assert sorted(first) == ["10-0.json", "fbank-0.json", "random-0.json"]
    assert sorted(json.loads(first["10-0.json"])["probes"]) == ["child", "digit", "female", "speaker"]
    for name in first:
        (scripts["pretraining"].RESULTS / name).unlink()
    assert run(scripts["pretraining"], words, monkeypatch) == first
    other = run(scripts["pretraining"], [*words[:-1], "1"], monkeypatch)
    assert other["10-1.json"] != first["10-0.json"]


@pytest.mark.slow
@pytest.mark.usefixtures("narrow")
def test_fine_tuning_goes_on_with_the_cells_that_are_missing_and_reproduces_their_bytes(
    scripts, corpus, monkeypatch, tmp_path, capsys
):
    script, models = scripts["finetuning"], tmp_path / "models"
    monkeypatch.setattr(script, "LEAST_STEPS", 2)
    SSASTForPreTraining("tiny", target_length=script.LENGTH, seed=1).save_pretrained(models / "10-0")
    words = [*corpus, "--models", str(models), "--starts", "random", "10", "--seeds", "0", "--shares", "20"]
    first = run(script, words, monkeypatch)
    tasks = ("child", "digit", "female", "speaker")
    assert sorted(first) == [f"{task}_20_percent_{start}-0.json" for task in tasks for start in ("10", "random")]
    found = {name: json.loads(content) for name, content in first.items()}
    assert found["digit_20_percent_10-0.json"]["begun_with"] == "10-0, F32"
    assert found["digit_20_percent_10-0.json"]["labelled_clips"] == [2, 2, 2, 2]
    assert found["speaker_20_percent_10-0.json"]["labelled_clips"] == [12], "one clip of each person"
    assert found["female_20_percent_10-0.json"]["labelled_clips"] == [8], "all four clips of one person of each class"
    assert all(0 <= one["score"] <= 1 and len(one["answers"]) in (16, 36) for one in found.values())
    (script.RESULTS / "digit_20_percent_10-0.json").unlink()
    capsys.readouterr()
    assert run(script, words, monkeypatch) == first
    assert capsys.readouterr().out.startswith("digit_20_percent_10-0.json: ")
    table = [*corpus, "--table"]
    assert run(script, table, monkeypatch) == first
    said = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0].strip("| ") for row in said[2:]] == [task for task in tasks for _ in range(2)]
    assert " to " in said[3]


@pytest.mark.slow
@pytest.mark.usefixtures("narrow")
def test_models_are_probed_once_on_a_corpus_that_chose_nothing(scripts, monkeypatch, tmp_path, capsys):
    script, generator = scripts["confirming"], torch.Generator().manual_seed(0)
    monkeypatch.setattr(script, "SEEDS", (0,))
    rows = [{"uid": f"{n}_{k}", "speaker": f"S{n}", "female": n % 2, "k": k % 4} for n in range(15) for k in range(8)]
    table = pd.DataFrame(rows)
    for number, emotion in enumerate(script.EMOTIONS):
        table[emotion] = (table["k"] == number).astype(int)
    (tmp_path / "urdu" / "splits").mkdir(parents=True)
    for split, own in (("train", table[:80]), ("test", table[80:])):
        own.drop(columns="k").to_csv(tmp_path / "urdu" / "splits" / f"{split}.csv", index=False)
        sounds = [3.0 * number + torch.randn(40, 128, generator=generator) for number in own["k"]]
        torch.save([sound.half() for sound in sounds], tmp_path / "urdu" / f"{split}.fbanks.pt")
    SSASTForPreTraining("tiny", target_length=script.LENGTH, seed=1).save_pretrained(tmp_path / "models" / "10-0")
    words = [str(tmp_path / "urdu"), "--models", str(tmp_path / "models")]
    first = run(script, words, monkeypatch)
    ways = ["10", "fbank", "high_positions", "published_positions", "published_random", "random"]
    assert sorted(first) == [f"{way}-0.json" for way in ways]
    scores = {name: one["score"] for name, one in json.loads(first["fbank-0.json"])["probes"].items()}
    assert scores["emotion"] > 0.9, "each emotion has a level of its own"
    assert scores["speaker"] < 0.5, "and no speaker has"
    capsys.readouterr()
    assert run(script, words, monkeypatch) == first
    assert not capsys.readouterr().out, "nothing is made twice"
    run(script, [*words, "--table"], monkeypatch)
    said = [line.split(" | ")[0].strip("| ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert said == ways


def test_each_start_changes_what_it_names_of_ours_and_is_asked_who_speaks(scripts, corpus, monkeypatch, capsys):
    script = scripts["starts"]
    drawn = {name: _new_tiny() for name in script.STARTS}
    for name, model in drawn.items():
        torch.manual_seed(1)
        script.STARTS[name].draw(model)

    def changed(start, of="ours"):
        before = drawn[of].state_dict()
        return {name for name, value in drawn[start].state_dict().items() if not torch.equal(value, before[name])}

    high = "high positions in a sixteenth"
    ends = {f"v.blocks.{block}.{end}.weight" for block in range(12) for end in ("attn.proj", "mlp.fc2")}
    new = _new_tiny().state_dict()
    assert all(torch.equal(value, new[name]) for name, value in drawn["ours"].state_dict().items())
    assert changed("small outputs") == changed("no outputs") == changed(f"small outputs, {high}", of=high) == ends
    assert changed("positions x 0.3") == changed("published positions") == {"v.pos_embed"}
    assert changed(high) == {"v.pos_embed"}
    patches_PD = drawn[high].state_dict()["v.pos_embed"][0, 2:]
    used = -(-patches_PD.shape[1] // 64) * 4
    assert patches_PD[:, :used].norm(dim=1).tolist() == pytest.approx([(2 * used) ** 0.5] * 20, rel=1e-4)
    assert not patches_PD[:, used:].any()
    narrow = drawn["published"].state_dict()["v.blocks.3.mlp.fc1.weight"]
    assert narrow.std().item() == pytest.approx(0.02, rel=0.02)
    words = [script.__file__, corpus[0], "--starts", "ours", "published", "--seeds", "0", "--last", "1"]
    monkeypatch.setattr(sys, "argv", words)
    script.main()
    said = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in said] == ["| start", "|---|---|---|---|---|---|", "| ours", "| published"]
    assert all(0 < float(score.strip(" |")) <= 1 for row in said[2:] for score in row[2:])


def _new_tiny():
    return SSASTForPreTraining("tiny", target_length=40, seed=1)


def test_packed_fbanks_come_back_within_half_a_step_and_keep_what_is_probed(scripts, corpus, monkeypatch, tmp_path):
    packing = importlib.import_module("packed_fbanks")
    for root in (tmp_path / "voices", tmp_path / "digits"):
        packing.pack(root, tmp_path / "carried", ["train", "test"], [])
        packing.unpack(tmp_path / "carried", tmp_path / "there")
        for split in ("train", "test"):
            own, back = (torch.load(folder / f"{split}.fbanks.pt") for folder in (root, tmp_path / "there"))
            assert [len(clip) for clip in own] == [len(clip) for clip in back]
            rounded = (torch.cat(own) - torch.cat(back)).float().abs()[torch.cat(own).abs() < 5.5]
            assert 0.4 * packing.STEP < rounded.max() < packing.STEP / 2 + 2e-3
    monkeypatch.setattr(scripts["pretraining"], "CLIPS_A_PERSON", 1)
    assert packing.wanted(tmp_path / "voices", "train", []) == set(range(48))
    assert packing.wanted(tmp_path / "voices", "test", []) == set(range(0, 60, 4))
    assert packing.wanted(tmp_path / "digits", "train", []) == set(range(0, 16, 2))
    assert packing.wanted(tmp_path / "digits", "test", []) == {0, 2, 4, 6}


def test_functionals_of_another_package_are_asked_for_in_one_sentence_where_it_is_not_installed(
    scripts, corpus, monkeypatch
):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    egemaps = scripts["egemaps"]
    with pytest.raises(SystemExit, match=r"^opensmile is not installed; .* `pip install opensmile`\.$"):
        run(egemaps, corpus, monkeypatch)


def test_clips_for_relevance_come_from_all_people_in_turn_and_the_share_has_an_interval(scripts):
    relevance = scripts["relevance"]
    table = pd.DataFrame({"speaker": ["a"] * 5 + ["b"] * 2 + ["c"]})
    assert sorted(relevance.chosen(table, 3)["speaker"]) == ["a", "b", "c"]
    assert sorted(relevance.chosen(table, 6)["speaker"]) == ["a", "a", "a", "b", "b", "c"]
    wins = np.arange(100) < 74
    low, high, by = relevance.interval(wins, np.full(100, "a"))
    expected = proportion_confint(74, 100, method="wilson")
    assert (low, high) == pytest.approx(expected, abs=1e-6)
    assert by == "by clips"
    low, high, by = relevance.interval(wins, np.repeat(list("abcdefghij"), 10))
    assert low < 0.5 < 0.74 < high <= 1
    assert by == "by 10 people"
