"""Broken recordings, metadata, csv files, labels and checkpoints: each kind has its sentence, and fuzz has no other."""

import io
import json
import pickle
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from ssast.audio.container import CHECKS, cut_off, sniff
from ssast.audio.decode import EXTENSIONS, decode
from ssast.data.recordings import load_recording
from ssast.data.storage.location import Location
from ssast.data.tables.splits import read_split
from ssast.data.tables.targets import check_targets, read_labels
from ssast.errors import AudioError, UserError
from ssast.model.checkpoints.legacy import read_arguments, read_legacy
from ssast.model.checkpoints.published import read_checkpoint
from ssast.model.classification import SSASTForAudioClassification
from ssast.options.options import Options
from ssast.options.record import resolve

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 4000).astype(np.float32)
FUZZ_SECONDS = 2


def sound(container="WAV", subtype=None, samples=NOISE):
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format=container, subtype=subtype)
    return file.getvalue()


def one_sentence(error):
    text = str(error)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


WAV = sound()


def with_value(value):
    samples = NOISE.copy()
    samples[7] = value
    return sound(subtype="FLOAT", samples=samples)


RECORDINGS = {  # what lies in waveform.EXT -> the sentence after "clip 017: "
    "no bytes": ("wav", b"", "its file is empty (0 bytes); get a whole copy"),
    "text": ("wav", b"hello, this is no sound", "it is named wav but holds bytes of no audio format known here"),
    "zeros": ("wav", bytes(4000), "it is named wav but holds bytes of no audio format known here"),
    "header alone": ("wav", WAV[:30], "it is cut off: it ends before its samples begin; get a whole copy"),
    "cut off wav": ("wav", WAV[:3000], "it is cut off: its data chunk should hold 8000 bytes and 2956 are there"),
    "cut off flac": ("flac", sound("FLAC")[:3000], "cut off"),
    "cut off ogg": ("ogg", sound("OGG")[:3000], "it is cut off: "),
    "cut off mp3": ("mp3", sound("MP3")[:800], "it is cut off: "),
    "cut off aiff": ("aiff", sound("AIFF")[:3000], "it is cut off: its sound chunk should hold"),
    "cut off au": ("au", sound("AU")[:3000], "it is cut off: its part with samples should hold"),
    "no samples": ("wav", sound(samples=NOISE[:0]), "it has 0 samples; get a whole copy"),
    "NaN": ("wav", with_value(np.nan), "1 of its 4000 samples are NaN or infinite; correct or replace it"),
    "infinite": ("wav", with_value(np.inf), "1 of its 4000 samples are NaN or infinite; correct or replace it"),
    "flac named wav": ("wav", sound("FLAC"), "it is named wav but holds flac; name it as what it is"),
    "wav named flac": ("flac", WAV, "it is named flac but holds wav; name it as what it is"),
    "wav named m4a": ("m4a", WAV, "it is named m4a but holds wav; name it as what it is"),
    "damaged flac": ("flac", sound("FLAC")[:200] + bytes(300) + sound("FLAC")[500:], "its flac bytes are"),
    "a promise of hours": ("au", b".snd" + struct.pack(">5I", 24, 1 << 30, 3, 16000, 1), "it is cut off: its part"),
}


@pytest.mark.parametrize(("extension", "content", "said"), RECORDINGS.values(), ids=RECORDINGS)
def test_each_broken_recording_has_its_sentence(extension, content, said, tmp_path):
    (tmp_path / "017").mkdir()
    (tmp_path / "017" / f"waveform.{extension}").write_bytes(content)
    (tmp_path / "017" / "metadata.json").write_text(json.dumps({"encoding": extension, "sample_rate_hz": 16000}))
    with pytest.raises(AudioError) as caught:
        load_recording(Location(str(tmp_path)), "017")
    assert one_sentence(caught.value).startswith("clip 017: ")
    assert said in str(caught.value)


