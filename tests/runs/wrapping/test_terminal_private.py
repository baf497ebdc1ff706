"""`--private True` in real runs: no uid, no subject and no path on screen, in logs, records, pages or file names."""

import base64
import csv
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

import ssast
from ssast import cli, redaction
from ssast.errors import UserError
from ssast.options.privacy import keys
from ssast.options.record import resolve
from ssast.options.records import MODES
from ssast.runs.wrapping.terminal import _RedactedStream, private_run, typed

torch.set_num_threads(1)
SMALL = ["--target_length", "32", "--device", "cpu", "--precision", "fp32", "--resamples", "5"]
TINY = ["--pretrained_mdl_path", "none", "--model_size", "tiny", "--epochs", "1", "--batch_size", "4"]
SECRET = re.compile(r"mueller|hans|pat70|geheim|klinik|aufnahmen|teilung|merkmale|mitarbeiter|pytest", re.IGNORECASE)
FOR_JOINING = {"predictions.csv", "plain_baseline.csv", "predicted.csv", "predicted_windows.csv"}
FOR_JOINING |= {"validation.csv", "train.csv", "test.csv"}


@pytest.fixture(scope="module")
def home(tmp_path_factory, still_corpus) -> Path:
    """The corpus under names that tell whose it is, two recordings broken, and the key file's folder."""
    home = tmp_path_factory.mktemp("mitarbeiter")
    data = home / "Klinik Geheim"
    names = {f"{number:04d}": f"mueller_hans-{number:02d}" for number in range(18)}
    for old, new in names.items():
        shutil.copytree(still_corpus.audio / old, data / "aufnahmen" / new)
    (data / "teilung").mkdir()
    for split in ("train", "test"):
        frame = still_corpus.frame(split).rename(index=names)
        frame["speaker"] = [f"pat70{number:02d}" for number in range(len(frame))]
        frame.to_csv(data / "teilung" / f"{split}.csv")
    shutil.copy(still_corpus.label_txt, data / "merkmale.txt")
    cut = data / "aufnahmen" / "mueller_hans-01" / "waveform.wav"
    cut.write_bytes(cut.read_bytes()[:3000])
    (data / "aufnahmen" / "mueller_hans-13" / "metadata.json").unlink()
    (data / "aufnahmen" / "mueller_nicht_dabei").mkdir()
    return home


