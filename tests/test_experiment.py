"""Every shipped experiment is a CONFIG of this version; errors name the file."""

import pytest

from gtn_jax.config import Config
from gtn_jax.data.sources import DATASETS
from gtn_jax.experiment import load_experiment, shipped_experiments
from gtn_jax.models.gate import GATES
from gtn_jax.models.resnet import BACKBONES
from gtn_jax.weights.registry import WEIGHTS


@pytest.mark.parametrize("name", shipped_experiments())
def test_shipped(name):
    config = load_experiment(name)
    assert config.data.name in DATASETS or config.data.name == "folder:"  # the user's own
    assert config.model.backbone in BACKBONES
    assert config.model.gate in GATES
    weights = config.model.weights
    assert weights is None or weights in WEIGHTS or weights.startswith("hf:timm/")


def test_unknown_name_offers_the_nearest():
    with pytest.raises(ValueError, match="unknown experiment 'quikstart'; did you mean quickstart"):
        load_experiment("quikstart")


def test_own_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from gtn_jax.config import Config\nCONFIG = Config(seed=5)\n")
    assert load_experiment(str(path)) == Config(seed=5)
    path.write_text("CONFIG = 3\n")
    with pytest.raises(ValueError, match=r"mine.py: holds no CONFIG"):
        load_experiment(str(path))
    with pytest.raises(ValueError, match=r"other.py: no such experiment file"):
        load_experiment(str(tmp_path / "other.py"))
    path.write_text("from gtn_jax.config import Config\nCONFIG = Config(sed=5)\n")
    with pytest.raises(ValueError, match="mine.py: TypeError: .*sed"):
        load_experiment(str(path))
