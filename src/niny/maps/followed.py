"""Names of what is looked at in class maps while a network learns: columns of history.csv."""

from collections.abc import Collection

from niny.maps.views import VIEWS

LOOKS = {
    "claim1_rate": "largest in the true map",
    "gridpg3_mass": "mass in the right cell of 9",
    "entropy": "entropy (1 flat, 0 one cell)",
    "gini": "Gini index (0 flat, 1 one cell)",
}
READINGS = {"raw": "as they are", "centred": "less the mean", "margin": "less the best other", "softmax": "softmax"}


IMAGES, GRIDS = 64, 16  # looked at


def column(look: str, view: str) -> str:
    """`map_entropy_margin`. Of the raw map alone the first looks were; their columns still do not name it."""
    return f"map_{look}" if view == "raw" and look != "gridpg3_mass" else f"map_{look}_{view}"


def is_of_classes(head: str, columns: Collection[str]) -> bool:
    """Whether maps of classes were looked at: under a fully connected head early looks were at what it is given."""
    return head == "gap" or column("entropy", "centred") in columns


COLUMNS = {(look, view): column(look, view) for look in LOOKS for view in VIEWS}
WITH_ENDS = tuple(f"{name}{end}" for name in COLUMNS.values() for end in ("", "_low", "_high"))  # 95 % over images
