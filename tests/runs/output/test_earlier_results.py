"""A mode that ends without a result leaves its folder as it was: earlier records and results stay together."""

import pytest

from ssast.cli import main
from ssast.errors import Interrupted, UserError
from ssast.model.classification import SSASTForAudioClassification
from ssast.runs.output.earlier_results import left_as_it_was

pytestmark = pytest.mark.usefixtures("narrow")

ENDS = {
    "a sentence": UserError("no"),
    "Ctrl-C": KeyboardInterrupt(),
    "a signal": Interrupted("stopped"),
    "a bug": KeyError(),
}


@pytest.fixture
def folder(tmp_path):
    """An output folder with a record and a result."""
    made = tmp_path / "out"
    made.mkdir()
    (made / "run.yaml").write_text("mode: predict\n")
    (made / "predicted.csv").write_text("file\n")
    return made


def ends(folder, error, *, result="", state=""):
    """A mode that writes its records, then perhaps something else, and fails."""

    def mode():
        with left_as_it_was(folder):
            folder.mkdir(exist_ok=True)
            for name in ("run.yaml", "run-evaluate.yaml"):
                (folder / name).write_text("mode: evaluate\n")
            (folder / "attention").mkdir()
            for place in filter(None, (result, state)):
                (folder / place).parent.mkdir(exist_ok=True)
                (folder / place).write_text("x")
            raise error

    with pytest.raises(type(error)):
        mode()


@pytest.mark.parametrize("error", ENDS.values(), ids=ENDS)
def test_the_earlier_record_is_as_it_was(folder, error):
    """A failed `predict` into the folder of an earlier one had rewritten run.yaml already."""
    ends(folder, error)
    assert (folder / "run.yaml").read_text() == "mode: predict\n"
    assert (folder / "predicted.csv").read_text() == "file\n"


def test_a_record_of_its_own_goes_where_nothing_goes_on_from_it(folder):
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.pt").write_text("of the training before")
    ends(folder, UserError("no"))
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "predicted.csv", "run.yaml"]


@pytest.mark.parametrize(
    "made", [{"result": "predicted.csv"}, {"result": "attention/a.png"}, {"state": "checkpoints/last.pt"}]
)
def test_the_new_record_stays_with_what_belongs_to_it(folder, made):
    ends(folder, UserError("no"), **made)
    assert (folder / "run.yaml").read_text() == "mode: evaluate\n"


def test_why_recordings_could_not_be_used_is_no_result(folder):
    ends(folder, UserError("no recording could be used"), result="bad_audio.csv")
    assert (folder / "run.yaml").read_text() == "mode: predict\n"
    assert (folder / "bad_audio.csv").exists()


def test_folders_that_nothing_came_into_go(folder):
    """`attention` left an empty folder after an error."""
    (folder / "mine").mkdir()
    ends(folder, UserError("no"))
    assert not (folder / "attention").exists()
    assert (folder / "mine").exists()


def test_a_new_folder_goes_whole(tmp_path):
    (tmp_path / "a").mkdir()
    ends(tmp_path / "a" / "out", UserError("no"))
    assert not (tmp_path / "a" / "out").exists()


def test_predict_that_fails_leaves_the_folder_of_the_one_before_as_it_was(still_corpus, tmp_path, capsys):
    model = tmp_path / "model"
    SSASTForAudioClassification(1, "tiny", target_length=32, labels=["ill"], seed=0).save_pretrained(model)
    recording = next(still_corpus.audio.glob("*/waveform.*"))
    words = ["predict", str(model), "-o", str(tmp_path / "out"), "--device", "cpu", "--target_length", "32"]
    assert main([*words, str(recording)]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "broken.wav").write_bytes(recording.read_bytes()[:60])
    assert main([*words, str(tmp_path / "broken.wav")]) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("name", ["checkpoints", ".parts", "tensorboard", "log.jsonl", "run.yaml", "predicted.csv"])
def test_nothing_is_written_through_a_link_out_of_the_folder(name, still_corpus, tmp_path, capsys):
    """A stranger's folder may hold links; a run in it writes to its own place alone."""
    model, mine, out = tmp_path / "model", tmp_path / "mine", tmp_path / "out"
    SSASTForAudioClassification(1, "tiny", target_length=32, labels=["ill"], seed=0).save_pretrained(model)
    out.mkdir()
    mine.mkdir()
    (mine / "file").write_text("precious: 1\n")
    (out / name).symlink_to(mine / "file" if "." in name[1:] else mine)
    recording = str(next(still_corpus.audio.glob("*/waveform.*")))
    words = ["predict", str(model), recording, "-o", str(out), "--device", "cpu", "--target_length", "32"]
    assert main(words) == 2
    assert "is a link out of" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in mine.iterdir()] == [("file", "precious: 1\n")]


def test_a_folder_that_is_a_link_itself_is_written_to(tmp_path):
    from ssast.data.storage.atomic_writes import atomic_file, staying_in

    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with staying_in(tmp_path / "out"), atomic_file(tmp_path / "out" / "x") as beside:
        beside.write_text("y")
    assert (tmp_path / "real" / "x").read_text() == "y"


@pytest.mark.parametrize("name", ["checkpoints", "attention"])
def test_a_file_where_a_mode_wants_its_own_folder_is_one_sentence(name, folder):
    (folder / name).write_text("no folder")

    def mode():
        with left_as_it_was(folder):
            (folder / name).mkdir(exist_ok=True)

    with pytest.raises(UserError, match=f"cannot write .*{name}: file exists; move it away"):
        mode()
    assert (folder / name).read_text() == "no folder"


def test_an_error_of_another_place_stays_what_it_is(folder, tmp_path):
    def mode():
        with left_as_it_was(folder):
            tmp_path.mkdir()

    with pytest.raises(FileExistsError):
        mode()
