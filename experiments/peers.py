"""Baselines with scikit-learn and fastai, from the same backbone and photographs.

    python3 -m venv .venv-peers
    .venv-peers/bin/pip install torch==2.13.0 fastai timm scikit-learn
    .venv-peers/bin/python experiments/peers.py METHOD ROOT --weights FILE --out ROWS.jsonl

Not an experiment of `gtn`; it runs in its own virtual environment. ROOT has train, val and test,
each with CLASS/*.jpg. FILE is a ResNet-18 under torchvision's names (safetensors, a dependency of
timm), possibly without its last stages. METHOD is one of these:

logistic_regression: scikit-learn's, on standardized pooled features of the center crop; C is the
best on val, the smallest among equals. With --mirror, mirrored images are added to training, and
features are averaged over both views for prediction. The seed has no effect.

fastai: `fine_tune` with its defaults, EPOCHS epochs after one with a frozen backbone, with fastai's
augmentation, head and parameter groups; the last epoch is evaluated.

One JSON row is appended to ROWS.jsonl. Its seconds are those of the process up to then.
"""

# pyright: reportMissingImports=false

import argparse
import json
import time
from pathlib import Path
from typing import Any

START = time.time()  # before the other imports, which take seconds

SPLITS = ("train", "val", "test")
STRENGTHS = [10.0**power for power in range(-5, 3)]
EPOCHS = 20
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photographs(root: Path, split: str) -> list[Path]:
    """The split's files, sorted by class."""
    return sorted(root.glob(f"{split}/*/*.jpg"))


def import_torchvision() -> Any:
    """Import torchvision, also with a PyTorch build that its compiled operators do not match."""
    from torch import library

    try:
        import torchvision
    except RuntimeError:  # "operator torchvision::nms does not exist": a declaration suffices
        for name in ("nms", "qnms"):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(f"torchvision::{name}", schema)
        import torchvision
    return torchvision


def load_backbone(file: Path) -> Any:
    """The stages of a ResNet-18 in `file`: images B 3 H W -> maps B K H' W'.

    Raises:
        RuntimeError: a missing or unknown name (except `fc`), or a wrong shape.
    """
    from safetensors.torch import load_file
    from torch import nn

    state = {name: value for name, value in load_file(file).items() if name[:3] != "fc."}
    stages = {name.partition(".")[0] for name in state if name.startswith("layer")}
    layers = [f"layer{number}" for number in range(1, len(stages) + 1)]
    network = import_torchvision().models.resnet18(weights=None)
    backbone = nn.Sequential()
    for name in ("conv1", "bn1", "relu", "maxpool", *layers):
        backbone.add_module(name, getattr(network, name))
    backbone.load_state_dict(state)
    return backbone


def center_crop(path: Path, resize_size: int, image_size: int) -> Any:
    """uint8 S S 3: the short side resized to `resize_size`, S = `image_size` from the center."""
    import numpy as np
    from PIL import Image

    image = Image.open(path).convert("RGB")
    scale = resize_size / min(image.size)
    width, height = (max(resize_size, round(side * scale)) for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    top, left = (height - image_size) // 2, (width - image_size) // 2
    return pixels[top : top + image_size, left : left + image_size]


def pooled_features(backbone: Any, crops: Any, batch_size: int = 64) -> Any:
    """uint8 N S S 3 -> float32 N K, means over the positions of the last map."""
    import numpy as np
    import torch

    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    backbone.eval()
    features = []
    with torch.no_grad():
        for start in range(0, len(crops), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(crops[start : start + batch_size]))
            pixels = batch.permute(0, 3, 1, 2).float() / 255
            features.append(backbone((pixels - mean) / deviation).mean(dim=(2, 3)).numpy())
    return np.concatenate(features)


def logistic_regression(arguments: argparse.Namespace) -> dict[str, float]:
    """Accuracies of the best C on val."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    backbone = load_backbone(arguments.weights)
    features, labels = {}, {}
    for split in SPLITS:
        paths = photographs(arguments.root, split)
        sizes = arguments.resize_size, arguments.image_size
        crops = np.stack([center_crop(path, *sizes) for path in paths])
        views = [crops, crops[:, :, ::-1]] if arguments.mirror else [crops]
        of_views = [pooled_features(backbone, view) for view in views]
        labels[split] = np.array([path.parent.name for path in paths])
        if split == "train":
            features[split] = np.concatenate(of_views)
            labels[split] = np.tile(labels[split], len(views))
        else:
            features[split] = np.mean(of_views, axis=0)
    scaler = StandardScaler().fit(features["train"])
    inputs = {split: scaler.transform(features[split]) for split in SPLITS}

    def fit(strength: float) -> dict[str, float]:
        model = LogisticRegression(C=strength, max_iter=2000)
        model.fit(inputs["train"], labels["train"])
        return {
            "C": strength,
            "validation_accuracy": float(model.score(inputs["val"], labels["val"])),
            "test_accuracy": float(model.score(inputs["test"], labels["test"])),
        }

    return max(map(fit, STRENGTHS), key=lambda row: row["validation_accuracy"])


def fastai(arguments: argparse.Namespace) -> dict[str, float]:
    """Accuracies after `fine_tune`."""
    backbone = load_backbone(arguments.weights)  # imports torchvision before fastai does
    import torch
    from fastai.vision import all as vision

    vision.set_seed(arguments.seed, reproducible=True)
    loaders = vision.ImageDataLoaders.from_folder(
        arguments.root,
        train="train",
        valid="val",
        item_tfms=vision.Resize(arguments.resize_size),
        batch_tfms=[
            *vision.aug_transforms(size=arguments.image_size, min_scale=0.75),
            vision.Normalize.from_stats(MEAN, DEVIATION),
        ],
        bs=32,
        num_workers=0,  # only threads are counted
        device=torch.device("cpu"),
    )
    model = vision.add_head(backbone, backbone[-1][-1].bn2.num_features, loaders.c)
    split = vision.model_meta[import_torchvision().models.resnet18]["split"]
    learner: Any = vision.Learner(loaders, model, splitter=split, metrics=vision.accuracy)
    test = loaders.test_dl(photographs(arguments.root, "test"), with_labels=True)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(EPOCHS)
        validation_accuracy, test_accuracy = (
            learner.validate(dl=loader)[1] for loader in (loaders.valid, test)
        )
    return {"validation_accuracy": validation_accuracy, "test_accuracy": test_accuracy}


METHODS = {function.__name__: function for function in (logistic_regression, fastai)}


def main() -> None:
    """Run one method on one folder, and append its row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("root", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--mirror", action="store_true", help="logistic_regression only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--resize-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.mirror and arguments.method != "logistic_regression":
        parser.error("--mirror is for logistic_regression; fastai's augmentation mirrors anyway")
    images = {f"{split}_images": len(photographs(arguments.root, split)) for split in SPLITS}
    if not all(images.values()):
        parser.error(f"{arguments.root}: expected photographs SPLIT/CLASS/*.jpg, found {images}")

    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):  # scikit-learn's linear algebra
        results = METHODS[arguments.method](arguments)
    row = {
        "method": arguments.method,
        "root": arguments.root.absolute().name,
        "mirror": arguments.mirror,
        "seed": arguments.seed,
        "image_size": arguments.image_size,
        "resize_size": arguments.resize_size,
        "threads": arguments.threads,
        **images,
        **results,
        "seconds": round(time.time() - START, 1),
    }
    with arguments.out.open("a", encoding="utf-8") as rows:
        rows.write(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
