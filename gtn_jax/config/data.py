"""`data.*`: which images, and how they reach the model."""

import dataclasses
from typing import Literal

from gtn_jax.config.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images, and how they reach the model."""

    name: str = "digits"
    """A name in `gtn_jax.data.sources.DATASETS`, with its variant (dtd/1); tfds:NAME; or
    folder:PATH, of which PATH alone will do."""
    data_dir: str = "~/.cache/gtn_jax/data"
    """Folder of prepared data sets."""
    image_size: int = 32
    """Side of the square that the model sees, in pixels."""
    resize_size: int | None = None
    """Short side of an image before that square is cut out of it, in pixels; None: image_size."""
    center_crop: bool = True
    """Evaluate on the central square of `image_size`; False: on the largest central square, of
    `resize_size`, which shows more of the image at the same scale (arXiv 1906.06423)."""
    batch_size: int = 64
    """Images a training step, over all devices together."""
    eval_batch_size: int = 256
    """Images an evaluation step, over all devices together."""
    train_images_per_class: int | None = None
    """Train on a seeded choice of this many images of each class; None: on all."""
    validation_fraction: float = 0.1
    """Share of every class's training images that validate where a data set has no such split; the
    seed chooses them."""
    test_fraction: float = 0.2
    """Share of every class that tests where a data set has nothing but training images; the same
    images for every seed."""
    last_batch: Literal["drop", "keep"] = "drop"
    """What happens to an epoch's last, partial batch; "keep" gives it its own statistics."""
    random_resized_crop: bool = False
    """Train on a random part of an image, of aspect 3/4 to 4/3, resized; False: on the central
    square."""
    crop_min_area: float = 0.08
    """Smallest share of the image's area in such a part; the largest is all of it."""
    random_flip: bool | Literal["auto"] = True
    """Mirror every other training image, at random. "auto" asks held-out images when the head is
    solved: where a classifier of the images as they are is lost on mirror images, nothing is
    mirrored."""
    mirror_evaluation: bool = False
    """Answer with the mean probabilities of an image and its mirror image: a little better, and
    twice the work."""
    random_shift_pixels: int = 0
    """Training images move by up to this many pixels in x and y; zeros come in."""
    small_image_size: int = 16
    """Side of the training images in the first `small_image_epochs`, in pixels."""
    small_image_epochs: int = 0
    """Progressive resolution: that many epochs on smaller images first, which are cheaper."""
    feature_cache_views: int = 0
    """While the backbone is frozen, train on the features of that many augmented views of each
    image, computed once: epoch e sees view e mod feature_cache_views. 0: a new view each epoch,
    computed anew."""
    image_store: Literal["auto", "device", "host", "stream"] = "auto"
    """Where decoded training images are kept: on every device, in the host's memory, or nowhere,
    each batch decoded anew ("stream"); "auto" takes the first that fits, and says why. The numbers
    are the same."""
    bad_images: Literal["error", "skip"] = "error"
    """Unreadable files of a folder: "error" lists them all, "skip" leaves them out and counts."""
    video_eval: Literal["mean_of_25", "random_frame"] = "mean_of_25"
    """What decides the class of a video: the mean of 25 frames' probabilities, or (the authors')
    one frame at random."""

    @property
    def evaluation_size(self) -> int:
        """Side of the square that evaluation and prediction see, in pixels."""
        return self.image_size if self.center_crop else self.resize_size or self.image_size

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "data.")
        counts = ("image_size", "batch_size", "eval_batch_size", "small_image_size")
        require_least(self, "data", 1, *counts)
        require_least(self, "data", 0, "small_image_epochs", "feature_cache_views")
        short = self.resize_size
        require(
            short is None or short >= self.image_size,
            "data.resize_size",
            short,
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
