"""Whole modes on a bucket: the same bytes as from disk, nothing fetched twice, results in the bucket."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import ssast
from ssast import cli
from ssast.data.storage import stores
from ssast.data.storage.location import Location
from ssast.runs.context import MODEL_FOLDER

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)
HOW = {"device": "cpu", "precision": "fp32", "target_length": 32, "dataset": "x", "batch_size": 8, "resamples": 20}


def sources(root: str, split: str = "splits") -> dict[str, str]:
    return {"prefix": f"{root}/audio", "data_split_root": f"{root}/{split}"}


def run_all(root: str, out: Path, **how) -> tuple[Path, Path, Path]:
    """Fine-tune, evaluate and extract on a corpus: their output folders."""
    how = HOW | how
    tuned = ssast.finetune(
        **how, **sources(root), label_txt=f"{root}/labels.txt", pretrained_mdl_path=f"{root}/model", exp_dir=out / "ft"
    )
    model = {"finetuned_mdl_path": f"{root}/tuned" if "://" in root else tuned}
    scored = ssast.evaluate(**how, **sources(root, "splits/test.csv"), **model, exp_dir=out / "ev")
    table = ssast.extract(**how, **sources(root, "splits/test.csv"), **model, exp_dir=out / "ex")
    return tuned, scored, table.parent


def results(folders: tuple[Path, ...]) -> dict[str, bytes]:
    """Model, scores and embeddings by name."""
    kinds = {".safetensors", ".csv", ".pqt", ".json"}
    return {
        f"{number}/{file.name}": file.read_bytes()
        for number, folder in enumerate(folders)
        for file in sorted(folder.iterdir())
        if file.suffix in kinds and file.name[0] != "."
    }


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory, still_corpus) -> tuple[Path, tuple[Path, Path, Path]]:
    """A small corpus with a model in its folder, and what the modes make of it."""
    return prepared(shutil.copytree(still_corpus.folder, tmp_path_factory.mktemp("cloud") / "corpus"))


def prepared(folder: Path) -> tuple[Path, tuple[Path, Path, Path]]:
    how = HOW | {"model_size": "tiny", "mask_patch": 8}
    ssast.pretrain(**how, **sources(str(folder)), exp_dir=folder / "model")
    made = run_all(str(folder), folder.parent / "disk")
    (made[0]).rename(folder / "tuned")
    return folder, (folder / "tuned", *made[1:])


def stock(store, bucket: str, folder: Path) -> str:
    address = store.bucket(bucket)
    store.put_folder(bucket, folder / "audio", "audio/")
    store.put_folder(bucket, folder / "splits", "splits/")
    store.put(bucket, "labels.txt", (folder / "labels.txt").read_bytes())
    for name in ("model", "tuned"):
        for file in MODEL_FOLDER:
            if (folder / name / file).exists():
                store.put(bucket, f"{name}/{file}", (folder / name / file).read_bytes())
    return address


def names(folder: Path) -> set[str]:
    """The files of a folder that are for the user to see."""
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    return {name for name in files if not name.startswith(".")}


def test_a_bucket_gives_the_bytes_of_the_disk_and_is_fetched_once(gs_emulator, proxy, on_disk, tmp_path, capsys):
    folder, made = on_disk
    root = stock(gs_emulator, "same", folder)
    cloud = run_all(root, tmp_path / "first", num_workers=4)
    assert results(cloud) == results(made)
    assert "also saved" not in capsys.readouterr().out
    assert proxy.uploads() == []
    fetched = proxy.downloads()
    assert len(fetched) == len(set(fetched))
    run_all(root, tmp_path / "second", num_workers=4)
    assert proxy.downloads() == fetched


def test_results_that_cannot_be_sent_stay_whole_and_are_sent_later(gs_emulator, proxy, on_disk, tmp_path, capsys):
    folder, _ = on_disk
    gs_emulator.bucket("unsent")
    words = ["evaluate", "-b", "unsent", "-o", str(tmp_path / "ev"), "-i", str(folder / "audio"), "--device", "cpu"]
    words += ["-d", f"{folder}/splits/test.csv", "--finetuned_mdl_path", f"{folder}/tuned", "--resamples", "20"]
    proxy.refuse = lambda method, path: 403 if len(proxy.uploads()) > 1 and method == "POST" else None
    assert cli.main(words) == 2
    assert "files were not sent to gs://unsent" in capsys.readouterr().err
    assert {"run.yaml", "metrics.json", "aucs.csv"} <= names(tmp_path / "ev")
    proxy.refuse = lambda method, path: None
    assert cli.main(["upload", str(tmp_path / "ev")]) == 0
    assert set(gs_emulator.names("unsent")) == names(tmp_path / "ev") | {".ssast"}


def test_results_arrive_in_the_folder_of_the_bucket(gs, on_disk, tmp_path, capsys):
    folder, _ = on_disk
    root = stock(gs, "results", folder)
    words = [
        "evaluate",
        "-b",
        "results",
        "-p",
        "project",
        "-i",
        "audio",
        "--cloud_dir",
        "out/ev",
        "-o",
        str(tmp_path / "ev"),
    ]
    words += ["-d", f"{root}/splits/test.csv", "--finetuned_mdl_path", f"{root}/tuned", "--device", "cpu"]
    assert cli.main([*words, "--resamples", "20"]) == 0
    assert "results are also saved to gs://results/out/ev" in capsys.readouterr().out
    there = {name.removeprefix("out/ev/") for name in gs.names("results") if name.startswith("out/ev/")}
    assert there == names(tmp_path / "ev") | {".ssast"}
    assert gs.get("results", "out/ev/metrics.json") == (tmp_path / "ev" / "metrics.json").read_bytes()


def test_amazon_gives_the_bytes_of_the_disk(s3_emulator, point, on_disk, tmp_path):
    folder, made = on_disk
    point("s3", s3_emulator.url)
    root = stock(s3_emulator, "same", folder)
    how = HOW | sources(root, "splits/test.csv") | {"finetuned_mdl_path": f"{root}/tuned"}
    table = ssast.extract(**how, num_workers=2, bucket_name="s3://same", cloud_dir="out", exp_dir=tmp_path / "ex")
    assert table.read_bytes() == (made[2] / table.name).read_bytes()
    assert Location(f"{root}/out/{table.name}").read_bytes() == table.read_bytes()
    assert results(run_all(root, tmp_path / "all", num_workers=2)) == results(made)


def test_a_damaged_model_in_a_bucket_is_named_by_its_address(gs, on_disk, tmp_path, capsys):
    folder, _ = on_disk
    root = stock(gs, "damaged", folder)
    gs.put("damaged", "junk/model.pth", b"junk")
    gs.put("damaged", "half/config.json", b"{}")
    words = ["-i", f"{root}/audio", "-l", f"{root}/labels.txt", "--device", "cpu", "-o", str(tmp_path / "out")]
    for mode, option, name in (
        ("finetune", "--pretrained_mdl_path", "junk/model.pth"),
        ("finetune", "--pretrained_mdl_path", "absent.pth"),
        ("evaluate", "--finetuned_mdl_path", "half"),
    ):
        assert cli.main([mode, *words, "-d", f"{root}/splits", option, f"{root}/{name}"]) == 2
        said = capsys.readouterr().err
        assert f"{root}/{name}" in said
        assert "held" not in said
        assert len(said.splitlines()) == 1


def test_a_data_set_in_a_bucket_is_checked(gs, on_disk, tmp_path, capsys):
    folder, _ = on_disk
    root = stock(gs, "checked", folder)
    words = ["-i", f"{root}/audio", "-d", f"{root}/splits", "-l", f"{root}/labels.txt", "-o", str(tmp_path)]
    assert cli.main(["check", *words]) == 0
    assert "0 faults" in capsys.readouterr().out


def test_what_a_check_finds_is_sent_too(gs, on_disk, tmp_path, capsys):
    folder, _ = on_disk
    gs.bucket("check-sent")
    words = ["-i", str(folder / "audio"), "-d", str(folder / "splits"), "-o", str(tmp_path), "--cloud_dir", "found"]
    assert cli.main(["check", *words, "-b", "check-sent"]) == 0
    assert "the results are in gs://check-sent/found" in capsys.readouterr().out
    there = {name.removeprefix("found/") for name in gs.names("check-sent")}
    assert there == {"check.csv", "recordings.csv", "run.yaml", ".ssast"}
    assert gs.get("check-sent", "found/check.csv") == (tmp_path / "check.csv").read_bytes()


def test_a_comparison_is_sent_too_and_later_where_it_could_not_be(gs_emulator, proxy, on_disk, tmp_path, capsys):
    _, made = on_disk
    gs_emulator.bucket("compared")
    words = ["compare", str(made[0]), str(made[1]), "--resamples", "5", "-b", "compared", "-o", str(tmp_path / "cp")]
    proxy.refuse = lambda method, path: 403 if len(proxy.uploads()) > 0 and method == "POST" else None
    assert cli.main(words) == 2
    assert "1 files were not sent to gs://compared: compare.csv" in capsys.readouterr().err
    proxy.refuse = lambda method, path: None
    assert cli.main(["upload", str(tmp_path / "cp")]) == 0
    assert gs_emulator.get("compared", "compare.csv") == (tmp_path / "cp" / "compare.csv").read_bytes()
    assert cli.main([*words, "--cloud", "False", "--cloud_dir", "not"]) == 0
    assert "not/compare.csv" not in gs_emulator.names("compared")


def test_a_private_run_sends_its_results_and_no_key(gs_emulator, proxy, on_disk, tmp_path, capsys, monkeypatch):
    folder, _ = on_disk
    gs_emulator.bucket("secret-bucket")
    monkeypatch.setenv("SSAST_KEYS", str(tmp_path / "keys"))
    words = ["evaluate", "-b", "secret-bucket", "--cloud_dir", "secret-folder", "-o", str(tmp_path / "ev")]
    words += ["-i", str(folder / "audio"), "-d", f"{folder}/splits/test.csv", "--finetuned_mdl_path", f"{folder}/tuned"]
    words += ["--device", "cpu", "--resamples", "20", "--private", "True"]
    proxy.refuse = lambda method, path: 403 if len(proxy.uploads()) > 1 and method == "POST" else None
    assert cli.main(words) == 2
    proxy.refuse = lambda method, path: None
    assert cli.main(["upload", str(tmp_path / "ev"), "--private", "True"]) == 0
    said = "".join(capsys.readouterr())
    assert "were not sent to bucket-" in said
    assert "files sent to bucket-" in said
    assert not re.search(r"secret-|0012|/tmp", said)
    names = gs_emulator.names("secret-bucket")
    assert {"secret-folder/run.yaml", "secret-folder/predictions.csv"} <= set(names)
    assert not [name for name in names if "keys" in name]
    record = gs_emulator.get("secret-bucket", "secret-folder/run.yaml").decode()
    assert "bucket_name: bucket_name-" in record
    assert "secret" not in record


@pytest.fixture(scope="module")
def two_hundred(tmp_path_factory) -> tuple[Path, tuple[Path, Path, Path]]:
    """200 clips of noise, each its own, and what the modes make of them on the disk."""
    folder, chance = tmp_path_factory.mktemp("cloud") / "corpus", np.random.default_rng(0)
    for number in range(200):
        home = folder / "audio" / f"{number:04d}"
        home.mkdir(parents=True)
        soundfile.write(home / "waveform.wav", 0.1 * chance.standard_normal(4000 + 10 * number), 16000)
        (home / "metadata.json").write_text('{"encoding": "WAV", "sample_rate_hz": 16000}')
    (folder / "splits").mkdir()
    for name, numbers in (("train", range(160)), ("test", range(160, 200))):
        lines = [f"{number:04d},{number % 2},{number // 2 % 2}" for number in numbers]
        (folder / "splits" / f"{name}.csv").write_text("\n".join(["uid,high,loud", *lines]) + "\n")
    (folder / "labels.txt").write_text("high\nloud\n")
    return prepared(folder)


FAULTS = {"503": 0.05, "reset": 0.02, "short": 0.02, "silent": 0.01, "flip": 0.01}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("delay", "faults"), [(0.0, {}), (0.05, FAULTS)], ids=["clean", "faulty"])
def test_two_hundred_clips_through_four_workers(
    either, two_hundred, tmp_path, monkeypatch, retries_soon, delay, faults
):
    (folder, made), (store, proxy) = two_hundred, either
    monkeypatch.setattr(stores, "READ_SECONDS", 2.0)
    bucket = f"many{len(faults)}"
    root = stock(store, bucket, folder)
    proxy.delay, proxy.faults = delay, faults
    how = {"num_workers": 4, "bucket_name": bucket if store.kind == "gs" else root, "cloud_dir": "out"}
    cloud = run_all(root, tmp_path / "first", **how)
    assert results(cloud) == results(made)
    for file in (cloud[0] / "model.safetensors", cloud[1] / "metrics.json", *cloud[2].glob("*.pqt")):
        assert Location(f"{root}/out/{file.name}").read_bytes() == file.read_bytes()
    assert {answer for _, _, answer in proxy.seen} - {"whole"} == set(faults)
    fetched = len(proxy.downloads())
    assert faults or fetched == len(set(proxy.downloads()))
    run_all(root, tmp_path / "second", **how)
    assert len(proxy.downloads()) == fetched


def test_parts_with_disks_of_their_own_meet_in_the_bucket(gs, on_disk, tmp_path):
    folder, _ = on_disk
    root = stock(gs, "parts", folder)
    how = HOW | sources(str(folder), "splits/test.csv") | {"finetuned_mdl_path": folder / "tuned"}
    whole = ssast.extract(**how, exp_dir=tmp_path / "whole")
    for number in (1, 2):
        own = {"bucket_name": "parts", "cloud_dir": "out", "exp_dir": tmp_path / f"disk-{number}"}
        ssast.extract(**how, **own, part=f"{number}/2")
    there = {name.removeprefix("out/") for name in gs.names("parts") if name.startswith("out/")}
    assert {f"{whole.stem}_part-001-of-002.parquet", "run-extract_part-002-of-002.yaml"} <= there
    merged = ssast.merge(runs=f"{root}/out", exp_dir=tmp_path / "merged")
    assert (merged / whole.name).read_bytes() == whole.read_bytes()


def test_parts_in_one_folder_send_what_is_their_own(gs, on_disk, tmp_path):
    folder, _ = on_disk
    gs.bucket("own")
    out = {"bucket_name": "own", "exp_dir": tmp_path / "out"}
    how = HOW | sources(str(folder), "splits/test.csv") | {"finetuned_mdl_path": folder / "tuned"}
    ssast.extract(**how, **out, cloud=False, part="1/2")
    ssast.extract(**how, **out, part="2/2")
    assert {name.rpartition("/")[2] for name in gs.names("own")} == {
        ".ssast_part-002-of-002",
        *names_of(out, "part-002"),
    }


def names_of(out: dict[str, object], part: str) -> set[str]:
    return {name for name in names(Path(str(out["exp_dir"]))) if part in name}
