import codecs
import re

import numpy as np
import pandas as pd
import pytest
import torch

from ssast.data.tables.splits import find_split, read_split, split_validation
from ssast.data.tables.targets import check_targets, label_list, read_labels, targets
from ssast.errors import UserError


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "train.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_uids_stay_text_with_their_leading_zeros(table):
    frame = read_split(table("uid,high\n0012,1\nNA,0\nnull,1\nNone,0\n1e5,1\n"))
    assert list(frame.index) == ["0012", "NA", "null", "None", "1e5"]
    assert frame.index.name == "uid"
    assert frame["high"].tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_separators_line_ends_and_byte_order_marks_make_no_difference(table, separator, end, mark):
    lines = ["uid, high ,note", '01,1,"a b"', "02,0,c", ""]
    frame = read_split(table(mark + end.join(lines).replace(",", separator).encode()))
    assert list(frame.columns) == ["high", "note"]
    assert frame["high"].to_dict() == {"01": 1, "02": 0}
    assert frame["note"].tolist() == ["a b", "c"]


def test_an_empty_label_cell_is_nan_and_keeps_its_row(table):
    frame = read_split(table("uid,high,loud\na,,1\nb,1,NA\nc,0,0.5\n"))
    assert np.isnan(frame["high"]["a"])
    assert np.isnan(frame["loud"]["b"])
    check_targets(frame, ["high", "loud"], "BCE")
    values = targets(frame, ["high", "loud"])
    assert values.dtype == torch.float32
    assert values.isnan().sum() == 2
    assert values[2].tolist() == [0.0, 0.5]


def test_other_columns_with_leading_zeros_stay_text_and_numbers_become_numbers(table):
    frame = read_split(table("uid,speaker,age\na,0024,31\nb,0025,44\n"))
    assert frame["speaker"].tolist() == ["0024", "0025"]
    assert frame["age"].tolist() == [31, 44]


def test_decimal_commas_and_trailing_separators_of_spreadsheets_are_read(table):
    frame = read_split(table("uid;score;;\na;0,5;;\nb;-1,25;;\n"))
    assert list(frame.columns) == ["score"]
    assert frame["score"].tolist() == [0.5, -1.25]


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1,234", "987", ""], None),
        (["1.234", "98,5"], None),
        (["-1,234", "987.5"], None),
        (["1,234", "2,500"], [1.234, 2.5]),
        (["1,234", "1,25", "2"], [1.234, 1.25, 2]),
        (["0,345", "1,234", "0"], [0.345, 1.234, 0]),
        (["1.234", "987"], [1.234, 987]),
        (["136,0", "140.5"], [136, 140.5]),
    ],
)
def test_a_comma_or_point_that_may_part_thousands_leaves_text(table, cells, numbers):
    """`1,234` beside `987` became 1.234, a thousandth of what a spreadsheet meant, without a word."""
    rows = "".join(f"{at};{cell}\n" for at, cell in enumerate(cells))
    frame = read_split(table(f"uid;score\n{rows}"))
    if numbers is not None:
        assert frame["score"].tolist() == numbers
        return
    with pytest.raises(UserError, match="expected numbers without marks of thousands, since 1,234 may be 1234 or"):
        check_targets(frame, ["score"], "MSE")


def test_the_nameless_row_numbers_of_pandas_are_dropped(table, tmp_path):
    pd.DataFrame({"uid": ["01", "02"], "high": [0, 1]}).to_csv(tmp_path / "train.csv")
    assert list(read_split(tmp_path / "train.csv").columns) == ["high"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("uid,high\n", "no rows"),
        ("id,high\na,1\n", "no column uid, only id, high"),
        ("id high\na 1\n", "no column uid, only id high"),
        ("uid,high\na,1\na,0\nb,1\nb,1\n", "2 uid.s. more than once: a, b"),
        ("uid,high\n,1\n", "line 2, has an empty uid"),
        ("uid,high\na,1\nb\n", "line 3, has 1 cells; the header has 2"),
        ("uid,high\na,1,5\n", "line 2, has 3 cells"),
        ("uid,high,high\na,1,1\n", "more than one column 'high'"),
        ('uid,high\n"a,1\n', "no readable csv"),
        (b"uid,high\n\xe4,1\n", "UTF-8"),
        (b"PK\x03\x04\0\0", "NUL"),
    ],
)
def test_a_csv_that_cannot_be_used_is_named_in_one_sentence(table, content, said):
    with pytest.raises(UserError, match=said) as caught:
        read_split(table(content))
    assert "train.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_csv_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv does not exist"):
        read_split(tmp_path / "none.csv")


