"""Weights files, and what a repository says about its own."""

import json

import huggingface_hub
import numpy as np
import pytest
from safetensors.numpy import save

from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.weights import hub
from gtn_jax.weights.port import port
from gtn_jax.weights.read import read_safetensors
from gtn_jax.weights.registry import resolve
from tests.fuzz.fuzzing import at_most_a_refusal, changed, damaged, fuzz, st

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def template(tiny_backbone):
    return init_variables(GTN(tiny_backbone, 10), seed=0)


TENSORS = {"conv1.weight": np.ones((8, 3, 3, 3), np.float32), "bn1.weight": np.ones(8, np.float16),
           "bn1.num_batches_tracked": np.zeros((), np.int64)}  # fmt: skip
METADATA = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.2, 0.2, 0.2]", "backbone": "tiny"}


def with_header(header: str, content: bytes) -> bytes:
    """A safetensors file of this header and these numbers."""
    encoded = header.encode(errors="surrogatepass")
    return len(encoded).to_bytes(8, "little") + encoded + content


@st.composite
def weights(draw):
    """Bytes with damage anywhere, or a header of other JSON."""
    sound = save(TENSORS, METADATA)
    if draw(st.booleans()):
        return draw(damaged(sound))
    end = 8 + int.from_bytes(sound[:8], "little")
    return with_header(draw(changed(json.loads(sound[8:end]))), sound[end:])


@fuzz(800, content=weights(), heads=st.sampled_from(["fresh", "load"]))
def test_weights(room, template, content, heads):
    path = room / "weights.safetensors"
    path.write_bytes(content)
    with at_most_a_refusal(str(path)):
        _, info = resolve(path)
        assert all(np.isfinite(info.mean)) and min(info.std) > 0
    with at_most_a_refusal(str(path)):
        port(read_safetensors(path), template, heads=heads, source=str(path))


RECORD = {"pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "crop_pct": 0.9,
                             "interpolation": "bicubic", "license": "mit"},
          "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2], "resample": 3}  # fmt: skip


@fuzz(400, text=changed(RECORD) | damaged(json.dumps(RECORD).encode()))
def test_records_of_the_hub(room, text):
    path = room / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(path))
        record = hub.fetch_record(hub.HubName("us/toy", ""))
    for values, least in ((record.mean, -np.inf), (record.std, 0)):
        assert values is None or (np.isfinite(values).all() and min(values) > least)