GOOD = {"encoding": "WAV", "sample_rate_hz": 16000}
METADATA = {
    "missing": (None, "metadata.json is missing; write one with encoding and sample_rate_hz"),
    "empty": (b"", "is not valid JSON; write one with encoding and sample_rate_hz"),
    "cut off": (b'{"encoding": "WA', "is not valid JSON"),
    "no text": (b"\xff\xfe\x00", "is not valid JSON"),
    "nested without end": (b"[" * 90_000, "is not valid JSON"),
    "a list": (b"[1]", "lacks encoding or sample_rate_hz; write both"),
    "no encoding": ({"sample_rate_hz": 16000}, "lacks encoding or sample_rate_hz; write both"),
    "no rate": ({"encoding": "WAV"}, "lacks encoding or sample_rate_hz; write both"),
    "a path for an encoding": ({**GOOD, "encoding": "/etc/passwd"}, "has the encoding '/etc/passwd'; write the exten"),
    "another encoding": ({**GOOD, "encoding": "FLAC"}, "says FLAC, but the file is waveform.wav; correct one of them"),
    "another rate": (
        {**GOOD, "sample_rate_hz": 8000},
        "holds 16000 Hz, but metadata.json says 8000; correct one of them",
    ),
    "rate in words": ({**GOOD, "sample_rate_hz": "16 kHz"}, "has the sample_rate_hz '16 kHz'; write a whole number"),
    "negative rate": ({**GOOD, "sample_rate_hz": -1}, "has the sample_rate_hz '-1'; write a whole number"),
    "no number": (b'{"encoding": "WAV", "sample_rate_hz": NaN}', "has the sample_rate_hz 'nan'; write a whole number"),
}


@pytest.mark.parametrize(("content", "said"), METADATA.values(), ids=METADATA)
def test_each_broken_metadata_has_its_sentence(content, said, tmp_path):
    (tmp_path / "017").mkdir()
    (tmp_path / "017" / "waveform.wav").write_bytes(WAV)
    if content is not None:
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        (tmp_path / "017" / "metadata.json").write_bytes(content)
    with pytest.raises(AudioError) as caught:
        load_recording(Location(str(tmp_path)), "017")
    assert one_sentence(caught.value).startswith("clip 017: ")
    assert said in str(caught.value)


CSV = {
    "empty": (b"", "is empty; it needs a header with a uid column and one row a recording"),
    "blank lines": (b"\n\n  \n", "is empty; it needs a header"),
    "header alone": (b"uid,ill\n", "has a header but no rows; add one row a recording"),
    "no uid": (b"file,ill\na,1\n", "has no column uid, only file, ill; name the column"),
    "no header": (b"0012,1\n0013,0\n", "has no column uid, only 0012, 1; name the column"),
    "a column twice": (b"uid,ill,ill\na,1,1\n", "has more than one column 'ill'; rename or remove all but one"),
    "a uid twice": (b"uid,ill\na,1\nb,1\na,0\n", "names 1 uid(s) more than once: a; keep one row of each"),
    "an empty uid": (b"uid,ill\na,1\n,0\n", "line 3, has an empty uid; fill it in or remove the line"),
    "a short row": (b"uid,ill,old\na,1,1\nb,1\n", "line 3, has 2 cells; the header has 3: correct that line"),
    "a long row": (b"uid,ill\na,1,0\n", "line 2, has 3 cells; the header has 2: correct that line"),
    "an open quote": (b'uid,ill\n"a,1\n', "is no readable csv: line 2: unexpected end of data; correct that line"),
    "latin letters": (b"uid,ill\nJos\xe9,1\n", "is not UTF-8 text (line 2); save it again as UTF-8"),
    "a spreadsheet": (b"PK\x03\x04\x00\x00\x00\x00", "holds NUL characters, so it is no text file"),
    "half of UTF-16": ("uid,ill\na,1\n".encode("utf-16")[:-1], "is not UTF-8 text"),
}


@pytest.mark.parametrize(("content", "said"), CSV.values(), ids=CSV)
def test_each_broken_csv_has_its_sentence(content, said, tmp_path):
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_split(tmp_path / "train.csv")
    assert said in one_sentence(caught.value)
    assert "train.csv" in str(caught.value)


LABELS = {
    "empty file": (b"", "ill", "holds no label; write one label a line"),
    "separators alone": (b",\n, ,\n", "ill", "holds no label; write one label a line"),
    "a label twice": (b"ill\nold\nill\n", "ill", "names the label 'ill' more than once; keep one line of it"),
    "no text": (b"\x00\x01", "ill", "holds NUL characters, so it is no text file"),
    "not in the csv": (
        b"nasal\n",
        "1",
        "the label 'nasal' is not in the csv, whose columns are ill; correct --label_txt",
    ),
    "words": (b"ill\n", "yes", "the label 'ill' of uid a is 'yes', expected a number"),
    "two": (b"ill\n", "2", "the label 'ill' of uid a is '2', expected 0 or 1 (or between) under --loss BCE"),
    "negative": (b"ill\n", "-1", "the label 'ill' of uid a is '-1', expected 0 or 1 (or between) under --loss BCE"),
    "infinite": (b"ill\n", "1e999", "expected a finite number"),
}


