"""Sharing through the Hugging Face hub: its client, unchanged, against a small server on this machine."""

import base64
import hashlib
import http.server
import json
import os
import re
import threading

import pytest
import yaml

from ssast.errors import UserError
from ssast.model.checkpoints.model_card import ADDRESS, model_card
from ssast.model.classification import SSASTForAudioClassification
from ssast.model.pretraining import SSASTForPreTraining

SIZES = {"model_size": "tiny", "fshape": 16, "tshape": 16, "num_mel_bins": 32, "target_length": 32}
NAME = "clinic/ssast-tiny"
THRESHOLDS = '{"rule": "best", "clips": 4, "thresholds": {"breathy": 0.25}}\n'
RECORD = """
prefix: /ward/7/audio
dataset: voices
task: ft_avgtok
epochs: 12
freeze: false
scheduler: onecycle
max_lr: 0.0005
cache_gb: 50.0
record:
  public: [dataset, task, epochs, freeze, scheduler, max_lr]
  clips: {train: 320, validation: 40, test: 120}
  files: {/ward/7/train.csv: 3b22}
  versions: {ssast: 0.1.0, torch: 2.13.0}
"""
SCORES = {
    "n": 120,
    "subjects": 12,
    "unit": "speaker",
    "loss": "BCE",
    "mean": {"auc": 0.868, "intervals": {"auc": [0.778, 0.925]}},
    "labels": {"breathy": {"auc": 0.9125, "sensitivity": None, "threshold": 0.25, "intervals": {"auc": [0.5, 0.99]}}},
}


