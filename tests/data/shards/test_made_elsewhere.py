"""Recordings that Hugging Face's datasets wrote, and folders of its kind `audiofolder`."""

from pathlib import Path

import pytest
import soundfile

from ssast.data.recordings import load_recording
from ssast.data.shards.collection import opened
from ssast.data.storage.location import Location
from ssast.data.tables.splits import read_split
from ssast.errors import AudioError, UserError


def sounds(corpus, folder, frame):
    """The recordings of a table under names of their own."""
    folder.mkdir(parents=True)
    for uid in frame.index:
        content = (corpus.audio / uid / "waveform.wav").read_bytes()
        (folder / f"clip_{uid}.wav").write_bytes(content)
    return [folder / f"clip_{uid}.wav" for uid in frame.index]


def same(corpus, root, uid, own):
    samples, rate = soundfile.read(corpus.audio / uid / "waveform.wav", dtype="float32")
    found = load_recording(Location(root), own)
    assert found.sample_rate == rate
    assert (found.waveform[0].numpy() == samples).all()


def test_a_data_set_that_datasets_wrote_is_read_with_its_own_columns(still_corpus, tmp_path):
    datasets = pytest.importorskip("datasets")
    frame = still_corpus.frame()
    files = [str(place) for place in sounds(still_corpus, tmp_path / "wav", frame)]
    cells = {"Tone is high": list(frame["high"]), "who": list(frame["speaker"]), "recording": files}
    data = datasets.Dataset.from_dict(cells).cast_column("recording", datasets.Audio(decode=False))

    def embedded(row):
        place = Path(row["recording"]["path"])
        return {"recording": {"bytes": place.read_bytes(), "path": place.name}}

    data = data.map(embedded)
    (tmp_path / "set" / "data").mkdir(parents=True)
    data.to_parquet(str(tmp_path / "set" / "data" / "train-00000-of-00001.parquet"))
    collection = opened(Location(tmp_path / "set"))
    assert list(collection.uids) == [f"clip_{uid}" for uid in frame.index]
    table = read_split(collection.table("train"))
    assert list(table.columns) == ["Tone is high", "who"]
    assert list(table["Tone is high"]) == list(frame["high"])
    same(still_corpus, tmp_path / "set", "0003", "clip_0003")


def test_an_audiofolder_is_read_by_its_metadata_csv(still_corpus, tmp_path):
    for name in ("train", "test"):
        frame = still_corpus.frame(name)
        files = sounds(still_corpus, tmp_path / name / "wavs", frame)
        table = frame.assign(file_name=[f"wavs/{file.name}" for file in files])
        table.to_csv(tmp_path / name / "metadata.csv", index=False)
    collection = opened(Location(tmp_path))
    assert collection.tables() == ["train", "test"]
    table = read_split(collection.table("test"))
    assert list(table.index) == [f"clip_{uid}" for uid in still_corpus.frame("test").index]
    assert list(table["high"]) == list(still_corpus.frame("test")["high"])
    same(still_corpus, tmp_path, "0013", "clip_0013")
    (tmp_path / "test" / "wavs" / "clip_0013.wav").unlink()
    with pytest.raises(AudioError, match=r"clip clip_0013: .* does not exist; put the recording there"):
        load_recording(Location(tmp_path), "clip_0013")
    with pytest.raises(AudioError, match=r"clip gone: no file_name in .* gives this uid"):
        load_recording(Location(tmp_path), "gone")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,high\na.wav,1\n", "has no column file_name, only name, high"),
        ("file_name\n../a.wav\n", "names the file '../a.wav'"),
        ("file_name,uid\na.wav,x\nb.wav,x\n", "1 uid.* in more than one row: x;"),
    ],
)
def test_a_metadata_csv_that_cannot_be_meant_gives_one_sentence(tmp_path, text, words):
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        opened(Location(tmp_path))


def test_a_link_out_of_an_audiofolder_is_refused(still_corpus, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.wav").symlink_to(still_corpus.audio / "0000" / "waveform.wav")
    (tmp_path / "set" / "metadata.csv").write_text("file_name\na.wav\n")
    with pytest.raises(UserError, match="is a link that leaves the data folder"):
        load_recording(Location(tmp_path / "set"), "a")
