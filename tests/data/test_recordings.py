import io
import json
import os

import numpy as np
import pytest

from ssast.data.recordings import check_uid, find_recording, load_recording
from ssast.data.storage.location import Location
from ssast.errors import AudioError, UserError

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)


@pytest.fixture
def root(tmp_path, record):
    record(tmp_path / "audio" / "017", NOISE, 16000)
    return Location(str(tmp_path / "audio"))


def metadata(root, content):
    (root.path / "017" / "metadata.json").write_bytes(
        content if isinstance(content, bytes) else json.dumps(content).encode()
    )


def test_a_recording_is_found_and_decoded(root):
    found = find_recording(root, "017")
    assert (found.extension, found.sample_rate, found.location.name) == ("wav", 16000, "waveform.wav")
    recording = load_recording(root, "017")
    assert recording.waveform.shape == (1, 8000)
    assert recording.sample_rate == 16000


def test_a_recording_behind_an_fsspec_address_is_the_same(root):
    remote = Location("memory://ssast-recordings/audio")
    for name in ("waveform.wav", "metadata.json"):
        with (remote / "017" / name).open("wb") as file:
            file.write((root / "017" / name).read_bytes())
    assert load_recording(remote, "017").waveform.equal(load_recording(root, "017").waveform)
    with pytest.raises(AudioError, match=r"clip 018: memory://.*/018 does not exist"):
        load_recording(remote, "018")


@pytest.mark.parametrize("encoding", ["WAV", "wav", ".WAV", "LINEAR16", " Wave "])
def test_encodings_are_taken_under_their_usual_names(root, encoding):
    metadata(root, {"encoding": encoding, "sample_rate_hz": 16000})
    assert find_recording(root, "017").extension == "wav"


@pytest.mark.parametrize(
    ("encoding", "extension"),
    [
        ("OGG_OPUS", "opus"),
        ("OGG_OPUS", "ogg"),
        ("AMR_WB", "amr"),
        ("MULAW", "wav"),
        ("WEBM_OPUS", "webm"),
        ("M4A", "m4a"),
    ],
)
def test_names_of_speech_services_lead_to_their_files(root, encoding, extension):
    os.rename(root.path / "017" / "waveform.wav", root.path / "017" / f"waveform.{extension}")
    metadata(root, {"encoding": encoding, "sample_rate_hz": 8000})
    assert find_recording(root, "017").extension == extension


@pytest.mark.parametrize("rate", [16000, 16000.0, "16000", " 16000.0 "])
def test_rates_may_be_written_as_numbers_or_text(root, rate):
    metadata(root, {"encoding": "WAV", "sample_rate_hz": rate})
    assert load_recording(root, "017").sample_rate == 16000


def test_a_byte_order_mark_and_an_extension_in_capitals_do_no_harm(root):
    metadata(root, b"\xef\xbb\xbf" + json.dumps({"encoding": "WAV", "sample_rate_hz": 16000}).encode())
    os.rename(root.path / "017" / "waveform.wav", root.path / "017" / "waveform.WAV")
    assert load_recording(root, "017").waveform.shape == (1, 8000)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        ([1], "lacks encoding"),
        ({"encoding": "WAV"}, "lacks encoding or sample_rate_hz"),
        ({"sample_rate_hz": 16000}, "lacks encoding"),
        ({"encoding": "../../x", "sample_rate_hz": 16000}, "has the encoding '../../x'"),
        ({"encoding": None, "sample_rate_hz": 16000}, "holds no|but the file is"),
        ({"encoding": "WAV", "sample_rate_hz": 0}, "sample_rate_hz '0'"),
        ({"encoding": "WAV", "sample_rate_hz": True}, "sample_rate_hz 'True'"),
        ({"encoding": "WAV", "sample_rate_hz": "fast"}, "sample_rate_hz 'fast'"),
        ({"encoding": "WAV", "sample_rate_hz": None}, "sample_rate_hz 'None'"),
        ({"encoding": "WAV", "sample_rate_hz": [1]}, "sample_rate_hz"),
        ({"encoding": "WAV", "sample_rate_hz": 8000}, "holds 16000 Hz, but metadata.json says 8000"),
        ({"encoding": "FLAC", "sample_rate_hz": 16000}, "says FLAC, but the file is waveform.wav"),
    ],
)
def test_metadata_that_cannot_be_right_is_named_with_the_uid(root, content, said):
    metadata(root, content)
    with pytest.raises(AudioError, match=said) as caught:
        load_recording(root, "017")
    assert str(caught.value).startswith("clip 017: ")
    assert "\n" not in str(caught.value)


