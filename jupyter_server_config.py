"""`jupyter lab --config=jupyter_server_config.py`: saving a notebook of notebooks/ keeps its canonical form.

For an environment where niny is on the path but not installed: installing it does the same for every `jupyter lab`.
"""

c.ServerApp.jpserver_extensions = {"niny.notebooks": True}  # noqa: F821  (c is given by Jupyter)
