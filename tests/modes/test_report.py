"""`ssast report` fills reviewers' checklists from real runs, from study.yaml, or leaves items open."""

import json
import re
import shutil

import pytest

import ssast
from ssast import cli
from ssast.errors import UserError

SMALL = {"target_length": 32, "device": "cpu", "precision": "fp32", "resamples": 20}


@pytest.fixture(scope="module")
def study(still_corpus, tmp_path_factory, narrow):
    """A model that was trained and scored with a column of groups, and the audit of its tables."""
    home = tmp_path_factory.mktemp("study")
    shutil.copytree(still_corpus.splits, home / "splits")
    for split in ("train", "test"):
        frame = still_corpus.frame(split)
        frame.assign(site=["klinik_nord" if at % 2 else "klinik_ost" for at in range(len(frame))]).to_csv(
            home / "splits" / f"{split}.csv"
        )
    data = {"prefix": still_corpus.audio, "data_split_root": home / "splits", "label_txt": still_corpus.label_txt}
    tiny = {"pretrained_mdl_path": "none", "model_size": "tiny", "epochs": 1, "batch_size": 4}
    ssast.finetune(**data, **SMALL, **tiny, groups="site", exp_dir=home / "model")
    ssast.audit(**data, target_length=32, resamples=100, exp_dir=home / "audited")
    return home


def states(text):
    """The state of each item by its number, from checklist.md."""
    rows = (re.split(r"(?<!\\) \| ", line[2:-2]) for line in text.splitlines() if re.match(r"\| [DE]?\d", line))
    return {cells[0]: cells[2] for cells in rows}


def filled(study, *more):
    words = ["report", str(study / "model"), str(study / "audited"), "--checklist", "both", "-o", str(study / "sheet")]
    assert cli.main([*words, *more]) == 0
    return (study / "sheet" / "checklist.md").read_text()


def test_every_item_of_both_checklists_has_one_of_three_states(study, capsys):
    text = filled(study)
    found = states(text)
    assert len(found) == 52 + 16 + 18
    records = {number for number, state in found.items() if state == "answered from the records"}
    assert {"9a", "12a", "12b", "12e", "12g", "13", "D2.2", "D4.4", "E4.1", "E4.4", "E4.6", "E4.7"} <= records
    assert {found[number] for number in ("1", "3b", "17", "18a", "25", "D1.1", "E3.3")} == {"open"}
    assert "model/run.yaml" in text
    parts = json.loads((study / "model" / "development.json").read_text())["parts"]
    assert parts["training"]["recordings"] + parts["validation"]["recordings"] == 12
    assert found["21"] == "answered from the records"
    assert f"Training: {parts['training']['recordings']} recordings of" in text
    assert f"Validation: {parts['validation']['recordings']} recording" in text
    said = capsys.readouterr().out
    assert re.search(r"TRIPOD\+AI: 52 items, \d+ answered from the records, 0 answered by study.yaml, \d+ open.", said)
    page = (study / "sheet" / "checklist.html").read_text()
    assert page.count('<div class="item ') == 86
    assert page.count('<div class="item records">') == len(records)


def test_folders_of_two_models_are_not_taken_for_one_without_a_word(study, tmp_path, capsys):
    assert "different models" not in filled(study)
    shutil.copytree(study / "model", tmp_path / "other")
    words = ["report", str(study / "model"), str(tmp_path / "other"), "-o", str(tmp_path / "sheet")]
    assert cli.main(words) == 0
    said = "Careful: model, other are of different models, and a sheet describes one; give the folders of one."
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "sheet" / "checklist.md").read_text()
    assert said in (tmp_path / "sheet" / "checklist.html").read_text()


def test_what_no_record_says_is_not_taken_as_answered(study):
    """Groups that are too small give no estimate, and without an audit nobody knows of people in both splits."""
    found = states(filled(study))
    assert found["23a"] == "open"
    words = ["report", str(study / "model"), "--checklist", "both", "-o", str(study / "alone")]
    assert cli.main(words) == 0
    alone = states((study / "alone" / "checklist.md").read_text())
    assert (found["E4.1"], alone["E4.1"]) == ("answered from the records", "open")


def test_an_audit_of_other_tables_says_nothing_of_this_model(study):
    record = (study / "audited" / "run.yaml").read_text()
    shutil.copytree(study / "audited", study / "other")
    (study / "other" / "run.yaml").write_text(re.sub(r"(csv: )[0-9a-f]{64}", rf"\g<1>{'f' * 64}", record))
    runs = f"{study / 'model'},{study / 'other'}"
    page = ssast.report(runs=runs, checklist="probast", exp_dir=study / "probast")
    assert states((page.parent / "checklist.md").read_text())["E4.1"] == "open"


