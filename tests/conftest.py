"""A hostile JAX for every test: four devices, no implicit dtypes or ranks; and small fixtures."""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from types import ModuleType

import jax
import pytest
from jaxtyping import install_import_hook

# Shapes and dtypes in signatures are checked here, and nowhere else. Not of training/state.py: a
# `TrainState` may hold shapes in the place of arrays.
TRAINING = "steps losses metrics accumulation optimizer pmap averaging forward_steps".split()
CHECKED_MODULES = (
    *("gtn_jax.models", "gtn_jax.data.augment", "gtn_jax.data.targets"),
    *(f"gtn_jax.training.{name}" for name in TRAINING),
)
INT_IS_FLOAT = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook(CHECKED_MODULES, INT_IS_FLOAT)

from gtn_jax.runtime.allocator import collect_garbage_rarely  # noqa: E402

# The command line would keep compiled programs in the home of whoever tests.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
# Compiling is most of what tests do, and many compile the same: what one process of this run has
# compiled, the others read. Subprocesses stay without, unless they get `kept_programs`.
_RUN = os.environ.setdefault("GTN_JAX_TEST_RUN", str(os.getpid()))  # workers inherit it
PROGRAMS = Path(tempfile.gettempdir()) / f"gtn_jax_tests_{_RUN}"
jax.config.update("jax_enable_compilation_cache", True)
jax.config.update("jax_compilation_cache_dir", str(PROGRAMS))
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
# As the command line does: the collector would walk over all that JAX keeps again and again.
collect_garbage_rarely()
# Before anything touches a device. More devices than cores is the point: what depends on the
# number of devices shows.
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

from gtn_jax.config import (  # noqa: E402
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainingConfig,
)
from gtn_jax.models.backbones import BACKBONES, ResNetShape  # noqa: E402

PARITY_ROWS = pytest.StashKey[list[tuple[str, str, float, float]]]()


def pytest_addoption(parser):
    parser.addoption("--parity", action="store_true", help="print what was compared with what")


def pytest_configure(config):
    config.stash[PARITY_ROWS] = []


@pytest.fixture(scope="session")
def agrees(request):
    """agrees(what, peer, difference, tolerance): asserts, and makes a row of `make parity`."""

    def agrees(what: str, peer: str, difference: float, tolerance: float) -> None:
        request.config.stash[PARITY_ROWS].append((what, peer, difference, tolerance))
        assert difference < tolerance, what

    return agrees


def pytest_sessionfinish(session):
    """What was compiled goes with the run; a worker leaves it to the process that began it."""
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(PROGRAMS, ignore_errors=True)


def pytest_terminal_summary(terminalreporter, config):
    """The table of `make parity`: for each comparison the largest difference of all its calls."""
    rows = config.stash[PARITY_ROWS]
    if not config.getoption("--parity") or not rows:
        return
    largest: dict[tuple[str, str, float], float] = {}
    for what, peer, difference, tolerance in rows:
        key = (what, peer, tolerance)
        largest[key] = max(difference, largest.get(key, 0.0))
    terminalreporter.section("parity")
    terminalreporter.write_line(f"{'what':<52} {'with':<36} {'difference':>10} {'tolerance':>9}")
    for (what, peer, tolerance), difference in largest.items():
        terminalreporter.write_line(f"{what:<52} {peer:<36} {difference:>10.1e} {tolerance:>9.0e}")


@pytest.fixture(scope="session", autouse=True)
def tiny_backbone():
    """A two-stage backbone, 16 features wide, that compiles in a second: "tiny"."""
    BACKBONES["tiny"] = ResNetShape("basic", (1, 1), width=8, stem="small", stem_stride=2)
    yield "tiny"
    del BACKBONES["tiny"]


@pytest.fixture(autouse=True)
def tables():
    """Whatever a test enters into tables that are open, the next one sees them as they were."""
    from gtn_jax.analysis.methods import METHODS
    from gtn_jax.models.gate import GATES

    before = [(table, dict(table)) for table in (BACKBONES, GATES, METHODS)]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
    """Prepared digits, shared by all tests."""
    from gtn_jax.data.sources import prepare

    folder = str(tmp_path_factory.mktemp("data"))
    prepare("digits", folder)
    return folder


