"""Files from strangers: none of them runs code, or is believed in what it declares.

What they take of memory is measured in test_hostile.py, in a process of its own.
"""

import argparse
import functools
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import pytest
import torch
import yaml
from safetensors.torch import save_file

from ssast import cli
from ssast.engine.checkpoint import read_state
from ssast.errors import UserError
from ssast.model.checkpoints.legacy import read_arguments, read_legacy
from ssast.model.checkpoints.published import read_checkpoint
from ssast.model.checkpoints.torch_file import load_tensors


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.how = function, arguments

    def __reduce__(self):
        return self.how


def short(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


def traps(path):
    """Pickles that make the folder `path` when they are loaded, each by other steps of the machine."""
    path, utf = str(path), str(path).encode()
    name = os.mkdir.__module__  # posix
    module = name.encode()
    text = b"X" + struct.pack("<I", len(utf)) + utf
    late = functools.partial(print)
    late.__setstate__((os.mkdir, (path,), {}, None))
    return {
        "reduce": pickle.dumps(Calls(os.mkdir, path), 2),
        "reduce of protocol 0": pickle.dumps(Calls(os.mkdir, path), 0),
        "stack global": b"\x80\x04" + short(name) + short("mkdir") + b"\x93" + text + b"\x85R.",
        "global by memo": b"\x80\x02c" + module + b"\nmkdir\nq\x000h\x00" + text + b"\x85R.",
        "inst": b"(" + text + b"i" + module + b"\nmkdir\n.",
        "obj": b"(c" + module + b"\nmkdir\n" + text + b"o.",
        "newobj": b"\x80\x02c" + b"argparse\nNamespace\n)\x81}" + b"X\x01\x00\x00\x00xc" + module
        + b"\nmkdir\n" + text + b"\x85Rsb.",
        "build": b"\x80\x02cfunctools\npartial\ncbuiltins\nprint\n\x85R(c" + module + b"\nmkdir\n" + text
        + b"\x85}Ntb)R.",
        "eval": pickle.dumps(Calls(eval, f"__import__('os').mkdir({path!r})")),
        "getattr": pickle.dumps(Calls(functools.partial(os.mkdir, path))),
        "import behind a good name": pickle.dumps({"a": argparse.Namespace(x=Calls(os.mkdir, path))}),
        "after a good value": b"\x80\x02]0c" + module + b"\nmkdir\n" + text + b"\x85R0N.",
    }  # fmt: skip


NAMES = sorted(traps("x"))


@pytest.fixture
def sprung(tmp_path):
    """The folder that a trap would make; that it is not there is checked at the end of every test."""
    yield tmp_path / "sprung"
    assert not (tmp_path / "sprung").exists(), "code of the file was run"


@pytest.mark.parametrize("name", NAMES)
def test_the_traps_are_real(name, tmp_path):
    """The test itself: without care each of them runs its code."""
    pickle.loads(traps(tmp_path / "sprung")[name])
    assert (tmp_path / "sprung").is_dir()


def as_it_is(content):
    return content


def zipped(content, *, name="archive/data.pkl", compression=zipfile.ZIP_STORED, before=(), after=()):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for part, data in (*before, (name, content), ("archive/version", b"3\n"), *after):
            archive.writestr(part, data)
    return file.getvalue()


def packed(content):
    return zipped(content, compression=zipfile.ZIP_DEFLATED)


def two_lists(content):
    good = pickle.dumps({}, 2)
    return zipped(content, name="other/data.pkl", before=[("archive/data.pkl", good)])


def with_byteorder(content):
    return zipped(content, after=[("archive/byteorder", b"little"), ("archive/data/0", b"\0" * 4)])


def script(content):
    return zipped(content, after=[("archive/constants.pkl", content), ("archive/code/x.py", b"import os")])


def legacy_at(place):
    def write(content):
        parts = [pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, [])]
        parts[place] = content
        return b"".join(parts)

    return write


def behind_a_picture(content):
    return b"\x89PNG" + zipped(content)