class Hub(http.server.BaseHTTPRequestHandler):
    """The requests of the hub's protocol that huggingface_hub makes for whole files, kept in memory."""

    files: dict[str, bytes]
    stored: dict[str, bytes]
    refuses = False

    def _answer(self, content: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(json.dumps(value).encode(), status, Content_Type="application/json")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        commit = {"X_Repo_Commit": "c" * 40}
        if f"/{NAME}/resolve/" in self.path and name in self.files:
            content = self.files[name]
            self._answer(content, ETag=f'"{hashlib.sha256(content).hexdigest()}"', **commit)
        elif f"/{NAME}/resolve/" in self.path:
            self._answer(b"", 404, X_Error_Code="EntryNotFound", **commit)
        else:
            self._answer(b"", 404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET  # noqa: N815 - http.server's own name

    def do_PUT(self) -> None:
        self.stored[self.path.rpartition("/")[2]] = self._body()
        self._answer()

    def do_POST(self) -> None:
        body = self._body()
        if self.refuses:
            self._json({"error": "you may not write here"}, 403)
        elif self.path == "/api/repos/create":
            self._json({"url": f"http://{self.headers['Host']}/{NAME}"})
        elif self.path == "/api/validate-yaml":
            head = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            self._json({"errors": [], "warnings": []}, 200 if head["library_name"] == "ssast" else 400)
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            how = {True: "lfs", False: "regular"}
            chosen = [{"path": n, "uploadMode": how[n.endswith("tensors")], "shouldIgnore": False} for n in names]
            self._json({"files": chosen})
        elif self.path.endswith("/objects/batch"):
            objects = json.loads(body)["objects"]
            for each in objects:
                each["actions"] = {"upload": {"href": f"http://{self.headers['Host']}/large/{each['oid']}"}}
            self._json({"transfer": "basic", "objects": objects})
        else:
            self._commit([json.loads(line) for line in body.splitlines()])

    def _commit(self, lines: list[dict]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.stored[value["oid"]]
        url = f"http://{self.headers['Host']}/{NAME}/commit/{'c' * 40}"
        self._json({"commitUrl": url, "commitOid": "c" * 40, "success": True})

    def log_message(self, *_: object) -> None:
        """Say nothing on the screen."""


@pytest.fixture
def hub():
    """A hub without models; its handler class holds what was sent."""
    handler = type("Handler", (Hub,), {"files": {}, "stored": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run_folder(tmp_path):
    """What fine-tuning leaves: a model with thresholds, scores and the record of the run."""
    folder = tmp_path / "run"
    model = SSASTForAudioClassification(1, **SIZES, labels=["breathy"], seed=0)
    model.save_pretrained(folder)
    (folder / "thresholds.json").write_text(THRESHOLDS)
    (folder / "metrics.json").write_text(json.dumps(SCORES))
    (folder / "run.yaml").write_text(RECORD)
    return folder


@pytest.fixture
def client(hub, warm_modes, tmp_path):
    """Run Python in a process of its own, with this hub as the hub and an own cache; `offline` takes it away."""

    def run(code, *, offline=False):
        address = f"http://127.0.0.1:{1 if offline else hub.server_address[1]}"
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}
        environment |= {"HF_TOKEN": "hf_x", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment |= {"HF_HUB_OFFLINE": "1"} if offline else {}
        start = "import sys; assert 'huggingface_hub' not in sys.modules\n"
        start += "from ssast import SSASTForAudioClassification as Model\n"
        return warm_modes.run(start + code, environment)

    return run


SHOW = (
    f"m = Model.from_pretrained('{NAME}'); print(float(m.mlp_head.head.outproj.weight.detach().sum()), dict(m.beside))"
)


def test_a_pushed_model_comes_back_with_its_thresholds_and_card_and_without_a_connection_too(hub, client, run_folder):
    sent = client(f"print(Model.from_pretrained({str(run_folder)!r}).push_to_hub({NAME!r}))")
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout.strip().endswith(f"/{NAME}/commit/{'c' * 40}")
    files = hub.RequestHandlerClass.files
    assert sorted(files) == ["README.md", "config.json", "model.safetensors", "thresholds.json"]
    assert files["model.safetensors"] == (run_folder / "model.safetensors").read_bytes()
    assert files["thresholds.json"].decode() == THRESHOLDS
    card = files["README.md"].decode()
    assert f'from_pretrained("{NAME}")' in card
    assert "/ward/7" not in card
    local = SSASTForAudioClassification.from_pretrained(run_folder)
    for offline in (False, True):
        loaded = client(SHOW, offline=offline)
        assert loaded.returncode == 0, loaded.stderr
        total, beside = loaded.stdout.split(" ", 1)
        assert float(total) == float(local.mlp_head.head.outproj.weight.detach().sum())
        assert eval(beside) == {"thresholds.json": THRESHOLDS, "README.md": card}


def test_a_model_without_thresholds_is_known_to_have_none_offline_too(hub, client, tmp_path):
    model = SSASTForAudioClassification(1, **SIZES, seed=0)
    model.save_pretrained(tmp_path / "m")
    for path in (tmp_path / "m").iterdir():
        hub.RequestHandlerClass.files[path.name] = path.read_bytes()
    for offline in (False, True):
        loaded = client(SHOW, offline=offline)
        assert loaded.returncode == 0, loaded.stderr
        assert loaded.stdout.strip().endswith("{}")


def test_what_the_hub_does_not_have_or_take_is_one_sentence(hub, client, run_folder):
    failed = client("Model.from_pretrained('clinic/nothing')")
    assert "clinic/nothing is no local folder and could not be had from the Hugging Face hub" in failed.stderr
    hub.RequestHandlerClass.refuses = True
    failed = client(f"Model.from_pretrained({str(run_folder)!r}).push_to_hub({NAME!r})")
    assert re.search(rf"UserError: {NAME} could not be sent to the Hugging Face hub \(.*403.*\)", failed.stderr)


def test_thresholds_travel_with_a_copy_and_leave_with_the_model_that_they_belong_to(run_folder, tmp_path):
    SSASTForAudioClassification.from_pretrained(run_folder).save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "thresholds.json").read_text() == THRESHOLDS
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "thresholds.json",
    ]
    SSASTForAudioClassification(1, **SIZES, seed=1).save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy" / "thresholds.json").exists()


def card_of(folder):
    SSASTForAudioClassification.from_pretrained(folder).save_pretrained(folder / "copy")
    return (folder / "copy" / "README.md").read_text()


def test_a_card_that_somebody_wrote_is_kept(run_folder):
    (run_folder / "README.md").write_text("licence: mine")
    model = SSASTForAudioClassification.from_pretrained(run_folder)
    assert model.beside["README.md"] == "licence: mine"
    model.beside = {**model.beside, "README.md": "another"}
    model.save_pretrained(run_folder)
    assert (run_folder / "README.md").read_text() == "licence: mine"


def test_the_card_says_what_the_run_says_and_no_place_or_person(run_folder):
    card = card_of(run_folder)
    head = yaml.safe_load(card.split("---")[1])
    assert head["pipeline_tag"] == "audio-classification"
    assert "license" not in head
    assert "# license: choose one" in card
    for words in (
        "Data set: voices.",
        "| train | 320 |",
        "On 120 test clips of 12 speakers; 95 % intervals in brackets, drawn by speaker.",
        "| mean | 0.868 [0.778, 0.925] | undefined | undefined |  |",
        "| breathy | 0.912 [0.500, 0.990] | undefined | undefined | 0.25 |",
        "task ft_avgtok, epochs 12, scheduler onecycle, max_lr 0.0005.",
        "Made with ssast 0.1.0, torch 2.13.0.",
        "Who was recorded is not known from the run",
        f'model = SSASTForAudioClassification.from_pretrained("{ADDRESS}")',
    ):
        assert words in card
    for words in ("/ward", "cache_gb", "3b22"):
        assert words not in card


def test_the_three_lines_of_the_card_run(run_folder, still_corpus, monkeypatch):
    monkeypatch.chdir(still_corpus.folder)
    for name in ("a.wav", "b.wav"):
        (still_corpus.folder / name).unlink(missing_ok=True)
        os.link(still_corpus.audio / "0000" / "waveform.wav", still_corpus.folder / name)
    card = card_of(run_folder)
    code = re.search(r"```python\n(.*?)```", card, re.S).group(1).replace(ADDRESS, str(run_folder))
    scope: dict = {}
    exec(code.replace("model.predict", "table = model.predict"), scope)
    assert list(scope["table"].columns) == ["breathy"]
    assert len(scope["table"]) == 2


def test_a_pretrained_model_has_a_card_of_its_own_kind():
    model = SSASTForPreTraining(**SIZES, mask_patch=2, seed=0)
    card = model_card(model.config)
    assert "feature-extraction" in card
    assert "SSASTForPreTraining.from_pretrained" in card
    assert "medical" not in card


@pytest.mark.parametrize(("name", "text"), [("run.yaml", "a: [1"), ("metrics.json", "{")])
def test_a_broken_record_keeps_no_model_from_loading_and_is_one_sentence_when_it_is_shared(run_folder, name, text):
    (run_folder / name).write_text(text)
    model = SSASTForAudioClassification.from_pretrained(run_folder)
    with pytest.raises(UserError, match=rf"{name} cannot be read .*correct or remove it to share"):
        model.save_pretrained(run_folder / "copy")
