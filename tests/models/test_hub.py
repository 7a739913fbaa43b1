"""Weights of the Hub: from its cache without a network, and from a server that answers as the Hub does."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.hub import LocalCheckpoint, local_checkpoint

COMMIT = "a" * 40
INDEX, SHARD = "model.safetensors.index.json", "model-00001-of-00001.safetensors"
WEIGHTS = save({"w": torch.ones(2)})
CONFIG = b'{"architecture": "vit_tiny"}'
FILES = {
    "good/net": {"model.safetensors": WEIGHTS, "config.json": CONFIG, "sub/other.pth": b"x"},
    "good/bin": {"pytorch_model.bin": b"y"},
    "good/odd": {"weights.npz": b"z"},
    "good/parts": {INDEX: json.dumps({"weight_map": {"w": SHARD}}).encode(), SHARD: WEIGHTS, "config.json": CONFIG},
    "half/parts": {INDEX: json.dumps({"weight_map": {"w": SHARD}}).encode()},
    "timm/some_vit.in1k": {"model.safetensors": WEIGHTS, "config.json": CONFIG},
}


class Hub(BaseHTTPRequestHandler):
    """The few answers of huggingface.co that downloading a file needs."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        parts = self.path.strip("/").split("/")
        if parts[0] == "api":  # about the repository, or its list of files
            repo = "/".join(parts[2:4])
            if "tree" not in parts:
                return self._send(200, json.dumps({"id": repo, "sha": COMMIT}).encode(), with_body)
            tree = [{"type": "file", "path": name, "size": 1, "oid": COMMIT} for name in FILES.get(repo, {})]
            return self._send(200, json.dumps(tree).encode(), with_body)
        repo, revision, name = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if repo == "meta/gated":
            return self._send(403, b"", with_body, {"X-Error-Code": "GatedRepo"})
        if repo not in FILES:
            return self._send(401, b"", with_body, {"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", "v1", COMMIT):
            return self._send(404, b"", with_body, {"X-Error-Code": "RevisionNotFound"})
        content = FILES[repo].get(name)
        if content is None:
            return self._send(404, b"", with_body, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        etag = hashlib.sha256(content).hexdigest()
        return self._send(200, content, with_body, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'})

    def _send(self, status: int, body: bytes, with_body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


ASK = """
import json, sys
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.hub import local_checkpoint
answers = []
for reference in json.load(sys.stdin):
    try:
        place = local_checkpoint(reference)
        answers.append([str(place.path), place.origin])
    except CheckpointError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


def asked(references: list[str], home: Path, **environment: str) -> list[list[str] | str]:
    """What a fresh interpreter says of each: path and origin, or the refusal. The Hub's library reads its settings
    when it is imported."""
    settings = {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_ETAG_TIMEOUT": "2", **environment}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(references),
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


REFUSED = {
    "hf://meta/gated": "hf://meta/gated is gated: accept its terms at https://huggingface.co/meta/gated, then log in",
    "hf://no/body": "there is no hf://no/body on the Hub, or it is private",
    "hf://good/net@v9": "hf://good/net has no revision v9",
    "hf://good/net/gone.pth": "has no file gone.pth; it has model.safetensors, config.json, sub/other.pth: name",
    "hf://half/parts": f"hf://half/parts@{COMMIT} has no {SHARD}, which its {INDEX} names",
    "hf://good/odd": f"has no model.safetensors or {INDEX} or pytorch_model.bin; it has weights.npz: name its weights",
}


def test_files_come_from_the_hub_and_then_from_its_cache(hub: str, tmp_path: Path) -> None:
    found = {
        "hf://good/net": f"hf://good/net@{COMMIT}/model.safetensors",
        "hf://good/net@v1/sub/other.pth": f"hf://good/net@{COMMIT}/sub/other.pth",
        "hf://good/parts": f"hf://good/parts@{COMMIT}/{INDEX}",
        "hf://good/bin": f"hf://good/bin@{COMMIT}/pytorch_model.bin",
        "timm/some_vit.in1k": f"hf://timm/some_vit.in1k@{COMMIT}/model.safetensors",
    }
    online = asked([*found, *REFUSED], tmp_path, HF_ENDPOINT=hub)
    assert {path.name for path in Path(online[2][0]).iterdir()} == {INDEX, SHARD, "config.json"}
    places, refusals = online[: len(found)], online[len(found) :]
    assert [place[1] for place in places] == list(found.values())
    folder, file = Path(places[0][0]), Path(places[1][0])
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_bytes() == CONFIG
    assert file.read_bytes() == b"x"
    for refusal, said in zip(refusals, REFUSED.values(), strict=True):
        assert said in refusal
        assert "\n" not in refusal
    offline = asked([*found, "hf://good/net/gone.pth", "hf://never/seen"], tmp_path, HF_HUB_OFFLINE="1")
    assert offline[: len(found)] == places
    for refusal in offline[len(found) :]:
        assert "cannot be reached and its" in refusal
        assert "name the local file or folder" in refusal
        assert "\n" not in refusal


def test_what_is_here_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "some_vit").write_bytes(b"")
    assert local_checkpoint("timm/some_vit") == LocalCheckpoint(Path("timm/some_vit"))
    assert local_checkpoint("anything/else.pth") == LocalCheckpoint(Path("anything/else.pth"))
    assert local_checkpoint(Path("x.pth")) == LocalCheckpoint(Path("x.pth"))


@pytest.mark.parametrize("reference", ["hf://", "hf://only", "hf://a/b c", "hf:a/b", "hf://a/@b"])
def test_other_forms_are_refused(reference: str) -> None:
    with pytest.raises(CheckpointError, match="is not of the form hf://OWNER/NAME"):
        local_checkpoint(reference)
