"""A payload of the explorer with known maps, made without any network."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
IMAGES, FOLLOWED, EPOCHS, SIDE, CELLS = 12, 2, (1, 2, 5), 32, 8
FIELD = {"stride": 4, "size": 27, "start": -11}
DEAD = 4  # the class whose maps are all zero, and so tie


def payload(classes: list[str] = CLASSES, **changes: Any) -> dict[str, Any]:
    """Images of two kinds in turn, recognised and mistaken; `changes` replace entries."""
    rng = np.random.default_rng(1312)
    maps = 0.5 + rng.gamma(0.5, 8.0, (IMAGES, len(classes), CELLS, CELLS))
    maps[:, DEAD] = 0
    packed = pack(maps)
    earlier = [share * np.roll(maps[:FOLLOWED], turn, axis=1) for share, turn in ((0.1, 2), (0.4, 1), (0.9, 0))]
    kept = pack(np.stack(earlier))  # another class is ahead at first
    made = {
        "version": 1,
        "experiment": "cifar10-nin",
        "scale": "full",
        "title": "NIN + dropout, full scale",
        "label": "Full scale: planted",
        "head": "gap",
        "data": "CIFAR-10",
        "classes": classes,
        "images": [image(i, unpack(packed)[i], rng) for i in range(IMAGES)],
        "maps": packed,
        "field": FIELD,
        "epochs": {"epoch": [*EPOCHS], "test_error": [80.0, None, 20.5], "image": [*range(FOLLOWED)], "maps": kept},
        "attributions": [method("saliency", "Saliency", rng), method("gradcam2", "Grad-CAM at mlpconv2", rng)],
        "grids": [grid(rng) for _ in range(2)],
        "scores": {"claim1_rate.raw": {"value": 0.595, "interval": [0.585, 0.605], "n": 10000}},
    }
    return {**made, **changes}


def image(i: int, maps: NDArray[np.float64], rng: np.random.Generator) -> dict[str, Any]:
    logits = maps.mean((1, 2))
    predicted = int(logits.argmax())
    label = predicted if i % 2 == 0 else (predicted + 1) % len(logits)
    about = {"index": 100 + 7 * i, "name": None, "label": label, "predicted": predicted}
    return {**about, "logits": logits.tolist(), "png": png(rng, SIDE)}


def method(name: str, title: str, rng: np.random.Generator) -> dict[str, Any]:
    numbers = {kind: rng.uniform(-1, 1, IMAGES).round(3).tolist() for kind in ("agreement", "other", "centre")}
    numbers["other"][0] = None
    maps = pack(rng.normal(0, 1e-3, (IMAGES, CELLS, CELLS)))
    return {"name": name, "title": title, "line": f"What {title} is.", "maps": maps, **numbers}


def grid(rng: np.random.Generator) -> dict[str, Any]:
    readings = ("raw", "centred", "margin")
    return {
        "labels": rng.permutation(len(CLASSES))[:9].tolist(),
        "png": png(rng, 3 * SIDE),
        "maps": pack(rng.gamma(0.5, 8.0, (9, 3 * CELLS, 3 * CELLS))),
        "mass": {reading: rng.uniform(0, 1, 9).round(5).tolist() for reading in readings},
        "hit": {reading: (rng.uniform(0, 1, 9) > 0.5).tolist() for reading in readings},
    }


def pack(values: NDArray[np.float64]) -> dict[str, Any]:
    scale = float(np.abs(values).max()) / 32767
    data = np.rint(values / scale).astype("<i2").tobytes()
    return {"shape": list(values.shape), "scale": scale, "data": base64.b64encode(data).decode()}


def unpack(packed: dict[str, Any]) -> NDArray[np.float64]:
    whole = np.frombuffer(base64.b64decode(packed["data"]), "<i2").reshape(packed["shape"])
    return np.asarray(whole * packed["scale"])


def png(rng: np.random.Generator, side: int) -> str:
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def plant(root: Path, scale: str, made: dict[str, Any]) -> Path:
    path = root / "results" / scale / "explorer" / "cifar10-nin.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made))
    return path
