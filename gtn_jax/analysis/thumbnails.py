"""Small pictures of a run's images, from its data set."""

import contextlib
import io

import numpy as np
from PIL import Image

from gtn_jax.data.decode import decode_whole
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import choose, fingerprint
from gtn_jax.errors import one_line
from gtn_jax.runs.folder import RunFolder

_SHORT_SIDE = 96


def thumbnails(folder: RunFolder, split: str, rows: np.ndarray) -> dict[int, bytes] | str:
    """JPEGs of some images, or why there are none.

    Args:
        folder: of a run.
        split: of its data set.
        rows: int B, of `RunFolder.predictions(split)`.

    Returns:
        row -> file, without images that are damaged by now; or a sentence, where the data set is
        not there as it was. One that comes with the package is prepared if need be.
    """
    said = folder.predictions(split)
    assert said is not None  # rows of nothing
    try:
        config = folder.config()
        part = choose(open_data(config.data), config.data, config.seed)[split]
        folder.check_data({split: fingerprint(part)})
        places = {file: place for place, file in enumerate(part.files.tolist())}
        found = {}
        for row in rows.tolist():
            file = str(said.files[row])
            with contextlib.suppress(ValueError, OSError):
                (example,) = part.split.read([int(part.positions[places[file]])])
                found[row] = _jpeg(decode_whole(example["image"], _SHORT_SIDE, file))
        return found
    except (ValueError, OSError, KeyError) as error:
        return f"No pictures: the run's data set is not here as it was ({one_line(error)})."


def _jpeg(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=80)
    return content.getvalue()
