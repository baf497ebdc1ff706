"""Redaction itself: what is a name, what is a count, what is a path, and what is left of the text around them."""

import hashlib
import time

import pytest

from ssast import redaction
from ssast.errors import AudioError
from ssast.redaction import HIDDEN, Redaction


def digest(kind: str, name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


@pytest.fixture
def redactor():
    with redaction.redacting(Redaction(digest)) as found:
        yield found


def as_said(text: str) -> str:
    """A redacted text with the hashes taken out, kind by kind."""
    return HIDDEN.sub(lambda word: word.group().rsplit("-", 1)[0].upper(), text)


def test_without_redaction_everything_stays():
    redaction.learn("uid", ["0001"])
    assert redaction.shown("clip 0001 in /data/x") == "clip 0001 in /data/x"
    assert redaction.shown_name("uid", "0001") == "0001"
    assert redaction.shown_page("<p>0001</p>") == "<p>0001</p>"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("0001", "clip 0001: it is cut off.", "clip UID: it is cut off."),
        ("0001", "loss 0.0001, 10001 and 0001.5", "loss 0.0001, 10001 and 0001.5"),
        ("hans_m-3", "read hans_m-3, not hans_m-33", "read UID, not hans_m-33"),
        ("Hans M & Co", "clip Hans M & Co, <b>Hans M &amp; Co</b>", "clip UID, <b>UID</b>"),
        ("Müller 1", '{"uid": "M\\u00fcller 1"} at b/o/M%C3%BCller%201?x', '{"uid": "UID"} at b/o/UID?x'),
        ("p71", "x_p71.png p71's p712", "X_UID.png UID's p712"),
    ],
)
def test_a_name_is_hidden_where_it_stands_alone_however_it_is_spelt(redactor, name, text, said):
    redactor.learn("uid", [name])
    assert as_said(redaction.shown(text)) == said


@pytest.mark.parametrize("name", ["data", "split", "root", "data_split_root", "path"])
def test_a_folder_may_be_called_as_the_kinds_of_names_are(redactor, name):
    redactor.learn_place("data_split_root", "/a/b")
    redactor.learn("data_split_root", [name])
    shown = redaction.shown(f"/a/b/train.csv {name} uid-0123456789ab X_path-0123456789ab_tiny.pqt")
    assert as_said(shown) == "DATA_SPLIT_ROOT/train.csv DATA_SPLIT_ROOT UID X_PATH_tiny.pqt"
    assert redaction.shown(shown) == shown


def test_a_short_word_is_a_name_only_where_a_recording_is_meant(redactor):
    redactor.learn("subject", ["F1", "m"])
    assert redaction.shown("label  F1  m") == "label  F1  m"
    assert as_said(redaction.shown("speaker F1, subject 'm'")) == "speaker SUBJECT, subject 'SUBJECT'"


def test_a_plain_number_is_a_name_where_a_recording_is_meant_and_else_a_count(redactor):
    redactor.learn("uid", ["17", "3", "200"])
    assert (
        redaction.shown("validation: 17 of 200 rows, epoch 3/10, 17.3 s")
        == "validation: 17 of 200 rows, epoch 3/10, 17.3 s"
    )
    assert as_said(redaction.shown("clip 17: cut off; uid 3")) == "clip UID: cut off; uid UID"
    sentence = "3 of the 200 uids have no folder, the first is 17; line 3: the same samples as 3 of train"
    said = "3 of the 200 uids have no folder, the first is UID; line 3: the same samples as UID of train"
    assert as_said(redaction.shown(sentence, is_sentence=True)) == said


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ("3 clips are lacking, of them 17 rows", {"uid": ["17"]}, "3 clips are lacking, of them UID rows"),
        ("the answer of tom is anna", {"uid": ["tom"], "cell": ["anna"]}, "the answer of UID is CELL"),
        ("epoch 3: at least 5 of 5", {"subject": ["5"]}, "epoch 3: at least SUBJECT of SUBJECT"),
    ],
)
def test_names_that_an_error_carries_are_hidden_whatever_the_words_around_them(redactor, text, names, said):
    assert as_said(redactor.text(text, is_sentence=True, names=names)) == said


def test_an_error_in_other_words_carries_the_same_names():
    error = AudioError("it is cut off", uid="7").said("clip x: it is cut off", uid=["x", "y"], cell=3)
    assert isinstance(error, AudioError)
    assert error.names == {"uid": ("7", "x", "y"), "cell": ("3",)}


def test_a_place_is_hidden_with_all_that_stands_behind_it_but_our_own_file_names(redactor):
    redactor.learn_place("prefix", "/srv/Clinic X/audio", "Clinic X/audio")
    redactor.learn("uid", ["Hans M"])
    text = "cannot read /srv/Clinic X/audio/Hans M/metadata.json: check Clinic X/audio/other/waveform.WAV."
    said = "cannot read PREFIX/UID/metadata.json: check PREFIX/PATH/waveform.WAV."
    assert as_said(redaction.shown(text)) == said


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("run-evaluate.yaml", True),
        ("bad_audio.csv", True),
        ("waveform.WAV", True),
        ("fold-3", True),
        ("set_tiny_layerNA_ft_cls_ft_embeddings.pqt", True),
        ("set_tiny_layerNA_ft_cls_ft_embeddings_over_time.pqt", True),
        ("hans.csv", False),
    ],
)
def test_only_our_own_file_names_are_shown(redactor, name, is_ours):
    redactor.learn_place("exp_dir", "/srv/x")
    assert as_said(redaction.shown(f"in /srv/x/{name}.")) == (f"in EXP_DIR/{name}." if is_ours else "in EXP_DIR/PATH.")


@pytest.mark.parametrize(
    "path",
    ["/srv/x/y", "gs://bucket/a/b", "~/secret/x", "../secret", "C:\\secret\\x", "https://host/b/o/0001%2Fx?alt=media"],
)
def test_a_path_or_address_that_nobody_foretold_is_hidden(redactor, path):
    assert (
        as_said(redaction.shown(f"cannot read {path}: denied; see '{path}'."))
        == "cannot read PATH: denied; see 'PATH'."
    )


def test_what_is_no_path_stays(redactor):
    text = "3/10 [00:01<00:02, 4.1 clip/s] yes/no, 1 / 2, <br/> and gs:// alone"
    assert redaction.shown(text) == text


def test_what_is_hidden_once_stays_as_it_is(redactor):
    redactor.learn_place("exp_dir", "/runs/x")
    redactor.learn("uid", ["hans"])
    once = redaction.shown("hans in /runs/x/report.html")
    assert redaction.shown(once) == once


def test_a_page_keeps_its_markup_and_its_pictures(redactor):
    redactor.learn("uid", ["table", "7", "hans-1"])
    redactor.learn_place("prefix", "/srv/x")
    text = '<table id="7"><td>hans-1 of /srv/x</td><img src="data:image/png;base64,hans-1/srv/x"></table>'
    said = '<table id="7"><td>UID of PREFIX</td><img src="data:image/png;base64,hans-1/srv/x"></table>'
    assert as_said(redaction.shown_page(text)).replace("UID/srv", "hans-1/srv") == said


def test_a_hundred_thousand_names_cost_no_time(redactor):
    redactor.learn("uid", [f"P-{number:06d}" for number in range(100_000)])
    start = time.perf_counter()
    for _ in range(200):
        redaction.shown(
            "epoch 3/10:  50%|#####     | 100/200 [00:10<00:10, 10.00batch/s, loss=0.6931] clip P-000017 of P-9"
        )
    assert time.perf_counter() - start < 10  # one after the other they would take minutes
