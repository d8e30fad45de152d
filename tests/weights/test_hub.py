"""The Hub: the real huggingface_hub against a server on this machine, or against nothing at all."""

import contextlib
import hashlib
import http.server
import importlib
import json
import re
import sys
import threading
import time

import pytest

from gtn_jax.weights import hub, registry
from gtn_jax.weights.hub import HubName
from gtn_jax.weights.read import read_safetensors
from gtn_jax.weights.registry import IMAGENET_MEAN, IMAGENET_STD, WeightsInfo, is_here, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
WEIGHTS = b"stands for a safetensors file"
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """huggingface_hub with an empty cache, and no files brought by hand."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "LOCAL", tmp_path / "brought")
    return constants


@pytest.fixture
def served(empty_cache, monkeypatch):
    """A Hub on the loopback: (repository, revision, file) -> bytes, and the requests it got."""
    files: dict[tuple[str, str, str], bytes] = {}
    asked: list[tuple[str, str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            match = re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/([\w.]+)", self.path)
            key = (match[1], match[2], match[3]) if match else ("", "", self.path)
            asked.append(key)
            content = files.get(key)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            body = content or b""
            self.send_header("X-Repo-Commit", key[1] if len(key[1]) == 40 else COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(empty_cache, "ENDPOINT", address)
    monkeypatch.setattr(empty_cache, "HUGGINGFACE_CO_URL_TEMPLATE", address + template)
    yield files, asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def offline(empty_cache, monkeypatch):
    """No connection: huggingface_hub's own switch, which fails as a dead network does."""
    monkeypatch.setattr(empty_cache, "HF_HUB_OFFLINE", True)


@pytest.fixture
def row(monkeypatch) -> WeightsInfo:
    """A known repository, pinned."""
    info = WeightsInfo(hub.FILE, "resnet18", sha256=DIGEST, revision=COMMIT, crop=0.9)
    monkeypatch.setitem(registry.HUB, "us/toy", info)
    return info


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf:timm/resnet50.tv_in1k", ("timm/resnet50.tv_in1k", "")),
        ("hf:microsoft/resnet-50@refs/pr/4", ("microsoft/resnet-50", "refs/pr/4")),
    ],
)
def test_names(name, expected):
    assert hub.parse_name(name) == expected


@pytest.mark.parametrize("name", ["hf:resnet50", "hf:", "hf:a/b/c", "hf:a/b@", "hf:a /b"])
def test_malformed_names(name):
    with pytest.raises(ValueError, match="expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION"):
        resolve(name)


def test_known_repository_is_pinned_and_then_comes_from_the_cache(served, row, monkeypatch):
    files, asked = served
    files["us/toy", COMMIT, hub.FILE] = WEIGHTS
    path, info = resolve("hf:us/toy")
    assert path.read_bytes() == WEIGHTS and info == row
    assert ("us/toy", COMMIT, hub.FILE) in asked
    assert {revision for _, revision, file in asked if file == hub.FILE} == {COMMIT}
    asked.clear()
    assert resolve("hf:us/toy") == (path, row)
    assert not [key for key in asked if key[2] == hub.FILE]


def test_cached_file_needs_no_connection(served, row, monkeypatch, empty_cache):
    files, _ = served
    files["us/toy", COMMIT, hub.FILE] = WEIGHTS
    assert not is_here("hf:us/toy")
    path, _ = resolve("hf:us/toy")
    monkeypatch.setattr(empty_cache, "HF_HUB_OFFLINE", True)
    assert resolve("hf:us/toy") == (path, row)
    assert is_here("hf:us/toy") and is_here(f"hf:us/toy@{COMMIT}")
    assert not is_here(f"hf:us/toy@{OTHER}")
    assert is_here("tiny_imagenet") and is_here("any.safetensors")  # of no hub


def test_a_file_brought_by_hand_is_here(empty_cache, row, tmp_path):
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought/us--toy.safetensors").write_bytes(WEIGHTS)
    assert is_here("hf:us/toy") and not is_here("hf:us/other")


def test_another_file_than_the_known_one(served, row):
    files, _ = served
    files["us/toy", COMMIT, hub.FILE] = WEIGHTS + b"!"
    with pytest.raises(ValueError, match="damaged, or not the file that is known here .*fetched"):
        resolve("hf:us/toy")
    # Who asks for another revision gets another file.
    files["us/toy", OTHER, hub.FILE] = WEIGHTS + b"?"
    path, info = resolve(f"hf:us/toy@{OTHER}")
    assert path.read_bytes() == WEIGHTS + b"?" and info == row


def test_unknown_repository_with_timms_record(served):
    files, _ = served
    config = {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "interpolation": "bicubic"}
    config |= {"crop_pct": 0.95, "license": "mit"}
    files["a/b", "main", hub.FILE] = WEIGHTS
    files["a/b", "main", "config.json"] = json.dumps({"pretrained_cfg": config}).encode()
    _, info = resolve("hf:a/b")
    assert (info.mean, info.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert (info.interpolation, info.crop, info.license) == ("bicubic", 0.95, "mit")
    assert info.backbone is None and info.sha256 == ""


def test_unknown_repository_with_transformers_record(served):
    files, _ = served
    config = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2], "resample": 3}
    files["a/b", "main", hub.FILE] = WEIGHTS
    files["a/b", "main", "config.json"] = b'{"architectures": ["ResNetForImageClassification"]}'
    files["a/b", "main", "preprocessor_config.json"] = json.dumps(config).encode()
    _, info = resolve("hf:a/b")
    assert (info.mean, info.std, info.interpolation) == ((0.5,) * 3, (0.2,) * 3, "bicubic")


