"""`--part` and `ssast merge`: parts that never met make the files of one run, byte for byte."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

import ssast
from ssast import SSASTForAudioClassification, cli
from ssast.data.storage.folder_lock import in_use
from ssast.engine import inference
from ssast.errors import UserError

torch.set_num_threads(1)
SHAPE = {"model_size": "tiny", "fshape": 32, "tshape": 8, "num_mel_bins": 32, "target_length": 48}
FRONTEND = {"sample_rate": 16000, "num_mel_bins": 32, "target_length": 48, "mean": -4.0, "std": 4.0}
FRONTEND |= {"reduce": True, "clip_length": 0.0}
HERE = {"device": "cpu", "precision": "fp32", "batch_size": 8}
PARTS = 4


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "fine"
    kept = {"labels": ["high", "loud"], "frontend": FRONTEND, "task": "ft_avgtok", "layer": 2, "seed": 0}
    SSASTForAudioClassification(2, **SHAPE, **kept).save_pretrained(folder)
    (folder / "thresholds.json").write_text('{"thresholds": {"high": 0.5}}')
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, still_corpus):
    """The corpus, with one recording that cannot be used, one that is silent, and others of odd numbers of samples.

    A clip that ended its batch at an odd place once had other last digits than with a longer neighbour.
    """
    folder = tmp_path_factory.mktemp("parts") / "corpus"
    shutil.copytree(still_corpus.folder, folder)
    rng = np.random.default_rng(1)
    for uid in still_corpus.frame("train").index[::2]:
        samples = 0.3 * rng.standard_normal(int(rng.integers(2000, 7000))) + 0.2
        soundfile.write(folder / "audio" / uid / "waveform.wav", samples, 16000)
    (folder / "audio" / "0004" / "waveform.wav").write_bytes(b"no sound")
    soundfile.write(folder / "audio" / "0009" / "waveform.wav", [0.0] * 9000, 16000)
    return folder


def extract(recordings, model, out, **options) -> Path:
    where = {"prefix": recordings / "audio", "data_split_root": recordings / "splits" / "train.csv"}
    how = {"finetuned_mdl_path": model, "on_bad_audio": "skip", "dataset": "x", "exp_dir": out}
    return ssast.extract(**{**where, **HERE, **how, **options})


def predict(recordings, model, out, **options) -> Path:
    how = {"finetuned_mdl_path": model, "files": recordings / "audio", "on_bad_audio": "skip", "exp_dir": out}
    return ssast.predict(**{**HERE, **how, **options})


def in_parts(run, *arguments, count=PARTS, **options) -> list[Path]:
    return [run(*arguments, part=f"{number}/{count}", **options) for number in range(1, count + 1)]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".pqt", ".parquet", ".csv")}


@pytest.mark.parametrize("options", [{}, {"over_time": True}, {"whole_recording": True}])
def test_the_parts_of_extract_make_the_files_of_one_run(recordings, model_folder, tmp_path, options):
    whole = extract(recordings, model_folder, tmp_path / "whole", **options)
    written = in_parts(extract, recordings, model_folder, tmp_path / "parts", **options)
    assert written[2].name == f"{whole.stem}_part-003-of-004.parquet"
    merged = ssast.merge(runs=tmp_path / "parts", exp_dir=tmp_path / "merged")
    assert files(merged) == files(tmp_path / "whole")
    assert {"bad_audio.csv", "heard.csv", whole.name} == set(files(merged))
    assert ds.dataset(written).to_table().equals(pq.read_table(whole))


def test_the_parts_of_predict_make_the_files_of_one_run(recordings, model_folder, tmp_path):
    predict(recordings, model_folder, tmp_path / "whole", window_pooling="max")
    in_parts(predict, recordings, model_folder, tmp_path / "parts", window_pooling="max")
    assert "predicted_windows_part-002-of-004.csv" in files(tmp_path / "parts")
    assert cli.main(["merge", str(tmp_path / "parts"), "-o", str(tmp_path / "merged")]) == 0
    assert files(tmp_path / "merged") == files(tmp_path / "whole")


def test_more_parts_than_recordings_and_parts_without_a_usable_one_are_joined_too(recordings, model_folder, tmp_path):
    some = [recordings / "audio" / uid / "waveform.wav" for uid in ("0004", "0005", "0006")]
    predict(recordings, model_folder, tmp_path / "whole", files=some)
    in_parts(predict, recordings, model_folder, tmp_path / "parts", files=some, count=5)
    tables = sorted((tmp_path / "parts").glob("predicted_part-*.parquet"))
    assert ds.dataset(tables).to_table().num_rows == 2
    merged = ssast.merge(runs=tmp_path / "parts", exp_dir=tmp_path / "merged")
    assert files(merged) == files(tmp_path / "whole")


def test_the_bytes_do_not_go_with_breaks(recordings, model_folder, tmp_path, monkeypatch, dies):
    whole = extract(recordings, model_folder, tmp_path / "whole")
    monkeypatch.setattr(inference, "BYTES_A_PART", 0)
    with dies(inference, "values", after=1):
        extract(recordings, model_folder, tmp_path / "out")
    assert extract(recordings, model_folder, tmp_path / "out").read_bytes() == whole.read_bytes()


def test_a_part_keeps_what_is_its_own_and_leaves_the_others_alone(recordings, model_folder, tmp_path, dies):
    out = tmp_path / "out"
    with dies(inference, "values", after=0):
        extract(recordings, model_folder, out, part="1/4")
    extract(recordings, model_folder, out, part="2/4")
    before = sorted(out.rglob("*"))
    assert cli.main(["extract", "--part", "3/4", "-i", "nowhere", "-d", "nowhere", "-o", str(out)]) == 2
    assert sorted(out.rglob("*")) == before
    assert (out / ".parts" / "extract_part-001-of-004" / "key.json").exists()
    assert (out / "run-extract_part-002-of-004.yaml").exists()


def test_the_same_part_is_refused_while_it_runs_and_another_is_not(recordings, model_folder, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    with in_use(tmp_path / "elsewhere", out / ".ssast.lock_part-002-of-004", "extract --part 2/4"):
        extract(recordings, model_folder, out, part="3/4")
        with pytest.raises(UserError, match=r"in use by extract --part 2/4 on"):
            extract(recordings, model_folder, out, part="2/4")


def test_what_is_missing_or_doubled_is_named(recordings, model_folder, tmp_path):
    out, more = tmp_path / "out", tmp_path / "more"
    written = in_parts(extract, recordings, model_folder, out)
    more.mkdir()
    shutil.copy(written[1], more)
    with pytest.raises(UserError, match=r"part 2 is there 2 times: .*out/.*part-002.*more/.*part-002"):
        ssast.merge(runs=f"{out},{more}", exp_dir=tmp_path / "merged")
    written[3].unlink()
    written[2].rename(out / written[3].name)
    with pytest.raises(UserError, match="holds part 3 of 4, which its name does not say"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")
    (out / written[3].name).unlink()
    with pytest.raises(UserError, match=r"parts 3, 4 of 4 missing: start with --part 3/4"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_parts_of_other_options_or_another_table_are_refused(recordings, model_folder, tmp_path):
    out = tmp_path / "out"
    extract(recordings, model_folder, out, part="1/2")
    extract(recordings, model_folder, out, part="2/2", whole_recording=True)
    with pytest.raises(UserError, match="are not of one run: whole_recording its default there, True here"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")
    extract(recordings, model_folder, out, part="2/2", data_split_root=recordings / "splits" / "test.csv")
    with pytest.raises(UserError, match="are not of one run: made with another model, table or labels"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")


def test_a_folder_without_parts_and_a_damaged_part_are_refused(recordings, model_folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="is no folder"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")
    out.mkdir()
    with pytest.raises(UserError, match="holds no table of a part"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")
    written = in_parts(extract, recordings, model_folder, out, count=2)
    content = written[1].read_bytes()
    written[1].write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"part-002-of-002.parquet cannot be read as the table of a part"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")
    pd.DataFrame({"uid": ["0001"]}).to_parquet(written[1])
    with pytest.raises(UserError, match="cannot be read as the table of a part"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")
    written[1].write_bytes(content)
    (out / "bad_audio_part-001-of-002.csv").write_bytes(b"uid,reason\n\xff\xfe,x\n")
    with pytest.raises(UserError, match=r"bad_audio_part-001-of-002.csv cannot be read as the table of a part"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")
    table = pq.read_table(written[1])
    pq.write_table(table.set_column(1, "embedding", table["uid"]), written[1])
    with pytest.raises(UserError, match=r"part-002-of-002.parquet has other columns .* or of other types"):
        ssast.merge(runs=out, exp_dir=tmp_path / "merged")


@pytest.mark.slow
def test_eight_parts_at_once_one_killed_and_started_again_make_the_table_of_one_run(
    recordings, model_folder, tmp_path, warm_modes
):
    whole = extract(recordings, model_folder, tmp_path / "whole", data_split_root=recordings / "splits" / "train.csv")
    out = tmp_path / "parts"

    def start(number, before=""):
        words = ["extract", "-i", recordings / "audio", "-o", out, "--part", f"{number}/8", "--dataset", "x"]
        words += ["-d", recordings / "splits" / "train.csv", "--finetuned_mdl_path", model_folder]
        words += ["--on_bad_audio", "skip", "--device", "cpu", "--precision", "fp32", "--batch_size", "8"]
        run = f"import sys\nfrom ssast import cli\nsys.exit(cli.main({list(map(str, words))!r}))"
        return warm_modes.start(f"{before}\n{run}", os.environ)

    never = "import time\nfrom ssast.engine import inference\ninference.values = lambda *given: time.sleep(600)"
    killed = start(5, never)
    while not (out / ".ssast.lock_part-005-of-008").exists():
        assert not killed.has_ended()
    killed.kill()
    killed.end()
    running = [start(number) for number in range(1, 9)]
    assert [process.end().returncode for process in running] == [0] * 8
    merged = ssast.merge(runs=out, exp_dir=tmp_path / "merged")
    assert files(merged) == files(tmp_path / "whole")
    assert whole.name in files(merged)
