"""Files made to take for ever: each is refused in a sentence, within 2 s and 300 MB, in a process of its own.

The files are read one after the other by `readers.py`, which is stopped where one of them hangs.
"""

import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

SECONDS, KIB = 2.0, 300_000
READERS = Path(__file__).with_name("readers.py")
ALTOGETHER = 400  # [s] for all files, on a busy machine

DOUBLED = b"\x80\x04N\x85" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(34))


def text(word):
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def named(function):
    module, _, name = function.rpartition(".")
    return b"c" + f"{module}\n{name}\n".encode()


def storage(count):
    return b"(" + text("storage") + named("torch.FloatStorage") + text("0") + text("cpu") + count + b"tQ"


def tensor(size, count=b"K\x01"):
    rest = size + size + b"\x89" + named("collections.OrderedDict") + b")R"
    return named("torch._utils._rebuild_tensor_v2") + b"(" + storage(count) + b"K\x00" + rest + b"tR"


PICKLES = {
    "a name that doubles": DOUBLED + b"X\x01\0\0\0x\x93.",
    "a module that doubles": DOUBLED + b"q\x40X\x01\0\0\0xh\x40\x93.",
    "a value that doubles": b"\x80\x04}X\x01\0\0\0a" + DOUBLED[2:] + b"s.",
    "persistent ids in each other": b"\x80\x02N" + b"Q" * 200_000 + b".",
    "persistent ids that double": b"\x80\x02N\x85" + b"".join(b"q%ch%c\x86Q" % (i, i) for i in range(34)) + b".",
    "a shape of one huge number": b"\x80\x02\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20) + b"q\x00("
    + b"h\x00" * 3001 + b"tq\x01}" + text("a") + tensor(b"h\x01") + b"s.",
    "a shape of many numbers": b"\x80\x02}" + text("a")
    + tensor(b"(" + b"\x8a\x08" + b"\xff" * 7 + b"\x7f" + b"K\x02" * 3000 + b"t") + b"s.",
    "a megabyte of lists": b"\x80\x02" + b"]" * (1 << 20),
    "a megabyte of marks": b"\x80\x02" + b"(" * ((1 << 20) - 8) + b".",
    "a megabyte of texts": b"\x80\x02" + b"U\x00" * ((1 << 19) - 8) + b".",
    "numbers with one hash": b"\x80\x02}(" + b"".join(
        b"\x8a\x0a" + (((1 << 61) - 1) * i).to_bytes(10, "little") + b"N" for i in range(1, 60_000)) + b"u.",
    "a memo with one hash": b"}" + b"".join(b"p%d\n" % (((1 << 61) - 1) * i) for i in range(1, 40_000)) + b".",
    "a number of ten thousand digits": b"L" + b"9" * 10_000 + b"L\n.",
    "an endless name": b"\x80\x02}" + b"X" + struct.pack("<I", 900_000) + b"a" * 900_000 + b"Ns.",
    "a dictionary made of pairs": b"\x80\x02" + named("collections.OrderedDict") + b"]N"
    + b"\x85q\x00h\x00h\x00\x86" * 40 + b"N\x86a\x85R.",
    "a storage by its name": b"\x80\x02" + named("torch.FloatStorage") + b"\x8a\x06\x00\x00\x00\x00\x00\x10\x85R.",
    "a tensor with a state": b"\x80\x02}" + text("a") + tensor(b"K\x01\x85") + b"(K\x01K\x02tbs.",
}  # fmt: skip


def colliding():
    """Dictionaries in each other, 300 entries each, whose names joined with dots are but a few."""
    dots = [text("." * count) for count in range(300)]
    inner = b"}q\x00(" + b"".join(name + b"N" for name in dots) + b"u"
    for level in range(1, 7):
        inner += b"}q%c(" % level + b"".join(name + b"h%c" % (level - 1) for name in dots) + b"u"
    return b"\x80\x02" + inner + b"."


PICKLES["names that meet each other"] = colliding()
YAMLS = {
    "laughs": "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(24)),
    "merged": "a: &a {x: 1}\nb: {<<: *a}\n",
    "merged at once": "<<: {a: 1}\n",
    "nested lists": "a: " + "[" * 100_000,
    "nested lines": "- " * 100_000,
    "nested keys": "? " * 100_000,
    "no number": "val_share: !!float a\n",
    "no truth": "weighted: !!bool maybe\n",
    "no date": "epochs: 2024-13-01\n",
    "digits": "epochs: " + "9" * 10_000,
    "hexadecimal": "epochs: 0x" + "f" * 1_000_000,
    "exponent": "val_share: 1.0e+999\n",
    "tabs": "\tepochs: 1\n",
    "control": "dataset: \x1b[2J\n",
    "twice": "epochs: 1\nepochs: 2\n",
    "many lines": "".join(f"a{i}: 1\n" for i in range(100_000)),
    "an endless name": "a" * 300_000 + ": 1\n",
    "a list for a number": "epochs: [1, 2]\n",
    "a set": "epochs: !!set {a, b}\n",
    "too large": "dataset: " + "x" * (9 << 20),
}  # fmt: skip

JSONS = {
    "nested": "[" * 300_000,
    "nested a little less": '{"a":' * 400 + "1" + "}" * 400,
    "digits": '{"target_length": ' + "9" * 10_000 + "}",
    "nan": '{"thresholds": {"a": NaN}, "labels": {}, "loss": NaN, "target_length": NaN}',
    "infinity": '{"thresholds": {"a": 1e999}, "labels": {"a": Infinity}, "loss": "BCE", "target_length": -Infinity}',
    "another kind": "[1, 2]",
    "nothing": "",
    "a list of lists": "[" + "[]," * 2_000_000 + "1]",
    "wrong entries": '{"class": 5, "thresholds": {"a": "x"}, "labels": {"a": 5}, "loss": "BCE", "record": [1]}',
    "twice": '{"class": "a", "class": "b", "thresholds": {}, "thresholds": {}, "loss": "BCE", "loss": "MSE"}',
    "too large": '{"class": "' + "x" * (9 << 20) + '"}',
}
CONFIG = {"class": "SSASTForAudioClassification", "model_size": "tiny", "num_labels": 1, "fshape": 128, "tshape": 2}
CONFIGS = {
    "a million frames": {"target_length": 1_000_000},
    "no labels to count": {"num_labels": None},
    "labels of two lines": {"labels": ["a\nb"]},
    "an endless label": {"labels": ["x" * 100_000]},
    "labels that are one": {"num_labels": 2, "labels": ["a", "a"]},
    "an empty label": {"labels": [" "]},
    "a label that steers": {"labels": ["\x1b[2J"]},
    "a layer that is none": {"layer": [[[1]]]},
    "a negative rate": {"frontend": {"sample_rate": -1}},
    "a spectrogram of another length": {"target_length": 32, "frontend": {"target_length": 10**5}},
    "a spread of nothing": {"frontend": {"std": 0}},
    "an unknown entry": {"\x1b" * 1000: 1},
}


def zipped(path, content, *parts):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", content)
        for name, data in parts:
            archive.writestr(name, data)


def bomb(path):
    """A packed part, that grows a thousandfold."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("a/data/0", bytes(1 << 28))


def boundless(path):
    """One value that is seen a million times a million times."""
    torch.save({"a": torch.ones(1).expand(10**6, 10**6)}, path)


def declaring(path):
    """A storage of 400 GB in an archive of a few bytes."""
    count = b"\x8a\x08" + struct.pack("<q", 10**11)
    content = b"\x80\x02}" + text("a") + tensor(count + b"\x85", count) + b"s."
    zipped(path, content, ("a/data/0", bytes(4)))


def crowded(path):
    """A zip archive of a hundred thousand parts."""
    zipped(path, b"\x80\x02}.", *((f"a/data/{i}", b"") for i in range(100_000)))


def overlapping(path):
    """Tensors that together are five thousand times what they lie in."""
    value = torch.ones(1000)
    torch.save({f"t{i}": value for i in range(5000)}, path)


def folder(path, config, tensors=None):
    path.mkdir()
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    save_file(tensors or {"v.pos_embed": torch.ones(1, 4, 192)}, path / "model.safetensors")
    return path


def write_all(root):
    """(reader, path) of every hostile file, under names that say what is wrong with it."""
    asked = []
    for number, (name, content) in enumerate(PICKLES.items()):
        (root / f"{name} p").mkdir()
        (root / f"{name} p" / "args.pkl").write_bytes(content)
        asked.append(("arguments", root / f"{name} p" / "args.pkl"))
        zipped(root / f"{name}.pt", content, ("a/data/0", bytes(4)))
        readers = ("checkpoint", "inspect") if number % 4 else ("older", "state", "inspect")
        asked += [(reader, root / f"{name}.pt") for reader in readers]
    for write in (crowded, overlapping, bomb, boundless, declaring):
        write(root / f"{write.__name__}.pt")
        asked.append(("checkpoint", root / f"{write.__name__}.pt"))
    huge = json.dumps({"a": {"dtype": "F32", "shape": [10**11], "data_offsets": [0, 4 * 10**11]}}).encode()
    (folder(root / "huge", {}) / "model.safetensors").write_bytes(struct.pack("<Q", len(huge)) + huge + bytes(4))
    asked.append(("checkpoint", root / "huge"))
    for name, content in YAMLS.items():
        place = root / f"{name} y"
        place.mkdir()
        (place / "run.yaml").write_text(content)
        asked.append(("config", place / "run.yaml"))
        if name not in ("no date", "exponent", "a list for a number"):
            asked.append(("card", place))
    for name, content in JSONS.items():
        place = root / f"{name} j"
        place.mkdir()
        for file in ("config.json", "thresholds.json", "metrics.json"):
            (place / file).write_text(content)
        save_file({"a": torch.ones(1)}, place / "model.safetensors")
        asked += [("checkpoint", place), ("thresholds", place), ("run", place)]
    for name, config in CONFIGS.items():
        asked.append(("inspect", folder(root / f"{name} c", config)))
    long = folder(root / "an endless header", {})
    (long / "model.safetensors").write_bytes(struct.pack("<Q", 50 << 20) + b"{" + b" " * (50 << 20))
    return [*asked, ("checkpoint", long), ("inspect", long)]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What became of every hostile file, by reader and path."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "asked.json").write_text(json.dumps([(reader, str(path)) for reader, path in write_all(root)]))
    command = [sys.executable, str(READERS), str(root / "asked.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ALTOGETHER, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("#[")]


def test_every_hostile_file_is_refused_in_one_line(told):
    """What only lists (`inspect`) or leaves out what it does not know (`arguments`) may also come to an end."""
    lax = [one for one in told if not one[2].startswith("refused: ")]
    assert not [one for one in lax if one[2] != "read" or one[0] not in ("inspect", "arguments")]
    assert len(lax) < len(PICKLES)
    assert not [found for _, _, found, _, _ in told if "\n" in found or len(found) > 1500 or "\x1b" in found]


def test_none_takes_more_than_two_seconds(told):
    assert not {(reader, path): seconds for reader, path, _, seconds, _ in told if seconds > SECONDS}


def test_none_takes_more_than_300_mb(told):
    assert not {(reader, path): kib for reader, path, _, _, kib in told if kib > KIB}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_file_of_another_pickle_protocol_is_read_all_the_same(protocol, tmp_path):
    from ssast.model.checkpoints.torch_file import load_tensors

    half = torch.tensor([0.5, 2], dtype=torch.bfloat16)
    parts = {
        "module.a": torch.arange(6.0).reshape(2, 3).T,
        "b": half,
        "c": torch.zeros(0),
        "d": torch.nn.Parameter(half),
    }
    torch.save(parts, tmp_path / "x.pt", pickle_protocol=protocol)
    found = load_tensors(tmp_path / "x.pt")
    assert [*found] == ["a", "b", "c", "d"]
    assert all(torch.equal(one, parts[name]) for name, one in found.items() if name != "a")
    assert torch.equal(found["a"], parts["module.a"])


def test_the_format_before_1_6_with_another_protocol_says_how_to_save_again(tmp_path):
    from ssast.errors import UserError
    from ssast.model.checkpoints.torch_file import load_tensors

    torch.save({"a": torch.ones(3)}, tmp_path / "x.pt", pickle_protocol=5, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"pickle protocol 5 .* cannot be read safely \(torch.save\(torch.load"):
        load_tensors(tmp_path / "x.pt")


def test_a_card_that_is_a_link_out_of_the_folder_does_not_travel(tmp_path):
    from ssast.errors import UserError
    from ssast.model.checkpoints.model_folder import read_folder

    (tmp_path / "secret.txt").write_text("mine")
    place = folder(tmp_path / "model", {})
    (place / "README.md").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(UserError, match=r"README\.md is a link out of the model folder"):
        read_folder(place)


def test_the_doubling_name_is_real():
    """The test itself: one more step doubles what Python's own text of the value takes."""
    sizes = [len(repr(pickle.loads(DOUBLED[: 4 + 5 * steps] + b"."))) for steps in (8, 9)]
    assert sizes[1] > 1.9 * sizes[0]


def test_a_sentence_on_the_screen_steers_no_terminal(tmp_path, capsys):
    from ssast import cli

    (tmp_path / "run.yaml").write_text('epochs: "\\e[2J\\u202eabc"\n')
    assert cli.main(["evaluate", "--config", str(tmp_path / "run.yaml")]) == 2
    said = capsys.readouterr().err
    assert "epochs is" in said
    assert said[:-1].isprintable()