@pytest.fixture(autouse=True)
def _place(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setenv("SSAST_KEYS", str(home / "keys"))


def data(*, split: str = "") -> list[str]:
    root = "Klinik Geheim"
    return ["-i", f"{root}/aufnahmen", "-d", f"{root}/teilung{split}", "-l", f"{root}/merkmale.txt"]


def words(mode: str, *more: str, split: str = "") -> list[str]:
    return [mode, *data(split=split), *SMALL, "--private", "True", *more]


def run(capfd, *line: str, code: int = 0) -> str:
    """What a command puts on the screen, which holds nothing secret."""
    assert cli.main(list(line)) == code
    said = "".join(capfd.readouterr())
    assert not SECRET.search(said), said
    return said


def check_folder(folder: Path) -> None:
    """Nothing secret in any file's text or name, but for the tables that are there to be joined."""
    for file in folder.rglob("*"):
        assert not SECRET.search(str(file.relative_to(folder))), file
        if file.is_file() and file.name not in FOR_JOINING and file.suffix not in (".parquet", ".pqt", ".npz", ".png"):
            found = SECRET.search(file.read_bytes()[:1_000_000].decode("latin-1"))
            assert not found, (file, found)


@pytest.fixture(scope="module")
def tuned(home) -> Path:
    """A folder fine-tuned in private, by a process of its own, with two workers, over broken recordings."""
    line = words("finetune", *TINY, "--on_bad_audio", "skip", "--num_workers", "2", "-o", "ergebnis_geheim")
    environment = {**os.environ, "SSAST_KEYS": str(home / "keys"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "ssast", *line], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not SECRET.search(done.stdout + done.stderr)
    assert "2 recordings left out: exp_dir-" in done.stdout
    return home / "ergebnis_geheim"


def test_a_private_run_hides_names_and_keeps_the_tables_for_joining(tuned):
    check_folder(tuned)
    record = (tuned / "run.yaml").read_text()
    assert re.search(r"^prefix: prefix-[0-9a-f]{12}$", record, re.MULTILINE)
    assert re.search(r"data_split_root-[0-9a-f]{12}/train.csv: [0-9a-f]{64}", record)
    bad = pd.read_csv(tuned / "bad_audio.csv")
    assert all(re.fullmatch(r"uid-[0-9a-f]{12}", uid) for uid in bad["uid"])
    assert pd.read_csv(tuned / "predictions.csv")["uid"][0] == "mueller_hans-12"
    assert "data:audio" not in (tuned / "report.html").read_text()


def test_the_key_file_is_for_its_owner_alone_and_says_what_a_hash_means(tuned, home):
    path = home / "keys" / "keys.csv"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    names = {row["hash"]: row["name"] for row in csv.DictReader(io.StringIO(path.read_text()))}
    uids = {names[uid.removeprefix("uid-")] for uid in pd.read_csv(tuned / "bad_audio.csv")["uid"]}
    assert uids == {"mueller_hans-01", "mueller_hans-13"}
    assert not [file for file in tuned.rglob("*") if file.name == path.name]


def test_another_salt_gives_other_hashes(home, monkeypatch):
    one = keys().digest("uid", "mueller_hans-01")
    assert one == keys().digest("uid", "mueller_hans-01")
    monkeypatch.setenv("SSAST_KEYS", str(home / "other"))
    assert keys().digest("uid", "mueller_hans-01") != one


def test_the_record_of_a_private_run_repeats_it_where_the_key_file_is(tuned, home, capfd, monkeypatch):
    said = run(capfd, "finetune", "--config", str(tuned / "run.yaml"))
    assert "evaluating it on data_split_root-" in said
    monkeypatch.setenv("SSAST_KEYS", str(home / "empty"))
    said = run(capfd, "finetune", "--config", str(tuned / "run.yaml"), code=2)
    assert "does not know prefix-" in said


def test_a_private_run_goes_on_and_says_what_differs(tuned, capfd):
    said = run(capfd, *words("finetune", *TINY, "--epochs", "2", "-o", "ergebnis_geheim"), code=2)
    assert "on_bad_audio skip there, error now" in said or "epochs 1 there, 2 now" in said or "have no folder" in said


def test_every_mode_that_uses_the_model_is_private(tuned, home, capfd):
    skip = ["--on_bad_audio", "skip", "--finetuned_mdl_path", "ergebnis_geheim"]
    run(capfd, *words("evaluate", *skip, "-o", "aus_mitarbeiter/ev", split="/test.csv"))
    said = run(capfd, *words("extract", *skip, "-o", "aus_mitarbeiter/ex"))
    assert re.search(r"5 embeddings in exp_dir-\w+/dataset-\w+_tiny_layerNA_ft_cls_ft_embeddings.pqt", said)
    table = next((home / "aus_mitarbeiter" / "ex").glob("*.pqt"))
    assert pq.read_table(table)["uid"].to_pylist()[0] == "mueller_hans-12"
    run(capfd, *words("attention", *skip, "-o", "aus_mitarbeiter/at", "--uids", "mueller_hans-14"))
    assert len(list((home / "aus_mitarbeiter" / "at" / "attention").glob("uid-*.png"))) == 1
    page = (home / "aus_mitarbeiter" / "at" / "attention" / "attention.html").read_text()
    assert "A private page: hashes stand for names, and its sounds are silent." in page
    silent = base64.b64decode(re.search(r"data:audio/wav;base64,([A-Za-z0-9+/=]+)", page).group(1))
    assert not soundfile.read(io.BytesIO(silent))[0].any()
    run(capfd, "compare", "ergebnis_geheim", "aus_mitarbeiter/ev", "--private", "True", "-o", "aus_mitarbeiter/cp")
    check_folder(home / "aus_mitarbeiter")


def test_files_without_a_csv_are_private(tuned, home, capfd):
    line = ["predict", "Klinik Geheim/aufnahmen/mueller_hans-12", "--finetuned_mdl_path", "ergebnis_geheim"]
    said = run(capfd, *line, "--private", "True", "--device", "cpu", "-o", "aus_mitarbeiter/pr")
    assert re.search(r"files-\w{12}/file-\w{12} +0.50 ", said)
    assert "mueller_hans-12" in (home / "aus_mitarbeiter" / "pr" / "predicted.csv").read_text()
    run(capfd, "predict", "Klinik Geheim/fehlt.wav", *line[2:], "--private", "True", "-o", "fehler", code=2)
    check_folder(home / "aus_mitarbeiter" / "pr")


def test_a_mode_that_only_looks_is_private(tuned, capfd):
    assert "checkpoint-" in run(capfd, "inspect", "ergebnis_geheim", "--private", "True")


def test_a_mode_inside_a_private_one_is_private():
    with private_run({"private": True}):
        assert resolve(mode="demo", exp_dir="aus").private
    assert not resolve(mode="demo", exp_dir="aus").private


def test_words_that_are_no_names_are_left_alone():
    with private_run(typed(["finetune", "--pretrained_mdl_path", "none", "--model_size", "tiny", "--private", "True"])):
        assert (
            redaction.shown("none of the 12 did before; finetune, tiny") == "none of the 12 did before; finetune, tiny"
        )


def test_a_check_is_private(home, capfd):
    said = run(capfd, *words("check", "-o", "pruefung"), code=1)
    assert "not in the csv" in said
    assert re.search(r"uid-\w+: it is cut off", said)
    check_folder(home / "pruefung")


@pytest.mark.slow
def test_folds_are_private(home, capfd):
    run(capfd, *words("finetune", *TINY, "--folds", "2", "--on_bad_audio", "skip", "-o", "falten"))
    check_folder(home / "falten")


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--on_bad_audio", "error", "--finetuned_mdl_path", "ergebnis_geheim"], "metadata.json is missing"),
        (["--finetuned_mdl_path", "mueller_fehlt"], "does not exist"),
        (["--finetuned_mdl_path", "Klinik Geheim/fehlt.pt"], "does not exist"),
        (["--finetuned_mdl_path", "ergebnis_geheim", "-d", "Klinik Geheim/fehlt"], "does not exist"),
        (["--finetuned_mdl_path", "ergebnis_geheim", "-l", "Klinik Geheim/fehlt.txt"], "does not exist"),
        (["--finetuned_mdl_path", "ergebnis_geheim", "-i", "Klinik Geheim/teilung"], "no uid of"),
        (["--finetuned_mdl_path", "ergebnis_geheim", "-b", "geheim/x"], "expected the bare name"),
        (["--finetuned_mdl_path", "ergebnis_geheim", "-o", "ergebnis_geheim/run.yaml/x"], "cannot write"),
        (["--finetuned_mdl_path", "ergebnis_geheim", "mueller_hans-13"], "belongs to no option"),
        (["--config", "Klinik Geheim/fehlt.yaml"], "does not exist"),
    ],
)
def test_what_goes_wrong_is_said_without_names(tuned, capfd, more, part):
    said = run(capfd, *words("evaluate", "-o", "fehler", *more), code=2)
    assert part in said
    assert re.search(r"-[0-9a-f]{12}", said)


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ("uid,high,loud\nmueller_hans-12,1,0\nmueller_hans-12,0,0\n", "more than once: uid-"),
        ("uid,high,loud\nmueller_hans-12,ja,0\n", "of uid uid-"),
        ("mueller_hans-12,1,0\nmueller_hans-14,0,1\n", "no column uid"),
        ("uid,high,loud\nmueller_hans-fehlt,1,0\nmueller_hans-12,1,0\n", "no folder in prefix-"),
    ],
)
def test_a_csv_that_is_wrong_is_named_without_its_names(tuned, home, capfd, rows, part):
    (home / "Klinik Geheim" / "falsch.csv").write_text(rows)
    wrong = ["-d", "Klinik Geheim/falsch.csv", "--finetuned_mdl_path", "ergebnis_geheim", "-o", "fehler"]
    assert part in run(capfd, *words("evaluate", *wrong), code=2)