def test_random_bytes_are_read_or_refused_in_one_sentence(table):
    rng = np.random.default_rng(0)
    alphabet = np.frombuffer(b'uid,;\t"\n\r\x00 01aN\xef\xbb\xbf\xff', dtype=np.uint8)
    for _ in range(300):
        content = b"uid,a\n" * int(rng.integers(2)) + rng.choice(alphabet, int(rng.integers(40))).tobytes()
        try:
            frame = read_split(table(content))
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert len(frame) > 0


def test_a_split_is_found_in_a_folder_or_is_the_csv_itself(still_corpus, tmp_path):
    assert find_split(still_corpus.splits, "test").name == "test.csv"
    assert find_split(still_corpus.splits / "train.csv", "test").name == "train.csv"
    with pytest.raises(UserError, match=r"folder with train\.csv"):
        find_split(tmp_path / "nothing", "train")
    with pytest.raises(UserError, match=r"test\.csv does not exist"):
        find_split(tmp_path, "test")


@pytest.mark.parametrize(
    "content", [b"a\nb\n", b"\xef\xbb\xbf a \r\n\r\nb", b"a,b", b"a, b,\n", b'"a"\n"b"\n', b"a\rb"]
)
def test_labels_are_read_one_a_line_or_with_commas(tmp_path, content):
    (tmp_path / "labels.txt").write_bytes(content)
    assert read_labels(tmp_path / "labels.txt") == ["a", "b"]


@pytest.mark.parametrize(("content", "said"), [("", "holds no label"), (" \n,\n", "no label"), ("a\nb\na\n", "'a'")])
def test_label_files_without_labels_or_with_doubles_are_refused(tmp_path, content, said):
    (tmp_path / "labels.txt").write_text(content)
    with pytest.raises(UserError, match=said):
        read_labels(tmp_path / "labels.txt")
    with pytest.raises(UserError, match="does not exist"):
        read_labels(tmp_path / "none.txt")


@pytest.mark.parametrize("labels", [None, [], (), np.array([]), pd.Index([])])
def test_labels_may_be_none_in_every_way(labels, table):
    frame = read_split(table("uid\na\nb\n"))
    assert targets(frame, label_list(labels)).shape == (2, 0)


@pytest.mark.parametrize(
    ("cells", "loss", "said"),
    [
        ("2", "BCE", "'high' of uid b is '2.*0 or 1"),
        ("-0.1", "BCE", "'high' of uid b is '-0.1'"),
        ("yes", "BCE", "'high' of uid b is 'yes', expected a number"),
        ("yes", "MSE", "expected a number"),
        ("inf", "MSE", "expected a finite number"),
        ("1e300", "MSE", "expected a finite number"),
    ],
)
def test_labels_that_the_loss_cannot_take_are_named(table, cells, loss, said):
    frame = read_split(table(f"uid,high\na,1\nb,{cells}\n"))
    with pytest.raises(UserError, match=said):
        check_targets(frame, ["high"], loss)


def test_a_header_of_lines_or_of_a_thousand_letters_is_named_in_one_line(table):
    frame = read_split(table(f'uid,"a\nb",{"x" * 1000}\nq,1,0\n'))
    with pytest.raises(UserError, match=r"whose columns are a b, x+\.\.\.; correct") as caught:
        check_targets(frame, ["high"], "BCE")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_soft_labels_pass_under_both_losses_and_any_number_under_mse(table):
    frame = read_split(table("uid,soft,score\na,0.25,-7\nb,1,1000\n"))
    check_targets(frame, ["soft"], "BCE")
    check_targets(frame, ["soft", "score"], "MSE")