@pytest.mark.parametrize(("content", "cell", "said"), LABELS.values(), ids=LABELS)
def test_each_broken_label_has_its_sentence(content, cell, said, tmp_path):
    (tmp_path / "labels.txt").write_bytes(content)
    (tmp_path / "train.csv").write_text(f"uid,ill\na,{cell}\n")
    with pytest.raises(UserError) as caught:
        check_targets(read_split(tmp_path / "train.csv"), read_labels(tmp_path / "labels.txt"), "BCE")
    assert said in one_sentence(caught.value)


@pytest.fixture(scope="module")
def good_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    SSASTForAudioClassification(2, "tiny", target_length=32, labels=["a", "b"], seed=0).save_pretrained(folder)
    return folder


def change_weights(change):
    def damage(folder):
        state = load_file(folder / "model.safetensors")
        save_file(change(state), folder / "model.safetensors")

    return damage


def cut(name, size):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def lose(name):
    return lambda folder: (folder / name).unlink()


CHECKPOINTS = {
    "no config": (lose("config.json"), "has no config.json; give a folder that save_pretrained wrote whole"),
    "no weights": (lose("model.safetensors"), "has no model.safetensors; give a folder that save_pretrained wrote"),
    "empty config": (put("config.json", b""), "config.json of"),
    "a foreign config": (put("config.json", b'{"model_type": "bert"}'), "is not one that ssast wrote"),
    "empty weights": (put("model.safetensors", b""), "cannot be read"),
    "cut off weights": (cut("model.safetensors", 90_000), "cannot be read"),
    "a pickle for weights": (put("model.safetensors", pickle.dumps({})), "cannot be read"),
    "a tensor too few": (
        change_weights(lambda state: {key: state[key] for key in list(state)[1:]}),
        "do not fit the model they should fill (1 missing: ",
    ),
    "a tensor too many": (
        change_weights(lambda state: state | {"more": torch.ones(1)}),
        "do not fit the model they should fill (1 unexpected: more)",
    ),
    "another shape": (
        change_weights(lambda state: state | {"v.cls_token": torch.ones(1, 1, 7)}),
        "1 of another shape: v.cls_token (1, 1, 7) instead of (1, 1, 192)",
    ),
}


