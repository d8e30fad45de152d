"""FashionAI attributes: eight tasks on photographs of clothes, such as the design of the collar.

The FashionAI challenge of Alibaba's Tianchi (2018). The root holds `Images/` and
`Annotations/label.csv`, without a header line, rows
`Images/coat_length_labels/c76e...d3e1.jpg,coat_length_labels,nynnnnnn`: one letter per class. "y"
is the class; "m" ("maybe"), another visible class, counts as "n", as in the GTN authors' code.
Their split: the first 80% of an attribute's rows are for training, the rest for testing.
"""

from gtn_jax.data.builders.encode import Example
from gtn_jax.data.builders.listed import ListedBuilder
from gtn_jax.data.builders.lists import FileList, Line, Listing, find_root, read_lines

LABELS = "Annotations/label.csv"
ATTRIBUTES = {
    "coat_length": (
        "Invisible", "High Waist Length", "Regular Length", "Long Length", "Micro Length",
        "Knee Length", "Midi Length", "Ankle&Floor Length",
    ),
    "collar_design": ("Invisible", "Shirt Collar", "Peter Pan", "Puritan Collar", "Rib Collar"),
    "lapel_design": ("Invisible", "Notched", "Collarless", "Shawl Collar", "Plus Size Shawl"),
    "neck_design": (
        "Invisible", "Turtle Neck", "Ruffle Semi-High Collar", "Low Turtle Neck", "Draped Collar",
    ),
    "neckline_design": (
        "Invisible", "Strapless Neck", "Deep V Neckline", "Straight Neck", "V Neckline",
        "Square Neckline", "Off Shoulder", "Round Neckline", "Sweat Heart Neck",
        "One Shoulder Neckline",
    ),
    "pant_length": (
        "Invisible", "Short Pant", "Mid Length", "3/4 Length", "Cropped Pant", "Full Length",
    ),
    "skirt_length": (
        "Invisible", "Short Length", "Knee Length", "Midi Length", "Ankle Length", "Floor Length",
    ),
    "sleeve_length": (
        "Invisible", "Sleeveless", "Cup Sleeves", "Short Sleeves", "Elbow Sleeves", "3/4 Sleeves",
        "Wrist Length", "Long Sleeves", "Extra Long Sleeves",
    ),
}  # fmt: skip
"""Attribute -> its values in the order of the letters, as the challenge spells them."""


class Fashionai(ListedBuilder):
    """5 to 10 classes; variants are the attributes."""

    variants = tuple(ATTRIBUTES)
    description = "FashionAI attributes: photographs of clothes, one attribute at a time."
    homepage = "https://tianchi.aliyun.com/competition/entrance/231649/introduction"

    def read_lists(self) -> Listing:
        """Classes are the values of the attribute."""
        root = find_root(self.source, ("Images", LABELS), self.title)
        attribute, classes = self.variant, list(ATTRIBUTES[self.variant])
        rows = [row for line in read_lines(root, LABELS) if (row := _row(line, attribute))]
        files = FileList(root, self.allow_partial)
        examples: dict[str, list[Example]] = {"train": [], "test": []}
        # A share of the rows, so a missing file moves no other into another split.
        train = int(len(rows) * 0.8)
        for number, (name, letters, where) in enumerate(rows):
            is_valid = len(letters) == len(classes) and set(letters) <= set("nmy")
            if not is_valid or letters.count("y") != 1:
                raise ValueError(
                    f"{where}: {letters!r} does not label {attribute}; expected {len(classes)} "
                    "letters n, m or y, of which one is y"
                )
            name, path = files.add(name, where)
            if path is not None:
                split = "train" if number < train else "test"
                examples[split].append(Example(name, path, letters.index("y")))
        return Listing(classes, examples, files.finish())


def _row(line: Line, attribute: str) -> tuple[str, str, str] | None:
    """(file, letters, where); None for a row of another attribute."""
    fields = [field.strip() for field in line.text.split(",")]
    if len(fields) != 3 or fields[1].removesuffix("_labels") not in ATTRIBUTES:
        raise ValueError(
            f"{line.where}: {line.text!r} is not of the form FILE,ATTRIBUTE_labels,LETTERS"
        )
    name, kind, letters = fields
    return (name, letters, line.where) if kind == f"{attribute}_labels" else None
