"""`data.*`: data set, splits, preprocessing and augmentation."""

import dataclasses
from typing import Literal

from gtn_jax.config.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Data set, splits, preprocessing and augmentation."""

    name: str = "digits"
    """A name in `gtn_jax.data.sources.DATASETS`, with a variant if it has any (dtd/1), tfds:NAME,
    folder:PATH, or PATH alone."""
    data_dir: str = "~/.cache/gtn_jax/data"
    """Folder of prepared data sets."""
    image_size: int = 32
    """Side of the model's square input, in pixels."""
    resize_size: int | None = None
    """Length of an image's short side before cropping, in pixels; None: image_size."""
    center_crop: bool = True
    """Evaluate on the central square of `image_size`; False: on the largest central square, of
    `resize_size`, which shows more of the image at the same scale (arXiv 1906.06423)."""
    batch_size: int = 64
    """Images per training step, over all devices."""
    eval_batch_size: int = 256
    """Images per evaluation step, over all devices."""
    train_images_per_class: int | None = None
    """Number of training images per class, sampled with the seed; None: all."""
    validation_fraction: float = 0.1
    """Fraction of each class's training images held out for validation, for data sets without a
    validation split; sampled with the seed."""
    test_fraction: float = 0.2
    """Fraction of each class held out for testing, for data sets with training images only; does
    not depend on the seed."""
    last_batch: Literal["drop", "keep"] = "drop"
    """Drop an epoch's last, partial batch, or "keep" it, with its own BatchNorm statistics."""
    random_resized_crop: bool = False
    """Train on a random crop of aspect ratio 3/4 to 4/3, resized; False: on the central square."""
    crop_min_area: float = 0.08
    """Minimum area of a random crop, as a fraction of the image."""
    random_flip: bool | Literal["auto"] = True
    """Flip training images horizontally with probability 1/2. "auto", with a solved head, tests on
    held-out images whether flips mislead a classifier of unflipped images, and then turns them off.
    """
    mirror_evaluation: bool = False
    """Average the predicted probabilities of each image and its mirror image: slightly more
    accurate, twice the compute."""
    random_shift_pixels: int = 0
    """Shift training images by up to this many pixels in x and y, padding with zeros."""
    small_image_size: int = 16
    """Side of the training images in the first `small_image_epochs`, in pixels."""
    small_image_epochs: int = 0
    """Progressive resizing: number of first epochs on smaller, cheaper images."""
    feature_cache_views: int = 0
    """While the backbone is frozen, train on cached features of this many augmented views per
    image; epoch e uses view e mod feature_cache_views. 0: no cache, new views each epoch."""
    image_store: Literal["auto", "device", "host", "stream"] = "auto"
    """Where decoded training images are kept: on every device, in host memory, or nowhere
    ("stream": each batch is decoded again); "auto": the first that fits. Results do not depend on
    it."""
    bad_images: Literal["error", "skip"] = "error"
    """Unreadable files of a folder: "error" lists them all, "skip" ignores and counts them."""
    video_eval: Literal["mean_of_25", "random_frame"] = "mean_of_25"
    """Classify a video by the mean probabilities of 25 frames, or (the authors') by one random
    frame."""

    @property
    def evaluation_size(self) -> int:
        """Side of the square input in evaluation and prediction, in pixels."""
        return self.image_size if self.center_crop else self.resize_size or self.image_size

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "data.")
        counts = ("image_size", "batch_size", "eval_batch_size", "small_image_size")
        require_least(self, "data", 1, *counts)
        require_least(self, "data", 0, "small_image_epochs", "feature_cache_views")
        resize = self.resize_size
        require(
            resize is None or resize >= self.image_size,
            "data.resize_size",
            resize,
            f"at least image_size, {self.image_size} pixels",
        )
        for name in ("validation_fraction", "test_fraction"):
            share = getattr(self, name)
            require(0 <= share < 1, f"data.{name}", share, "a share in [0, 1)")
        area = self.crop_min_area
        require(0 < area <= 1, "data.crop_min_area", area, "a share in (0, 1]")
        count = self.train_images_per_class
        require(count is None or count >= 1, "data.train_images_per_class", count, "at least 1")
        shift = self.random_shift_pixels
        require(0 <= shift < self.image_size, "data.random_shift_pixels", shift, "0 or more")
        require(
            shift == 0 or not self.random_resized_crop,
            "data.random_shift_pixels",
            shift,
            "0, as random_resized_crop moves images already",
        )
