"""`jupyter lab --config=jupyter_server_config.py`: saving a notebook of notebooks/ keeps its canonical form."""

from niny.notebooks import pre_save

c.ContentsManager.pre_save_hook = pre_save  # noqa: F821  (c is given by Jupyter)
