"""Whole modes on a bucket: the same bytes as from disk, nothing fetched twice, results in the bucket."""

import shutil
from pathlib import Path

import pytest
import torch

import ssast
from ssast import cli

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
        for file in ("config.json", "model.safetensors", "thresholds.json"):
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