def test_random_metadata_is_read_or_refused_in_one_sentence(root):
    rng = np.random.default_rng(0)
    good = json.dumps({"encoding": "WAV", "sample_rate_hz": 16000}).encode()
    for _ in range(200):
        broken = bytearray(good)
        for place in rng.integers(0, len(good), int(rng.integers(1, 5))):
            broken[place] = int(rng.integers(256))
        metadata(root, bytes(broken))
        try:
            load_recording(root, "017")
        except AudioError as error:
            assert str(error).startswith("clip 017: ")  # noqa: PT017


@pytest.mark.parametrize(
    ("lost", "said"), [("metadata.json", "is missing"), ("waveform.wav", r"holds no waveform\.wav")]
)
def test_missing_files_are_named(root, lost, said):
    (root.path / "017" / lost).unlink()
    with pytest.raises(AudioError, match=f"clip 017: .*{said}"):
        load_recording(root, "017")


def test_a_missing_folder_is_named(root):
    with pytest.raises(AudioError, match=r"clip 099: .*099 does not exist"):
        load_recording(root, "099")


@pytest.mark.parametrize("content", [b"", b"no sound at all", b"RIFF"])
def test_undecodable_files_are_named_with_the_uid(root, content):
    (root.path / "017" / "waveform.wav").write_bytes(content)
    with pytest.raises(AudioError, match=r"^clip 017: "):
        load_recording(root, "017")


@pytest.mark.parametrize("uid", ["../../x", "..", ".", "/etc", "a/b", "a\\b", "C:x", "", "  ", "a\0b", "a\nb"])
def test_uids_that_could_leave_the_folder_are_refused(root, uid):
    with pytest.raises(UserError, match="not a plain folder name") as caught:
        load_recording(root, uid)
    assert not isinstance(caught.value, AudioError)


@pytest.mark.parametrize("uid", ["0012", "a b", "ä", "..x", "a.b", "-m", "#1", "100%", "*", "[x]"])
def test_unusual_folder_names_are_uids(uid, tmp_path, record):
    check_uid(uid)
    record(tmp_path / uid, NOISE, 16000)
    assert load_recording(Location(str(tmp_path)), uid).waveform.shape == (1, 8000)


@pytest.mark.parametrize("linked", ["uid", "waveform.wav", "metadata.json"])
def test_links_that_leave_the_folder_are_refused(root, tmp_path, record, linked):
    outside = record(tmp_path / "outside", NOISE, 16000)
    if linked == "uid":
        (root.path / "018").symlink_to(outside)
        uid = "018"
    else:
        (root.path / "017" / linked).unlink()
        (root.path / "017" / linked).symlink_to(outside / linked)
        uid = "017"
    with pytest.raises(UserError, match="link that leaves the data folder") as caught:
        load_recording(root, uid)
    assert not isinstance(caught.value, AudioError)


def test_links_inside_the_folder_and_a_linked_data_folder_are_fine(root, tmp_path):
    (root.path / "018").symlink_to(root.path / "017")
    (tmp_path / "linked").symlink_to(root.path)
    assert load_recording(Location(str(tmp_path / "linked")), "018").sample_rate == 16000


def test_opus_may_name_the_rate_that_it_was_made_from(tmp_path):
    import soundfile

    folder = tmp_path / "017"
    folder.mkdir()
    buffer = io.BytesIO()
    soundfile.write(buffer, NOISE, 16000, format="OGG", subtype="OPUS")
    (folder / "waveform.opus").write_bytes(buffer.getvalue())
    (folder / "metadata.json").write_text(json.dumps({"encoding": "OGG_OPUS", "sample_rate_hz": 16000}))
    recording = load_recording(Location(str(tmp_path)), "017")
    assert recording.waveform.shape[-1] / recording.sample_rate == pytest.approx(0.5, abs=0.03)
