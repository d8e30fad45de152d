"""A data source of PNG files in memory, for tests of what is read of them."""

import io

import numpy as np
from PIL import Image


class PngFiles:
    """A data source of PNG files of these heights and widths; every pixel tells its place.

    `read` lists the positions that were asked for.
    """

    def __init__(self, sizes):
        self.examples, self.read = [], []
        for number, (height, width) in enumerate(sizes):
            rows, columns = np.mgrid[:height, :width].astype(np.uint8)
            pixels = np.stack([rows, columns, np.full_like(rows, number)], -1)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            name = f"{number}.png".encode()
            self.examples.append({"image": file.getvalue(), "label": number, "file": name})

    def __len__(self):
        return len(self.examples)

    def __getitems__(self, positions):
        self.read += positions
        return [self.examples[position] for position in positions]
