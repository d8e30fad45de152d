"""What the sources may not call, and that PyTorch stays out of every process but `gtn convert`."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
FILES = sorted([*(ROOT / "gtn_jax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")])

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve",
           "yaml", "code", "codeop", "imp"}  # fmt: skip
"""Their readers run code, or run it."""
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp",
         "subprocess.getoutput", "subprocess.getstatusoutput", "runpy.run_path",
         "runpy.run_module", "importlib.import_module", "torch.load"}  # fmt: skip
METHODS = {"extractall"}
"""Of archives: data/archives.py unpacks file by file."""
KEYWORDS = {"shell", "allow_pickle"}

ALLOWED = {
    # The one reader of pickles, behind `gtn convert`; see `test_pickles_are_read_safely`.
    ("gtn_jax/weights/read.py", "torch.load"),
    # Experiment files are Python, and whoever names one runs it: SECURITY.md.
    ("gtn_jax/config/experiment.py", "runpy.run_path"),
    # Of names in tables of ours, never of names from outside.
    ("gtn_jax/data/sources.py", "importlib.import_module"),
    ("gtn_jax/__init__.py", "importlib.import_module"),
}


def risks(source: str) -> Iterator[str]:
    """Everything in a file that can run code which somebody else has written."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = {f"{module}.{alias.name}" for alias in node.names}
            yield from sorted(names & CALLS)
            if module.split(".")[0] in MODULES:
                yield module
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            is_constant = bool(node.args) and isinstance(node.args[0], ast.Constant)
            if name in CALLS and not (name == "importlib.import_module" and is_constant):
                yield name
            if name.rpartition(".")[2] in METHODS:
                yield name
            for keyword in node.keywords:
                # Anything but a plain False: a variable may be True one day.
                is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in KEYWORDS and not is_off:
                    yield f"{name}({keyword.arg}=...)"


def test_sources():
    found = {
        (str(path.relative_to(ROOT)), risk) for path in FILES for risk in risks(path.read_text())
    }
    assert found - ALLOWED == set()
    assert ALLOWED - found == set()  # an exception that nobody needs any more


@pytest.mark.parametrize(
    ("source", "risk"),
    [
        ("import pickle", "pickle"),
        ("def f():\n    from yaml import load", "yaml"),
        ("import torch\ntorch.load('a', weights_only=True)", "torch.load"),
        ("from torch import load", "torch.load"),
        ("eval('1')", "eval"),
        ("import os\nos.system('ls')", "os.system"),
        ("subprocess.run('ls', shell=True)", "subprocess.run(shell=...)"),
        ("np.load('a', allow_pickle=flag)", "np.load(allow_pickle=...)"),
        ("tarfile.open('a').extractall('b')", "tarfile.open('a').extractall"),
    ],
)
def test_risks_are_seen(source, risk):
    assert list(risks(source)) == [risk]
    assert not list(risks("subprocess.run(['ls'], shell=False)\nmodel.eval()\nre.compile('a')"))


def test_pickles_are_read_safely():
    """`weights_only=True`, always; and nobody turns it off by PyTorch's environment variable."""
    tree = ast.parse((ROOT / "gtn_jax/weights/read.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (load,) = [call for call in calls if ast.unparse(call.func) == "torch.load"]
    arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in load.keywords}
    assert arguments["weights_only"] == "True"
    pytest.importorskip("torch")
    code = (
        "import sys, os, pathlib\n"
        "from gtn_jax.weights.read import read_pickle\n"
        "try: read_pickle(sys.argv[1])\n"
        "except ValueError as error: sys.exit(0 if 'refuses it' in str(error) else 3)\n"
        "sys.exit(4)"
    )
    # A pickle that makes a folder when it is opened carelessly.
    target = Path(os.environ.get("TMPDIR", "/tmp")) / f"gtn-witness-{os.getpid()}"
    evil = target.with_suffix(".pth")
    evil.write_bytes(b"cos\nmkdir\n(S'%s'\ntR." % str(target).encode())
    try:
        environment = os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
        subprocess.run([sys.executable, "-c", code, evil], check=True, env=environment)
        assert not target.exists()
    finally:
        evil.unlink()


EXPERIMENT = """
from gtn_jax.config import *
from gtn_jax.models.backbones import BACKBONES, ResNetShape
BACKBONES["tiny"] = ResNetShape("basic", (1, 1), width=8, stem="small", stem_stride=2)
CONFIG = Config(
    data=DataConfig(data_dir={data_dir!r}, image_size=16, batch_size=8, train_images_per_class=2),
    model=ModelConfig(backbone="tiny", gate_reduction=4),
    training=TrainingConfig(epochs=1),
)
"""
THREE_VERBS = """
import sys
from gtn_jax.cli.main import main
experiment, run, image = sys.argv[1:]
codes = [main(["train", experiment, "--workdir", run]), main(["evaluate", run]),
         main(["predict", run, image])]
assert codes == [0, 0, 0], codes
foreign = {"torch", "tensorflow"} & set(sys.modules)
sys.exit(f"imported {foreign}" if foreign else 0)
"""


def test_train_evaluate_and_predict_import_no_torch(data_dir, tmp_path):
    (tmp_path / "experiment.py").write_text(EXPERIMENT.format(data_dir=data_dir))
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "a.png")
    files = [tmp_path / name for name in ("experiment.py", "run", "a.png")]
    result = subprocess.run(
        [sys.executable, "-c", THREE_VERBS, *files], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