@pytest.mark.parametrize(("damage", "said"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_each_broken_model_folder_has_its_sentence(damage, said, good_model, tmp_path):
    folder = shutil.copytree(good_model, tmp_path / "model")
    damage(folder)
    with pytest.raises(UserError) as caught:
        SSASTForAudioClassification.from_pretrained(folder)
    assert said in one_sentence(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": 14}, "layer is 14, expected a whole number from -1 to 13"),
        ({"gauss": 2}, "gauss is 2, expected a number from 0 to 1"),
        ({"epochs": 0}, "epochs is 0, expected a whole number of at least 1"),
        ({"freeze": "maybe"}, "freeze is maybe, expected True or False"),
        ({"epocs": 1}, "there is no option epocs; did you mean epochs?"),
        ({"on_bad_audio": "ignore"}, "on_bad_audio is ignore, expected one of error, skip"),
    ],
)
def test_each_broken_option_has_its_sentence(options, said):
    with pytest.raises(UserError) as caught:
        resolve(Options(), mode="finetune", prefix="a", data_split_root="b", **options)
    assert said in one_sentence(caught.value)


def test_the_kinds_are_at_least_sixty():
    assert sum(map(len, (RECORDINGS, METADATA, CSV, LABELS, CHECKPOINTS))) >= 60


def mutated(content, rng):
    """The content with a few bytes changed, cut out, doubled or put in."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at, length = int(rng.integers(len(content) + 1)), int(rng.integers(1, 9))
        kind = rng.integers(5)
        if kind == 0:
            content[at : at + length] = rng.bytes(length)
        elif kind == 1:
            del content[at : at + int(rng.choice([1, 4, 200]))]
        elif kind == 2:
            content[at:at] = content[at : at + length]
        elif kind == 3:
            content[at:at] = rng.choice([b"\xff\xff\xff\xff", b"\x00" * 8, b'"', b"\n", b",", b"\x80", b"9" * 30])
        else:
            content[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), int(rng.integers(1 << 32)))
    return bytes(content)


def fuzzed(good, least):
    """Mutations of the good contents in turn, the same ones every time, until the time is up."""
    rng, until, count = np.random.default_rng(0), time.monotonic() + FUZZ_SECONDS, 0
    while count < least or (time.monotonic() < until and count < 20 * least):
        count += 1
        yield mutated(good[count % len(good)], rng)


def test_fuzzed_headers_of_recordings_lead_to_a_recording_or_one_sentence():
    """Mutations fall into the first 200 bytes, where the headers are."""
    kinds = {"WAV": "wav", "FLAC": "flac", "OGG": "ogg", "MP3": "mp3", "AIFF": "aiff", "AU": "au", "CAF": "caf"}
    kinds |= {"W64": "w64", "NIST": "sph"}
    whole = [(extension, sound(container)) for container, extension in kinds.items()]
    heads = [content[:200] for _, content in whole]
    for count, head in enumerate(fuzzed(heads, 200), start=1):
        extension, content = whole[count % len(whole)]
        try:
            waveform_CS = decode(io.BytesIO(head + content[200:]), extension=extension).waveform
        except AudioError as error:
            one_sentence(error)
        else:
            assert torch.isfinite(waveform_CS).all()
            assert waveform_CS.numel()


def test_fuzzed_containers_are_told_or_not_but_never_fail():
    good = [sound(container)[:400] for container in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64", "NIST")]
    for content in fuzzed(good, 500):
        assert sniff(content) in (None, *CHECKS)
        for kind in CHECKS:
            assert cut_off(content, kind) is None or isinstance(cut_off(content, kind), str)
        with pytest.raises(AudioError):
            decode(io.BytesIO(content[:12]), extension=EXTENSIONS[len(content) % len(EXTENSIONS)])


def test_fuzzed_csv_files_lead_to_a_table_or_one_sentence(tmp_path):
    text = 'uid,speaker,ill,age\n0012,ann,1,34.5\n0013,bob,0,\n0014,"x, y",0.5,7\n'
    good = [text.encode(), text.replace(",", ";").encode("utf-8-sig"), text.replace("\n", "\r\n").encode("utf-16")]
    place = tmp_path / "train.csv"
    for content in fuzzed(good, 300):
        place.write_bytes(content)
        try:
            frame = read_split(place)
            check_targets(frame, ["ill"], "BCE")
        except UserError as error:
            one_sentence(error)
        else:
            assert frame.index.is_unique
            assert all(isinstance(uid, str) and uid for uid in frame.index)


def test_fuzzed_metadata_leads_to_a_recording_or_one_sentence(tmp_path):
    (tmp_path / "017").mkdir()
    (tmp_path / "017" / "waveform.wav").write_bytes(WAV)
    for content in fuzzed([json.dumps(GOOD).encode(), json.dumps(GOOD, indent=1).encode("utf-8-sig")], 300):
        (tmp_path / "017" / "metadata.json").write_bytes(content)
        try:
            assert load_recording(Location(str(tmp_path)), "017").sample_rate == 16000
        except UserError as error:
            assert one_sentence(error).startswith("clip 017: ")  # noqa: PT017


def test_fuzzed_pickles_lead_to_values_or_one_sentence(tmp_path):
    values = {"task": "ft_cls", "layer": -1, "labels": ["a", "b"], "rate": 16000.0, "none": None}
    good = [pickle.dumps(values, protocol) for protocol in range(5)]
    place: Path = tmp_path / "args.pkl"
    for content in fuzzed(good, 300):
        place.write_bytes(content)
        try:
            assert isinstance(read_arguments(place), dict)
        except UserError as error:
            one_sentence(error)


def test_fuzzed_checkpoints_lead_to_one_sentence(tmp_path):
    """A small file of tensors that is no model even when it is whole."""
    good = []
    for new in (True, False):
        file = io.BytesIO()
        torch.save({"a": torch.ones(3), "b": torch.ones(2, 2).half()}, file, _use_new_zipfile_serialization=new)
        good.append(file.getvalue())
    for content in fuzzed(good, 100):
        (tmp_path / "model.pt").write_bytes(content)
        for read in (read_checkpoint, lambda place: read_legacy(place, {})):
            with pytest.raises(UserError) as caught:
                read(tmp_path / "model.pt")
            one_sentence(caught.value)
