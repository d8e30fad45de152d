"""What a run starts from, and how many programs that takes."""

import jax
import numpy as np
from safetensors.numpy import save_file

from gtn_jax.config import Config, override
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.setup import build_programs
from gtn_jax.training.state import create_state
from gtn_jax.weights.keymaps import to_torchvision
from tests.plain_networks import build_model


def test_a_start_compiles_few_programs(tmp_path, monkeypatch):
    """The heads, and momentum with the key: none for each shape of a tensor."""
    # A width of its own: no other test has compiled anything for its shapes.
    monkeypatch.setitem(BACKBONES, "odd", ResNetShape("basic", (1, 1), width=11, stem="small"))
    stored = to_torchvision(init_variables(GTN("odd", 3), seed=5))
    halves = {name: np.asarray(tensor, np.float16) for name, tensor in stored.items()}
    save_file(halves, tmp_path / "odd.safetensors")
    values = {"model.backbone": "odd", "model.weights": str(tmp_path / "odd.safetensors")}
    config = override(Config(), values)
    compiled = []

    def count(event: str, seconds: float, fun_name: str = "", **ignored) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        model, variables, preprocessing = build_model(config, 3)
        programs = build_programs(config, model, preprocessing, 1)
        create_state(variables, programs.optimizer, 0.1, config.seed)
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert compiled == ["jit(draw)", "jit(_start)"]


def test_the_key_is_that_of_the_seed():
    """Also of seeds that an int32 does not hold."""
    model = GTN("tiny", 3)
    variables = init_variables(model, 0)
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    optimizer = build_optimizer(0.9, 1e-4, constant, frozen_steps=0)
    for seed in (0, 7, 2**32 - 1):
        state = create_state(variables, optimizer, 0.1, seed)
        assert state.key == jax.random.key(seed)
        assert int(state.step) == 0
        rates = state.opt_state.inner_states["head"].inner_state[2]
        assert float(rates.peak) == np.float32(0.1)
