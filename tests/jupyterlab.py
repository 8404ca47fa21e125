"""A reader at JupyterLab: what `make lab` starts, asked over HTTP and websockets as the page in the browser asks it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import websocket
from conftest import ENVIRONMENT

TOKEN = "a-test"
START, CELL = 120, 300  # seconds that a server or kernel may take to start, and a cell to run


class Lab:
    """A running JupyterLab server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """What the server's REST interface answers, or the page's bytes."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method)) as answer:
            text = answer.read()
            return json.loads(text) if text and "json" in answer.headers["Content-Type"] else answer.geturl()

    @contextlib.contextmanager
    def session(self, path: str) -> Iterator["Kernel"]:
        """The kernel that opening the notebook `path` starts: of the name that the notebook asks for."""
        name = self.ask(f"api/contents/{path}")["content"]["metadata"]["kernelspec"]["name"]
        asked = {"path": path, "type": "notebook", "name": path, "kernel": {"name": name}}
        session = self.ask("api/sessions", "POST", asked)
        try:
            with contextlib.closing(Kernel(self.url, session["kernel"]["id"])) as kernel:
                yield kernel
        finally:
            self.ask(f"api/sessions/{session['id']}", "DELETE")


class Kernel:
    """One kernel behind its websocket."""

    def __init__(self, url: str, name: str) -> None:
        address = f"ws{url.removeprefix('http')}api/kernels/{name}/channels"
        self.socket = websocket.create_connection(address, CELL, header={"Authorization": f"token {TOKEN}"})

    def close(self) -> None:
        self.socket.close()

    def run(self, source: str) -> list[Any]:
        """The outputs of one cell. Raises AssertionError where it fails."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "s", "username": "reader"}
        asked = {"code": source, "silent": False, "store_history": True, "stop_on_error": True}
        message = {"header": header | {"version": "5.3"}, "parent_header": {}, "metadata": {}, "content": asked}
        self.socket.send(json.dumps(message | {"channel": "shell", "buffers": []}))
        return list(self.outputs(header["msg_id"]))

    def outputs(self, asked: str) -> Iterator[Any]:
        replied = idle = False
        while not (replied and idle):
            message = json.loads(self.socket.recv())
            kind, content = message["header"]["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != asked:
                continue
            assert kind != "error", f"{content['ename']}: {content['evalue']}\n" + "\n".join(content["traceback"])
            if kind in ("display_data", "execute_result", "stream"):
                yield nbformat.v4.output_from_msg(nbformat.from_dict(message))
            replied |= kind == "execute_reply"
            idle |= kind == "status" and content["execution_state"] == "idle"


@contextlib.contextmanager
def make_lab(clone: Path, home: Path, **environment: str) -> Iterator[Lab]:
    """`make lab` in `clone`, whose .venv is this Python's, for a user whose settings are in `home`."""
    (clone / ".venv").mkdir(exist_ok=True)
    for name in ("bin", "share"):
        with contextlib.suppress(FileExistsError):
            (clone / ".venv" / name).symlink_to(Path(sys.prefix, name))
    settings = {"allow_root": True, "open_browser": False, "port": 0}
    home.mkdir(exist_ok=True)
    (home / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": settings}))
    own = {"JUPYTER_CONFIG_DIR": home, "JUPYTER_RUNTIME_DIR": home / "runtime", "JUPYTERLAB_SETTINGS_DIR": home / "lab"}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": home / "workspaces", "JUPYTER_TOKEN": TOKEN}
    log = home / "log.txt"
    with log.open("w") as said:
        started = subprocess.Popen(
            ["make", "-o", ".venv/bin/.installed", "lab"],
            cwd=clone,
            env={**ENVIRONMENT, **{name: str(value) for name, value in own.items()}, **environment},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield Lab(address(home / "runtime", started, log))
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        started.wait(60)


def address(runtime: Path, started: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where the server listens, once it does: its file may be there a moment before."""
    until = time.monotonic() + START
    while time.monotonic() < until and started.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError, OSError):  # half-written, or not yet listening
                url = str(json.loads(path.read_text())["url"])
                place = urllib.parse.urlsplit(url)
                socket.create_connection((place.hostname, place.port), 1).close()
                return url
        time.sleep(0.1)
    raise AssertionError(log.read_text())
