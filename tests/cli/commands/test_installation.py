"""doctor, list, completion: what they tell of this installation, and of others that are made up."""

import importlib.metadata
import subprocess

import pytest

from gtn_jax.cli import doctor
from gtn_jax.cli.catalog import CATALOGUE
from gtn_jax.cli.commands import VERBS
from gtn_jax.cli.main import main
from gtn_jax.data.sources import DATASETS
from gtn_jax.models.backbones import BACKBONES
from gtn_jax.weights.registry import HUB, WEIGHTS


def test_doctor_of_a_healthy_installation(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "nvidia_card", lambda: None)
    monkeypatch.setattr(doctor, "_TPU_FILES", ())
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "programs"))
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "one-cache").write_bytes(bytes(3 * 2**20))
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert f"jax {importlib.metadata.version('jax')}" in printed
    assert "devices   4 x cpu" in printed
    assert f"compiled programs: 3 MiB in {tmp_path}/programs" in printed


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (None, 'fix: pip install -U "jax[cuda12]"'),
        ("cpu", "fix: unset JAX_PLATFORMS"),
    ],
)
def test_card_that_is_not_used(capsys, monkeypatch, asked, says):
    monkeypatch.setattr(doctor, "nvidia_card", lambda: "NVIDIA L4")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    if asked:
        monkeypatch.setenv("JAX_PLATFORMS", asked)
    assert main(["doctor"]) == 1
    printed = capsys.readouterr()
    assert "NVIDIA L4 is present" in printed.out and says in printed.out
    assert printed.err == "error: 1 of these need attention\n"


def test_the_card_is_named_by_its_driver(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA A10G\necho NVIDIA A10G\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.nvidia_card() == "NVIDIA A10G"


def test_missing_package_and_a_cache_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("jax", "no-such-package"))
    monkeypatch.setattr(doctor, "nvidia_card", lambda: None)
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    fixes = [finding.fix for finding in doctor.findings() if finding.fix]
    assert fixes[0] == "pip install no-such-package"
    assert all(fix.startswith("make ") and fix.endswith(" writable") for fix in fixes[1:])
    assert len(fixes) == 4


def test_a_part_that_fails_is_a_finding(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(doctor, "nvidia_card", lambda: 1 / 0)
    found = {finding.topic: finding for finding in doctor.findings()}
    assert "ZeroDivisionError" in found["devices"].text
    assert found["devices"].fix == "unset JAX_PLATFORMS"


def test_list_has_every_name(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in (*BACKBONES, *WEIGHTS, *HUB, *DATASETS, "folder:PATH", "gtn_identity", "photos"):
        assert name in printed
    assert main(["list", "backbones"]) == 0
    printed = capsys.readouterr().out
    assert "hf:timm/resnet101.tv_in1k" in printed and "(BSD-3-Clause)" in printed
    assert main(["list", "weights"]) == 0
    printed = capsys.readouterr().out
    assert "BSD-3-Clause" in printed and "non-commercial" in printed and "mlp" not in printed
    with pytest.raises(SystemExit) as stopped:
        main(["list", "wieghts"])
    assert stopped.value.code == 2


def test_every_help_has_an_example_of_its_verb(capsys):
    for verb in VERBS:
        words = [verb, "quickstart", "--help"] if verb in ("train", "compare") else [verb, "--help"]
        with pytest.raises(SystemExit):
            main(words)
        printed = capsys.readouterr().out
        assert f"Example: gtn {verb}" in printed or f"gtn {verb} bash" in printed, verb


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["gtn", "eval"], {"evaluate"}),
        (["gtn", "train", "quick"], {"quickstart"}),
        (["gtn", "train", "quickstart", "--model.gate_d"], {"--model.gate_dropout"}),
        (["gtn", "train", "quickstart", "--dry-"], {"--dry-run"}),
        (["gtn", "train", "quickstart", "--pres"], {"--preset"}),
        (["gtn", "export", "--o"], {"--out"}),
        (["gtn", "predict", "--top"], {"--topk"}),
        (["gtn", "list", "back"], {"backbones"}),
        (["gtn", "evaluate", "runs/fi"], {"runs/first"}),
    ],
)
def test_bash_completes(script, typed, offered, tmp_path):
    (tmp_path / "runs/first").mkdir(parents=True)
    words = " ".join(f"'{word}'" for word in typed)
    program = (
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _gtn; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert set(done.stdout.split()) == offered


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The completion script of bash, in a file."""
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["completion", "bash"]) == 0
    path = tmp_path_factory.mktemp("completion") / "gtn.bash"
    path.write_text(said.getvalue())
    return path


def test_zsh_loads_bash_completion_first(capsys):
    assert main(["completion", "zsh"]) == 0
    assert "bashcompinit" in capsys.readouterr().out.splitlines()[1]


def test_tables_have_their_names():
    assert list(CATALOGUE) == [
        "backbones", "weights", "datasets", "gates", "methods", "experiments"
    ]  # fmt: skip