WRAPPINGS = {
    "bare": as_it_is,
    "zip": zipped,
    "zip with tensors": with_byteorder,
    "packed zip": packed,
    "zip with two lists": two_lists,
    "torchscript": script,
    "zip behind other bytes": behind_a_picture,
    "legacy, first": legacy_at(0),
    "legacy, tensors": legacy_at(3),
    "legacy, keys": legacy_at(4),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_no_checkpoint_runs_code(name, wrapping, tmp_path, sprung):
    file = tmp_path / "model.pt"
    file.write_bytes(WRAPPINGS[wrapping](traps(sprung)[name]))
    for read in (read_checkpoint, lambda path: read_legacy(path, {}), read_state):
        with pytest.raises(UserError) as caught:
            read(file)
        assert "\n" not in str(caught.value)
    if wrapping in ("bare", "zip", "legacy, tensors"):
        with pytest.raises(UserError, match=r"holds more than tensors \(\S+\) and could run code when opened, so it"):
            read_checkpoint(file)


@pytest.mark.parametrize("name", NAMES)
def test_no_record_of_arguments_runs_code(name, tmp_path, sprung):
    (tmp_path / "args.pkl").write_bytes(traps(sprung)[name])
    with pytest.raises(UserError, match=r"args.pkl asks for \S+ and could run code when opened, so it was not"):
        read_arguments(tmp_path / "args.pkl")


def test_on_the_command_line_it_is_one_sentence_and_nothing_is_made(still_corpus, tmp_path, sprung, capsys):
    torch.save({}, tmp_path / "model.pt")
    (tmp_path / "args.pkl").write_bytes(traps(sprung)["reduce"])
    words = ["-i", str(still_corpus.audio), "-d", str(still_corpus.splits), "-l", str(still_corpus.label_txt)]
    words = ["evaluate", *words, "--finetuned_mdl_path", str(tmp_path / "model.pt"), "-o", str(tmp_path / "out")]
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert "could run code when opened, so it was not" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["!!python/object/apply:os.mkdir [{}]", "mode: !!python/name:os.mkdir", "&a [*a, *a]"])
def test_no_yaml_runs_code(text, tmp_path, sprung, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(text.format(sprung))
    assert cli.main(["evaluate", "--config", str(file)]) == 2
    assert "run.yaml" in capsys.readouterr().err


def test_the_yaml_trap_is_real(tmp_path):
    yaml.unsafe_load(f"!!python/object/apply:os.mkdir [{tmp_path / 'sprung'}]")
    assert (tmp_path / "sprung").is_dir()


def changed(file, change):
    """A torch file with its list of tensors changed."""
    source = io.BytesIO(file.read_bytes())
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(file, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, change(content) if name.endswith("data.pkl") else content)


def of_size(count):
    """A change of the one-dimensional tensor of 3 values: so many instead, in its storage and its shape."""
    number = b"\x8a\x08" + struct.pack("<q", count)
    return lambda content: content.replace(b"K\x03tq", number + b"tq").replace(b"K\x03\x85", number + b"\x85")


def huge_zip(path):
    torch.save({"a": torch.ones(3)}, path)
    changed(path, of_size(10**11))


def huge_legacy(path):
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    number = b"\x8a\x08" + struct.pack("<q", 10**11)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"K\x03N", number + b"N").replace(b"K\x03\x85", number + b"\x85"))


def huge_view(path):
    torch.save({"a": torch.ones(1).expand(10**6, 10**6)}, path)


def past_the_end(path):
    torch.save({"a": torch.ones(3)}, path)
    changed(path, lambda content: content.replace(b"K\x00K\x03\x85", b"M\xff\xffK\x03\x85"))


def negative(path):
    torch.save({"a": torch.ones(3)}, path)
    changed(path, lambda content: content.replace(b"K\x00K\x03\x85", b"J\xff\xff\xff\xffK\x03\x85"))


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("a/data/0", bytes(1 << 28))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (huge_zip, "declares 400000000000 bytes for a tensor and has 12"),
        (huge_legacy, "declares 400000000000 bytes for its tensors and has"),
        (huge_view, r"declares a tensor of shape \(1000000, 1000000\) over 1 values"),
        (past_the_end, r"declares a tensor of shape \(3,\) over 3 values"),
        (negative, "declares a tensor of no possible shape"),
        (bomb, "holds packed parts, which torch.save never writes"),
    ],
)
def test_no_checkpoint_takes_memory_that_it_does_not_fill(make, said, tmp_path):
    make(tmp_path / "model.pth")
    with pytest.raises(UserError, match=f"{said}.*, so it was not opened; download it again"):
        read_checkpoint(tmp_path / "model.pth")
    with pytest.raises(UserError, match="is not a readable checkpoint; delete it, or start anew with --resume never"):
        read_state(tmp_path / "model.pth")


def test_one_tensor_under_many_names_is_not_copied_many_times(tmp_path):
    """Each name became a float copy of its own: 5 MB of file, 20 GB of memory."""
    shared = torch.ones(1 << 16, dtype=torch.float16)
    torch.save({f"v.blocks.0.{number}": shared for number in range(3000)}, tmp_path / "model.pt")
    torch.save({"a": shared, "b": shared}, tmp_path / "tied.pt")
    with pytest.raises(UserError, match=r"names 196608000 values in .* the same ones many times"):
        load_tensors(tmp_path / "model.pt")
    assert load_tensors(tmp_path / "tied.pt").keys() == {"a", "b"}


