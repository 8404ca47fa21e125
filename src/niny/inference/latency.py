"""How long an answer takes on a CPU: the whole of `predict`, and the network alone in three runtimes.

One pass gives probabilities and class maps, since the mean of a map is its class's logit; so the network is timed with
both outputs. Weights are drawn: no time depends on what they are. Runtimes take turns, and medians are kept, because
machines are shared.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from niny.config import Run
from niny.data.sets import LABELS
from niny.data.transforms import transform_for
from niny.inference.description import Origin, describe
from niny.inference.export import Exported, missing_for_onnx, write_onnx
from niny.inference.model import Model
from niny.models import build, initialise
from niny.training.device import Compute
from niny.training.record import describe_commit, describe_machine

BATCHES = (1, 256)
SECONDS = 3.0  # spent on each figure, at least three calls
FOLDER = Path("results", "benchmarks", "inference")

Call = Callable[[Tensor], Any]


def untrained(run: Run) -> Model:
    """The network of a run with drawn weights, ready to predict."""
    net = build(run)
    initialise(net, "he", 0.0, 0)
    transform, labels = transform_for(run.data.name), LABELS[run.data.name]
    config = describe(net.eval(), run.data.name, transform, labels, Origin(run.experiment.name, Path(), "", {}))
    return Model(net, transform, labels, config, run.data.name)


def measure(run: Run) -> dict[str, Any]:
    """Milliseconds and images/s of each runtime at each batch size, on the CPU in float32; why one was left out."""
    model = untrained(run)
    calls, skipped = runtimes(model)
    figures: dict[str, dict[str, dict[str, float]]] = {name: {} for name in ("predict", *calls)}
    for batch in BATCHES:
        pixels = torch.randint(256, (batch, model.transform.channels, *2 * (model.transform.size,)), dtype=torch.uint8)
        images = model.transform.normalise(pixels)
        timed = {name: partial(call, images) for name, call in calls.items()}
        timed["predict"] = partial(model.predict, pixels)
        for name, took in in_turns(timed, SECONDS).items():
            figures[name][str(batch)] = {"ms": 1e3 * took, "images_per_s": batch / took}
    machine = describe_machine(Compute(torch.device("cpu"), torch.float32))
    about = {"experiment": run.experiment.name, "scale": run.scale.name, "machine": machine, **describe_commit()}
    return {**about, "figures": figures, "skipped": skipped}


def runtimes(model: Model) -> tuple[dict[str, Call], dict[str, str]]:
    """What gives probabilities and maps of preprocessed images, by name; and why a runtime is not there."""
    plain = Exported(model, pixels=False)
    calls: dict[str, Call] = {"torch": without_gradients(plain)}
    skipped: dict[str, str] = {}
    if shutil.which("g++") or shutil.which("c++"):
        calls["torch.compile"] = without_gradients(torch.compile(plain))
    else:
        skipped["torch.compile"] = "no C++ compiler here"
    if missing := missing_for_onnx():
        skipped["onnxruntime"] = f"{', '.join(missing)} not installed"
    else:
        calls["onnxruntime"] = onnx_session(model)
    return calls, skipped


def without_gradients(call: Call) -> Call:
    @torch.inference_mode()
    def run(x: Tensor) -> Any:
        return call(x)

    return run


def onnx_session(model: Model) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(model, Path(folder, "net.onnx"), pixels=False)
        raw = Path(folder, "net.onnx").read_bytes()
    session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"images": x.numpy()})


def in_turns(calls: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Median seconds of each call; all are called once before, for compilation and memory."""
    for call in calls.values():
        call()
    took: dict[str, list[float]] = {name: [] for name in calls}
    while len(took[next(iter(took))]) < 3 or sum(map(sum, took.values())) < seconds * len(calls):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            took[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in took.items()}


def table(result: Mapping[str, Any]) -> str:
    """What a person reads."""
    machine = result["machine"]
    lines = [
        f"{result['experiment']} on {machine['processor']}, {machine['threads']} thread(s), float32",
        f"{'':16}{'batch':>6}{'ms':>12}{'images/s':>12}",
    ]
    for name, by_batch in result["figures"].items():
        for batch, figure in by_batch.items():
            lines.append(f"{name:16}{batch:>6}{figure['ms']:12,.2f}{figure['images_per_s']:12,.1f}")
    return "\n".join([*lines, *(f"{name}: not measured, {why}" for name, why in result["skipped"].items())])