EXPERIMENT = """
from gtn_jax.config import *
CONFIG = Config(
    data=DataConfig(data_dir={data_dir!r}, image_size=16, batch_size=8, train_images_per_class=4),
    model=ModelConfig(backbone="tiny", gate_reduction=4),
    training=TrainingConfig(epochs=1),
)
"""


@pytest.fixture
def experiment(tmp_path, data_dir) -> str:
    """The path of an experiment file: 5 steps on digits."""
    path = tmp_path / "mine.py"
    path.write_text(EXPERIMENT.format(data_dir=data_dir))
    return str(path)


@pytest.fixture(scope="session")
def tiny_config(data_dir) -> Config:
    """40 digits, 5 steps an epoch, 4 epochs of which 1 is frozen; everything random is on."""
    return Config(
        data=DataConfig(
            data_dir=data_dir,
            image_size=16,
            batch_size=8,
            train_images_per_class=4,
            random_shift_pixels=1,
        ),
        model=ModelConfig(backbone="tiny", gate_reduction=4),
        optimizer=OptimizerConfig(learning_rate=0.05),
        # A save costs as much as ten steps: one an epoch, unless a test asks for more.
        training=TrainingConfig(
            epochs=4, freeze_epochs=1, log_every_steps=1, checkpoint_every_seconds=3600.0
        ),
    )


@pytest.fixture(scope="session")
def tiny_weights(tiny_backbone, tmp_path_factory) -> str:
    """A file with drawn weights of the tiny backbone."""
    from gtn_jax.models.gtn import GTN, init_variables
    from gtn_jax.weights.keymaps import to_torchvision
    from gtn_jax.weights.write import write_safetensors

    variables = init_variables(GTN("tiny", 2, gate="none", auxiliary=False), 5)
    tensors = {k: v for k, v in to_torchvision(variables).items() if not k.startswith("fc.")}
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_safetensors(tensors, path, {})
    return str(path)


@pytest.fixture(scope="session")
def finished_run(tiny_backbone, tiny_config, tmp_path_factory) -> Path:
    """A finished run of one epoch on four devices, shared: nobody may write into it.

    Its classifier has a bias, and evaluation sees more of its images than training.
    """
    from gtn_jax.config import override
    from gtn_jax.training import loop

    config = override(tiny_config, {
        "training.epochs": 1, "model.classifier_bias": True, "data.eval_batch_size": 64,
        "data.resize_size": 20, "data.center_crop": False,
    })  # fmt: skip
    path = tmp_path_factory.mktemp("finished") / "run"
    loop.run(config, path, quiet=True, devices=4)
    return path


TESTS = Path(__file__).parent


def _load(path: Path) -> ModuleType:
    # pytest's importlib mode puts no test folder on sys.path, so helpers are loaded by file.
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kept_programs() -> dict[str, str]:
    """For the environment of processes of which the first may compile for the others."""
    return {
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(PROGRAMS / "processes"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture(scope="session")
def rule() -> ModuleType:
    """tests/golden/rule.py."""
    return _load(TESTS / "golden" / "rule.py")


@pytest.fixture
def cli_refuses(capsys, tmp_path):
    """cli_refuses(ARGUMENT, ..., says=...): the checker of tests/refusal.py, on `gtn ARGUMENT ...`.

    It returns what was said; nothing may change in `tmp_path`, except below the folders `writes`.
    """
    refusal = _load(TESTS / "refusal.py")

    def cli_refuses(*arguments, says, code=1, writes=()):
        with refusal.nothing_written(tmp_path, writes):
            found = refusal.run_cli(arguments)
        printed = capsys.readouterr()
        refusal.check(found, printed.out, printed.err, says, code)
        return printed.err

    return cli_refuses


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """tests/reference/torch_resnet.py; skips where PyTorch is not installed."""
    pytest.importorskip("torch")
    return _load(TESTS / "reference" / "torch_resnet.py")


@pytest.fixture(scope="session")
def huggingface() -> ModuleType:
    """tests/reference/huggingface_resnet.py; skips where PyTorch is not installed."""
    pytest.importorskip("torch")
    return _load(TESTS / "reference" / "huggingface_resnet.py")