def test_records_of_another_form_are_none(served):
    files, _ = served
    files["them/odd", OTHER, hub.FILE] = WEIGHTS
    odd = {"mean": ["a", 1, 2], "std": [1, 1, 0], "interpolation": 5, "crop_pct": "x"}
    files["them/odd", OTHER, "config.json"] = json.dumps({"pretrained_cfg": odd}).encode()
    assert hub.fetch_record(HubName("them/odd", OTHER)) == hub.Record()
    files["them/odd2", OTHER, "preprocessor_config.json"] = b'{"resample": [3], "image_mean": 5}'
    assert hub.fetch_record(HubName("them/odd2", OTHER)) == hub.Record()


def test_no_record(served):
    files, _ = served
    files["a/b", "main", hub.FILE] = WEIGHTS
    _, info = resolve("hf:a/b")
    assert (info.mean, info.std, info.crop) == (IMAGENET_MEAN, IMAGENET_STD, 0.875)


def test_repository_without_the_file(served):
    with pytest.raises(ValueError, match="hf:a/b: could not be fetched .*: 404") as caught:
        resolve("hf:a/b")
    assert len(str(caught.value).splitlines()) == 2


def test_offline_and_empty_names_what_to_bring_and_where(offline, row, tmp_path):
    with pytest.raises(ValueError) as caught:
        resolve("hf:us/toy")
    brought = tmp_path / "brought" / "us--toy.safetensors"
    assert str(caught.value) == (
        "hf:us/toy: no connection and not in the cache; bring "
        f"https://huggingface.co/us/toy/resolve/{COMMIT}/model.safetensors to {brought}"
    )
    # And that works, digest included.
    brought.parent.mkdir()
    brought.write_bytes(WEIGHTS)
    assert resolve("hf:us/toy") == (brought, row)
    brought.write_bytes(b"another")
    with pytest.raises(ValueError, match="damaged, or not the file"):
        resolve("hf:us/toy")
    with pytest.raises(ValueError, match=f"us--toy--{OTHER}.safetensors"):
        resolve(f"hf:us/toy@{OTHER}")


def test_a_server_that_nobody_reaches_is_offline_too(empty_cache, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the library's retries
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(empty_cache, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(empty_cache, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="hf:a/b: no connection and not in the cache; bring"):
        resolve("hf:a/b")


@pytest.mark.slow  # huggingface_hub waits between its five attempts
def test_half_a_download(served, row, monkeypatch, empty_cache):
    """A connection that breaks off: nothing half is kept, the next call fetches the rest."""
    files, _ = served
    files["us/toy", COMMIT, hub.FILE] = WEIGHTS
    handler = http.server.BaseHTTPRequestHandler
    with monkeypatch.context() as patch:
        whole = handler.send_header

        def send_header(self, name, value):
            # Twice the length that will come.
            if name == "Content-Length" and self.command == "GET":
                value = str(2 * len(WEIGHTS))
            whole(self, name, value)

        patch.setattr(handler, "send_header", send_header)
        with pytest.raises(ValueError, match=r"^hf:us/toy: could not be fetched") as refused:
            resolve("hf:us/toy")
        assert len(str(refused.value).splitlines()) <= 3
    path, _ = resolve("hf:us/toy")
    assert path.read_bytes() == WEIGHTS


def test_a_page_instead_of_the_file(served, row, monkeypatch):
    files, _ = served
    files["us/toy", COMMIT, hub.FILE] = b"<html>Please log in</html>"
    with pytest.raises(ValueError, match=r"not the file that is known here .*fetched again"):
        resolve("hf:us/toy")
    files["us/toy", OTHER, hub.FILE] = b"<html>Please log in</html>"
    path, _ = resolve(f"hf:us/toy@{OTHER}")
    with pytest.raises(ValueError, match="a web page, not weights"):
        read_safetensors(path)


@pytest.mark.slow  # huggingface_hub asks twelve times and waits for an answer
def test_a_server_that_falls_silent(served, row, empty_cache, monkeypatch):
    pytest.importorskip("huggingface_hub")
    files, _ = served
    for wait in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setattr(empty_cache, wait, 1)
    # Whether the package has its own module as an attribute depends on who imported what before.
    downloading = importlib.import_module("huggingface_hub.file_download")
    monkeypatch.setattr(downloading, "_ETAG_RETRY_TIMEOUT", 1)
    pause = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: pause(min(seconds, 0.1)))
    files["us/toy", COMMIT, hub.FILE] = WEIGHTS
    end = http.server.BaseHTTPRequestHandler.end_headers
    silence = threading.Event()

    def end_headers(self):
        silence.wait(60)
        with contextlib.suppress(OSError):  # whoever asked has gone
            end(self)

    monkeypatch.setattr(http.server.BaseHTTPRequestHandler, "end_headers", end_headers)
    try:
        with pytest.raises(ValueError, match=r"^hf:us/toy: no connection and not in the cache"):
            resolve("hf:us/toy")
    finally:
        silence.set()


def test_without_huggingface_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "LOCAL", tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match="pip install huggingface_hub"):
        resolve("hf:a/b")
    # A file that was brought needs neither the library nor the network.
    (tmp_path / "a--b.safetensors").write_bytes(WEIGHTS)
    path, info = resolve("hf:a/b")
    assert path == tmp_path / "a--b.safetensors" and info.mean == IMAGENET_MEAN
    assert hub.local_path(HubName("a/b", "refs/pr/4")).name == "a--b--refs--pr--4.safetensors"