def test_a_label_that_is_not_in_the_csv_is_named_with_the_columns(table):
    with pytest.raises(UserError, match=re.escape("'low' is not in the csv, whose columns are high, loud")):
        check_targets(read_split(table("uid,high,loud\na,1,0\n")), ["high", "low"], "BCE")


def many(speakers, clips=5, column="speaker"):
    uids = [f"{speaker}-{clip}" for speaker in range(speakers) for clip in range(clips)]
    return pd.DataFrame({column: [uid.split("-")[0] for uid in uids]}, index=pd.Index(uids, name="uid"))


def test_validation_shares_no_subject_with_training_where_there_are_ten():
    frame = many(20)
    train, held, sentence = split_validation(frame, 0.1, 0)
    assert len(held) == 10
    assert len(train) + len(held) == len(frame)
    assert not set(train["speaker"]) & set(held["speaker"])
    assert "speaker" in sentence
    assert "10 of 100" in sentence


@pytest.mark.parametrize("frame", [many(9), many(20).drop(columns="speaker")])
def test_validation_is_drawn_by_row_where_subjects_are_few_or_unknown(frame):
    _, held, sentence = split_validation(frame, 0.2, 0)
    assert len(held) == round(0.2 * len(frame))
    assert "row by row" in sentence


def test_the_choice_depends_on_seed_and_names_and_not_on_the_order_of_rows():
    frame = many(30, column="Subject")
    held = [
        set(split_validation(table, 0.1, seed)[1].index) for table, seed in ((frame, 0), (frame[::-1], 0), (frame, 1))
    ]
    assert held[0] == held[1]
    assert held[0] != held[2]


def test_both_parts_keep_the_order_of_rows_and_at_least_one_row():
    frame = many(1, clips=2)
    train, held, _ = split_validation(frame, 0.001, 0)
    assert (len(train), len(held)) == (1, 1)
    train, held, _ = split_validation(frame, 0.999, 0)
    assert (len(train), len(held)) == (1, 1)
    train, _, _ = split_validation(many(20), 0.5, 3)
    assert list(train.index) == [uid for uid in many(20).index if uid in set(train.index)]


def test_recordings_of_unknown_subjects_are_subjects_of_their_own():
    frame = many(12)
    frame.iloc[:20, 0] = None
    train, held, _ = split_validation(frame, 0.5, 0)
    assert len(train) + len(held) == 60
    assert 0 < held["speaker"].isna().sum() < 20


def test_what_cannot_be_split_is_one_sentence():
    with pytest.raises(UserError, match="1 row"):
        split_validation(many(1, clips=1), 0.1, 0)
    for share in (0, 1, float("nan")):
        with pytest.raises(UserError, match="val_share"):
            split_validation(many(3), share, 0)


def test_the_real_splits_read_as_their_readme_says(shared):
    frame = read_split(shared / "speechocean" / "splits" / "train.csv")
    assert frame.index[0] == "000360036"
    assert frame["speaker"].iloc[0] == "0036"
    check_targets(frame, read_labels(shared / "speechocean" / "labels.txt"), "BCE")
    train, held, _ = split_validation(frame, 0.1, 0)
    assert not set(train["speaker"]) & set(held["speaker"])


def test_a_csv_of_more_columns_than_any_table_has_is_one_sentence(tmp_path):
    (tmp_path / "train.csv").write_text("uid" + "," * 200_000 + "\na\n")
    with pytest.raises(UserError, match=r"has 200,001 columns, expected 10,000 at most"):
        read_split(tmp_path / "train.csv")


@pytest.mark.parametrize("label", ["x" * 201, "\x1b[2J"])
def test_a_label_that_no_model_folder_can_keep_is_refused_before_training(label, tmp_path):
    """The model that was trained with it could not be loaded."""
    (tmp_path / "labels.txt").write_text(f"ill\n{label}\n")
    with pytest.raises(UserError, match="expected one line of 1 to 200 characters"):
        read_labels(tmp_path / "labels.txt")
