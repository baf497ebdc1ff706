"""What a model says that it was trained on is opened only where the command names it."""

import pytest

from ssast.errors import UserError
from ssast.options.record import resolve
from ssast.runs import training_rows
from ssast.runs.context import Paths
from ssast.runs.training_rows import trained_rows


@pytest.fixture
def opened(monkeypatch):
    """The places that are asked for, shards or tables, of which none can be read."""
    asked = []

    def find(root, name):
        asked.append(str(root))
        raise UserError("it is not there")

    monkeypatch.setattr(training_rows, "find_split", find)
    monkeypatch.setattr(training_rows, "opened_anew", lambda root: asked.append(str(root)))
    return asked


def stranger(tmp_path, root):
    home = tmp_path / "model"
    home.mkdir()
    (home / "run.yaml").write_text(f"data_split_root: {root}\n")
    return home


def command(home, splits):
    named = {"prefix": "x", "label_txt": "labels.txt", "data_split_root": splits, "bucket_name": "mine"}
    return Paths.of(resolve(mode="evaluate", finetuned_mdl_path=str(home), **named))


@pytest.mark.parametrize(
    "root",
    [
        "http://127.0.0.1:9/splits",
        "gs://somebody/splits",
        "gs://mine-not/splits",
        "gs://mine/../other/splits",
        "/etc",
        "{}/splits/../other",
        "{}/model/link",
        "simplecache::http://127.0.0.1:9/x.csv",
    ],
)
def test_a_model_folder_opens_no_place_that_the_command_does_not_name(opened, tmp_path, root):
    """Its run.yaml once made an evaluation send requests to an address that nobody had named."""
    home = stranger(tmp_path, root.format(tmp_path))
    (home / "link").symlink_to(tmp_path)
    found = trained_rows(command(home, str(tmp_path / "splits")), home)
    assert opened == []
    assert found.rows == []
    assert found.note.startswith("note: it is not known whether the model was trained on these clips or people, since")
    assert "this command names neither it nor a folder around it" in found.note


@pytest.mark.parametrize(
    ("root", "given"),
    [
        ("{}/splits", "{}/splits"),
        ("{}/splits", "{}/splits/test.csv"),
        ("{}/splits/train.csv", "{}/splits/test.csv"),
        ("{}/splits/first", "{}/splits"),
        ("gs://mine/splits", "{}/splits"),
        ("{}/model/splits", "{}/splits"),
    ],
)
def test_what_the_command_names_or_what_lies_below_it_is_looked_at(opened, tmp_path, root, given):
    home = stranger(tmp_path, root.format(tmp_path))
    assert "cannot be read" in trained_rows(command(home, given.format(tmp_path)), home).note
    assert opened == [root.format(tmp_path)] * 2


@pytest.mark.parametrize("content", ["data_split_root: [1]\n", "data_split_root: !!float a\n", "- 1\n", "a: &a [*a]\n"])
def test_an_odd_record_of_a_model_does_not_end_an_evaluation(opened, tmp_path, content):
    home = stranger(tmp_path, "x")
    (home / "run.yaml").write_text(content)
    assert trained_rows(command(home, "y"), home).rows == []
    assert opened == []


def test_of_a_strangers_validation_csv_only_who_speaks_is_read(tmp_path):
    home = tmp_path / "model"
    home.mkdir()
    more = ",".join(map(str, range(5_000)))
    (home / "validation.csv").write_text(f"uid,speaker,{more}\na,p1,{more}\n")
    (rows,) = trained_rows(command(home, str(tmp_path)), home).rows
    assert (list(rows.columns), list(rows.index)) == (["speaker"], ["a"])


@pytest.mark.parametrize("content", ["uid" + "," * 1_000_000 + "\na\n", "uid\n" + "x" * (9 << 20), "["])
def test_a_validation_csv_that_no_run_wrote_is_passed_over(content, tmp_path):
    home = tmp_path / "model"
    home.mkdir()
    (home / "validation.csv").write_text(content)
    assert trained_rows(command(home, str(tmp_path)), home).rows == []