def test_published_sizes_that_cannot_be_are_one_sentence(tmp_path):
    state = {"v.cls_token": torch.ones(1, 1, 192), "v.dist_token": torch.ones(1, 1, 192)}
    state |= {"v.pos_embed": torch.ones(1, 3, 192), "v.patch_embed.proj.weight": torch.ones(192, 1, 16, 16)}
    torch.save(state | {"p_input_fdim": torch.tensor(128), "p_input_tdim": torch.tensor(2**62)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="none of the published sizes"):
        read_checkpoint(tmp_path / "x.pth")


def header(**entries):
    content = json.dumps(entries).encode()
    return struct.pack("<Q", len(content)) + content


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 1 << 60) + b"{}",
        header(a={"dtype": "F32", "shape": [10**11], "data_offsets": [0, 4 * 10**11]}),
        header(a={"dtype": "F32", "shape": [10**11], "data_offsets": [0, 4]}) + bytes(4),
        header(a={"dtype": "F32", "shape": [2**63, 2], "data_offsets": [0, 4]}) + bytes(4),
        header(a={"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}) + bytes(4),
        header(a={"dtype": "os.system", "shape": [1], "data_offsets": [0, 4]}) + bytes(4),
    ],
)
def test_no_model_folder_takes_memory_that_it_does_not_fill(content, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"class": "SSASTForPreTraining", "model_size": "tiny"}))
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors of .* cannot be read"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target_length": 10**15}, "says target_length '1000000000000000', expected a whole number from 1 to"),
        ({"target_length": "x"}, "says target_length 'x', expected a whole number"),
        ({"fshape": None}, "says fshape 'None', expected a whole number"),
        ({"fstride": 2.5}, "says fstride '2.5', expected a whole number from 1 to 1000000, or null"),
        ({"num_labels": True}, "says num_labels 'True', expected a whole number"),
        ({"labels": 5}, "says labels '5', expected a list of words"),
        ({"labels": [1]}, "expected a list of words"),
        ({"frontend": [1]}, "expected the settings of the spectrogram"),
        ({"frontend": {"mean": "x"}}, "expected the settings of the spectrogram"),
        ({"weighted": "yes"}, "says weighted 'yes', expected true or false"),
        ({"final_dropout": "a"}, "says final_dropout 'a', expected a number"),
        ({"model_size": ["tiny"]}, "expected a word"),
        ({"class": {"os": "system"}}, "expected a word"),
    ],
)
def test_entries_of_config_json_that_cannot_be_meant_are_one_sentence(change, said, tmp_path):
    config = {"class": "SSASTForAudioClassification", "model_size": "tiny", "num_labels": 1}
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=said):
        read_checkpoint(tmp_path)


def test_a_config_nested_without_end_is_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text("[" * 200_000)
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"config\.json of .* cannot be read"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # a number of two thousand million bytes
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x.",  # a text of an exabyte
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",  # lists in lists
        b"(lp0\n" + b"h\x00a" * 10 + b".",  # a list that holds itself
        b"\x80\x02N" + b"\x85q\x00h\x00h\x00\x86" * 200 + b"}h\x00Ns.",  # a key whose hash takes for ever
        b"\x82\x01.",  # a number of the extension registry
        b"\x80\x02}(N.",
        b"\x80\x02tR.",
        b".",
        b"\x80\x02K\x01K\x01R.",
        b"\x80\x02]}b.",
        b"\x80\x05\x97.",
    ],
)
def test_pickles_that_ask_for_the_impossible_are_one_sentence_at_once(content, tmp_path):
    for name in ("args.pkl", "model.pt"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="is not the record of an older fine-tuning"):
        read_arguments(tmp_path / "args.pkl")
    with pytest.raises(UserError, match=r"is not a checkpoint that torch can read|holds a"):
        read_checkpoint(tmp_path / "model.pt")


def test_a_memo_of_any_number_takes_no_memory(tmp_path):
    (tmp_path / "args.pkl").write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")
    assert read_arguments(tmp_path / "args.pkl") == {}


def test_reading_arguments_imports_nothing(tmp_path):
    """Not even the one class that is foreseen: names are looked at, never looked up."""
    (tmp_path / "args.pkl").write_bytes(pickle.dumps(argparse.Namespace(epochs=3)))
    script = (
        "import sys; from pathlib import Path; from ssast.model.checkpoints.legacy import read_arguments; "
        "import builtins; real = builtins.__import__; seen = []; "
        "builtins.__import__ = lambda name, *rest: (seen.append(name), real(name, *rest))[1]; "
        "print(read_arguments(Path(sys.argv[1])), seen)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "args.pkl")], capture_output=True, text=True)
    assert done.stdout.strip() == "{'epochs': 3} []"


@pytest.mark.parametrize("read", [read_checkpoint, read_state, load_tensors, lambda place: read_legacy(place, {})])
def test_a_pipe_in_place_of_a_checkpoint_is_one_sentence(read, tmp_path, pipe):
    """Nobody ever writes into it, so opening it never ended."""
    pipe(tmp_path / "last.pt")
    with pytest.raises(UserError):
        read(tmp_path / "last.pt")
