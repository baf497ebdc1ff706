"""Nothing is sent anywhere unless a bucket was named: whole modes with every connection forbidden."""

import socket

import pytest
import torch

import ssast
from ssast import cli

pytestmark = pytest.mark.usefixtures("narrow")

torch.set_num_threads(1)


@pytest.fixture
def offline(monkeypatch):
    """Every attempt to reach an address, this machine's own included, each of which fails; workers inherit the ban."""
    tried = []

    def is_inside(family: int) -> bool:
        """Pipes between a run and its workers; the test has no server, so no address is its own, loopback included."""
        return family == getattr(socket, "AF_UNIX", None)

    def guarded(name: str):
        whole = getattr(socket.socket, name)

        def connect(self, address):
            if not is_inside(self.family):
                tried.append(address)
                raise OSError(f"no way out, to {address}")
            return whole(self, address)

        return connect

    def resolve(host, *words, **named):
        tried.append(host)
        raise OSError(f"no way out, to {host}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(name))
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return tried


def test_the_ban_holds(offline):
    with socket.socket() as client, pytest.raises(OSError, match="no way out"):
        client.connect(("192.0.2.1", 80))
    with pytest.raises(OSError, match="no way out"):
        socket.create_connection(("example.invalid", 80), timeout=1)
    with socket.socket() as client, pytest.raises(OSError, match="no way out"):
        client.connect(("127.0.0.1", 80))
    with pytest.raises(OSError, match="no way out"):
        socket.create_connection(("localhost", 80), timeout=1)
    assert offline == [("192.0.2.1", 80), "example.invalid", ("127.0.0.1", 80), "localhost"]


@pytest.mark.parametrize("private", [False, True])
def test_no_mode_reaches_out_without_a_bucket(offline, corpus, tmp_path, monkeypatch, private):
    monkeypatch.setenv("SSAST_KEYS", str(tmp_path / "keys"))
    how = {"prefix": str(corpus.audio), "data_split_root": str(corpus.splits), "label_txt": str(corpus.label_txt)}
    how |= {"target_length": 32, "device": "cpu", "precision": "fp32", "resamples": 5, "private": private}
    tiny = {"model_size": "tiny", "epochs": 1, "batch_size": 4, "num_workers": 2}
    first = ssast.pretrain(**how, **tiny, mask_patch=8, exp_dir=tmp_path / "pt")
    tuned = ssast.finetune(**how, **tiny, pretrained_mdl_path=first, exp_dir=tmp_path / "ft")
    ssast.evaluate(**how, finetuned_mdl_path=tuned, exp_dir=tmp_path / "ev")
    ssast.extract(**how, finetuned_mdl_path=tuned, exp_dir=tmp_path / "ex")
    ssast.attention(**how, finetuned_mdl_path=tuned, exp_dir=tmp_path / "at", max_clips=1)
    words = ["-i", str(corpus.audio), "-d", str(corpus.splits), "-o", str(tmp_path / "ch"), "--private", str(private)]
    assert cli.main(["check", *words]) == 0
    assert offline == []