def test_uids_that_are_plain_numbers_are_hidden_where_they_name_a_clip(home, capfd, still_corpus):
    root = home / "zahlen"
    for number, old in enumerate(sorted(os.listdir(still_corpus.audio)), start=1):
        shutil.copytree(still_corpus.audio / old, root / "audio" / str(number))
    soundfile.write(root / "audio" / "3" / "waveform.wav", np.zeros(0), 16000)
    rows = "".join(f"{number},{number % 2}\n" for number in range(1, 19))
    (root / "test.csv").write_text(f"uid,high\n{rows}")
    line = ["check", "-i", "zahlen/audio", "-d", "zahlen/test.csv", "--private", "True", "-o", "zahlen/aus"]
    said = run(capfd, *line, code=1)
    assert "18 rows, 17 recordings read" in said
    assert re.search(r"not usable +fault +1  uid-\w{12}: ", said)
    table = pd.read_csv(root / "aus" / "check.csv")
    assert table["finding"].tolist() == ["not usable", "nobody named"]
    assert table["uid"].str.fullmatch(r"uid-\w{12}").tolist()[0]


def options(home: Path) -> dict[str, object]:
    root = home / "Klinik Geheim"
    found = {"prefix": root / "aufnahmen", "data_split_root": root / "teilung", "label_txt": root / "merkmale.txt"}
    return {**found, "target_length": 32, "device": "cpu", "precision": "fp32", "resamples": 5, "private": True}


