"""How far PyTorch is from itself: six steps of the authors' case in NCHW and in channels_last.

    python tests/golden/layouts.py

writes torch_layouts.npz beside this file: for every stored digest, the difference between the two
layouts relative to the array's norm (losses: relative). Rounding decides a few ReLUs differently,
so two correct float32 runs part by this much; it is the yardstick of tests/weights/test_trajectory.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

HERE = Path(__file__).parent
STORED = HERE / "torch_layouts.npz"


def trajectory(
    rule: ModuleType, reference: ModuleType, channels_last: bool
) -> tuple[list[float], dict[str, np.ndarray]]:
    """Six losses, and after3/, after6/, momentum3/, momentum6/ arrays under PyTorch's names."""
    import torch

    network = reference.TorchGTN(10)
    drawn = rule.draw(rule.gtn_shapes(10), 0)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in drawn.items()})
    images, labels = rule.inputs(0, 4, 10)
    x, y = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(labels)
    if channels_last:
        network.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    frozen = [*network.feature_extract.parameters(), *network.layer4.parameters()]
    heads = [
        p for part in ("auxlayer", "fc", "classify") for p in getattr(network, part).parameters()
    ]
    optimizer = torch.optim.SGD(
        [{"params": frozen, "lr": 0.0}, {"params": heads}], lr=1e-2, momentum=0.9, weight_decay=1e-4
    )
    losses, arrays = [], {}
    network.train()
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 0.0 if step < 3 else 1e-2
        logits, aux_logits = network(x)
        cross_entropy = torch.nn.functional.cross_entropy
        loss = cross_entropy(logits, y) + 0.2 * cross_entropy(aux_logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step in (2, 5):
            for name, tensor in network.state_dict().items():
                arrays[f"after{step + 1}/{name}"] = tensor.numpy().copy()
            for name, parameter in network.named_parameters():
                momentum = optimizer.state[parameter]["momentum_buffer"]
                arrays[f"momentum{step + 1}/{name}"] = momentum.numpy().copy()
    return losses, arrays


def main() -> None:
    """Run both layouts and write the differences."""
    # Run as a script, this folder is on the path; the other one is not.
    sys.path.append(str(HERE.parent / "reference"))
    rule, reference = (importlib.import_module(name) for name in ("rule", "torch_resnet"))
    stored = np.load(rule.STORED)
    (losses, one), (other_losses, other) = (
        trajectory(rule, reference, channels_last) for channels_last in (False, True)
    )
    differences = {"steps/losses": np.max(np.abs(np.array(losses) / np.array(other_losses) - 1))}
    for key in one:
        if key in stored.files:
            name = key.split("/", 1)[1]
            digests = [rule.digest(arrays[key], name, 0) for arrays in (one, other)]
            differences[key] = rule.digest_error(*digests, one[key].size)
    np.savez_compressed(STORED, **{k: np.float32(v) for k, v in differences.items()})
    worst = max(differences, key=lambda key: differences[key])
    print(f"{len(differences)} differences; the largest {differences[worst]:.1e}, of {worst}")


if __name__ == "__main__":
    main()
