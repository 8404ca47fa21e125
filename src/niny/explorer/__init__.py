"""The explorer of class maps: look at any image's maps, epoch by epoch, beside other attributions and grids.

packing.py   numbers and pictures as text
field.py     which pixels a cell of a class map sees, computed from the network's layers
choice.py    which test images are shown: by chance, fixed by the root seed
looks.py     what a network says of images, and how other attributions agree with its maps
payload.py   all of it for one network, as the file that the report and the notebook show
live.py      answers to what is asked of a running network: any test image, any image file
widget.py    `Explorer`, the same in a notebook
explorer.js, explorer.css   how it looks, in a notebook and in the report alike
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from niny.explorer.widget import Explorer

__all__ = ["Explorer"]


def __getattr__(name: str) -> "type[Explorer]":
    """The widget is loaded when it is asked for: whoever makes payloads needs none of Jupyter's."""
    if name == "Explorer":
        from niny.explorer.widget import Explorer

        return Explorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