def test_study_yaml_fills_what_only_people_know(study, tmp_path):
    (tmp_path / "study.yaml").write_text(
        "intended_use: Adults <b>in care</b> | [x](y)\ndates: 2024-05-01\neligibility: [over 18, speaks German]\n"
        "answers:\n  tripod 3a: Hoarseness.\n"
    )
    text = filled(study, "--study_file", str(tmp_path / "study.yaml"))
    found = states(text)
    assert {found[number] for number in ("3a", "3b", "5b", "6b", "D2.4")} == {"answered by study.yaml"}
    assert found["D1.3"] == "open"  # one of its two keys is empty
    assert "over 18; speaks German" in text
    assert "2024-05-01" in text
    assert "&lt;b&gt;in care&lt;/b&gt; \\| \\[x\\](y)" in text
    page = (study / "sheet" / "checklist.html").read_text()
    assert "Adults &lt;b&gt;in care&lt;/b&gt;" in page
    assert "<b>" not in page


def test_a_private_sheet_names_no_folder_and_no_place(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSAST_KEYS", str(tmp_path / "keys"))
    text = filled(study, "--private", "True") + (study / "sheet" / "checklist.html").read_text()
    text += capsys.readouterr().out
    assert not re.search(r"klinik|audited|\bmodel/|pytest", text)
    assert re.search(r"run-[0-9a-f]{12}/config\.json", text)
    assert re.search(r"group-[0-9a-f]{12}", text)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.json", "[1]", "cannot be read"),
        ("metrics.json", '{"labels": {"high": 3}, "resamples": 1}', "is not as ssast writes it"),
        ("config.json", '{"frontend": {}}', "is not as ssast writes it"),
        ("run.yaml", "mode: [", "cannot be read as YAML"),
    ],
)
def test_a_folder_that_ssast_did_not_write_is_one_sentence(study, tmp_path, name, content, said):
    shutil.copytree(study / "model", tmp_path / "model")
    (tmp_path / "model" / name).write_text(content)
    with pytest.raises(UserError, match=said):
        ssast.report(runs=str(tmp_path / "model"), exp_dir=tmp_path / "sheet")


def test_folders_without_records_and_links_out_of_them_are_refused(study, tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        ssast.report(runs=str(tmp_path / "none"), exp_dir=tmp_path / "sheet")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "run.yaml").symlink_to(study / "model" / "run.yaml")
    with pytest.raises(UserError, match=r"no run\.yaml and no results"):
        ssast.report(runs=str(tmp_path / "links"), exp_dir=tmp_path / "sheet")
    with pytest.raises(UserError, match="needs folders of runs"):
        ssast.report(exp_dir=tmp_path / "sheet")


def test_an_empty_study_yaml_is_written_once_and_is_read_as_open(study, tmp_path):
    assert cli.main(["report", "--template", "True", "-o", str(tmp_path)]) == 0
    assert states(filled(study, "--study_file", str(tmp_path / "study.yaml"))) == states(filled(study))
    with pytest.raises(UserError, match="is there already"):
        ssast.report(template=True, exp_dir=tmp_path)


def test_another_place_tells_of_differences_and_of_recalibration(study, still_corpus, tmp_path):
    data = {"prefix": still_corpus.audio, "data_split_root": study / "splits", "label_txt": still_corpus.label_txt}
    how = {"finetuned_mdl_path": study / "model", "external": True, "recalibrate": 0.5}
    ssast.evaluate(**data, **SMALL, **how, exp_dir=tmp_path / "elsewhere")
    runs = f"{study / 'model'},{tmp_path / 'elsewhere'}"
    text = (ssast.report(runs=runs, exp_dir=tmp_path / "sheet").parent / "checklist.md").read_text()
    found = states(text)
    assert {found[number] for number in ("12f", "20c", "24")} == {"answered from the records"}
    assert found["16"] == "open"
    assert "with development" in text
    assert {states(filled(study))[number] for number in ("12f", "20c", "24")} == {"open"}


def test_a_run_that_scored_training_recordings_opens_what_it_would_have_answered(study, still_corpus, tmp_path):
    train = {"data_split_root": study / "splits" / "train.csv", "finetuned_mdl_path": study / "model"}
    data = {"prefix": still_corpus.audio, "label_txt": still_corpus.label_txt}
    ssast.evaluate(**data, **train, **SMALL, exp_dir=tmp_path / "again")
    runs = ",".join(map(str, (study / "model", study / "audited", tmp_path / "again")))
    sheet = ssast.report(runs=runs, checklist="both", exp_dir=tmp_path / "sheet").parent / "checklist.md"
    text = sheet.read_text()
    assert states(text)["E4.1"] == "open"
    assert "Leave out again, which scored what the model was trained on." in text
    assert "12 of these 12 clips were used in training" in text


def test_numbers_of_the_records_stand_in_the_sheet(study):
    metrics = json.loads((study / "model" / "metrics.json").read_text())
    auc = metrics["labels"]["high"]["auc"]
    assert f"high: AUC {auc:.2f}" in filled(study)