def test_python_raises_redacted_sentences_and_returns_real_paths(tuned, home, capfd):
    with pytest.raises(UserError, match="is missing; write one") as caught:
        ssast.evaluate(**options(home), finetuned_mdl_path=tuned, exp_dir=home / "py")
    assert not SECRET.search(str(caught.value))
    assert caught.value.__cause__ is None
    path = ssast.extract(**options(home), finetuned_mdl_path=tuned, exp_dir=home / "py", on_bad_audio="skip")
    assert path.parent == home / "py"
    assert not SECRET.search("".join(capfd.readouterr()))
    assert redaction.redaction_in_use() is None


def test_a_bug_keeps_its_traceback_and_loses_its_names(home, monkeypatch, capfd):
    def broken(*arguments, **named):
        logging.getLogger("other").warning("slow reading of mueller_hans-12")
        print("slower reading of mueller_hans-13", file=sys.stderr)
        raise KeyError("mueller_hans-12")

    monkeypatch.setattr("ssast.modes.evaluate.finetuned_model", broken)
    with pytest.raises(RuntimeError, match=r"KeyError: 'uid-\w{12}'") as caught:
        ssast.evaluate(**options(home), finetuned_mdl_path=home, exp_dir=home / "py2")
    assert caught.value.__suppress_context__
    assert caught.traceback[-1].name == "broken"
    said = "".join(capfd.readouterr())
    assert "slower reading of uid-" in said
    assert not SECRET.search(said)


def test_a_mode_is_private_by_whatever_name_it_is_called(home):
    from ssast.modes.evaluate import evaluate

    with pytest.raises(UserError, match=r"finetuned_mdl_path-\w{12} does not exist"):
        evaluate(**options(home), finetuned_mdl_path=home / "nobody", exp_dir=home / "py3")


def test_options_alone_refuse_to_be_private(home):
    """Nothing would hide what they hold."""
    with pytest.raises(UserError, match="by its public name"):
        resolve(**options(home), mode="evaluate", finetuned_mdl_path="x")


@pytest.mark.parametrize("name", [name for name in ssast.__all__ if name in MODES])
def test_every_public_mode_goes_through_the_door(name):
    assert getattr(ssast, name).__wrapped__.__module__.startswith("ssast.modes.")


def test_the_log_of_a_private_run_is_numbers(tuned):
    for line in (tuned / "log.jsonl").read_text().splitlines():
        assert all(not isinstance(value, str) for value in json.loads(line).values())


def test_a_key_file_that_cannot_be_used_is_one_sentence(home, capfd, monkeypatch):
    (home / "broken").mkdir()
    (home / "broken" / "keys.csv").write_text("hash,kind,name\n")
    monkeypatch.setenv("SSAST_KEYS", str(home / "broken"))
    assert cli.main(words("evaluate", "--finetuned_mdl_path", "x")) == 2
    assert "holds no salt" in capfd.readouterr().err


def test_a_redacted_stream_outlives_the_one_behind_it():
    """Python 3.13 reports what a dying stream raises, and each one flushes as it dies."""
    behind = io.StringIO()
    before = _RedactedStream(behind)
    behind.close()
    before.close()
    assert before.closed
