"""What a benchmark leaves behind: a file for each machine, and a table to read."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from niny.errors import NinyError
from niny.files import write_json

FOLDER = Path("results", "benchmarks")
AGREEMENT = FOLDER / "agreement"  # by benchmarks/agreement.py


def machine_name(machine: dict[str, Any]) -> str:
    """A file name: `nvidia-h200-bfloat16`, or the processor with its threads and precision."""
    threads = f"{machine['processor']} {machine['threads']} threads"
    words = f"{machine['gpu'] or threads} {machine['precision']}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def keep(result: Mapping[str, Any], root: Path, folder: Path = FOLDER) -> Path:
    """Write the result to <machine>.json of a folder of results, in place of an older one of the same machine."""
    path = root / folder / f"{machine_name(result['machine'])}.json"
    write_json(path, result)
    return path


def kept(root: Path, folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The results of every machine, by name. Raises NinyError for a damaged one."""
    results = []
    for path in sorted((root / folder).glob("*.json")):
        try:
            results.append(json.loads(path.read_text()))
        except ValueError as error:
            raise NinyError(f"{path} is damaged ({error}): run niny bench on that machine again") from None
    return results


def table(result: dict[str, Any]) -> str:
    """What a person reads: rates first, then the parts, then the rest."""
    tera = 1e12
    lines = [
        f"{result['experiment']} on {machine_name(result['machine'])}",
        f"plain loop        {result['plain_images_per_s']:12,.1f} images/s   eager float32, an image at a time",
        f"engine            {result['images_per_s']:12,.1f} images/s   {result['ratio']:.2f} times the plain loop",
        f"matrix product    {result['ceiling_flops_per_s'] / tera:12,.3f} TFLOP/s    "
        f"the engine reaches {100 * result['ceiling_share']:.0f} % of it",
        "",
        "part of an update    us/image",
        *(f"{part:20} {value:8.1f}" for part, value in result["parts_us_per_image"].items()),
        "",
        "batch             images/s",
        *(f"{batch:>5}         {rate:12,.1f}" for batch, rate in result["images_per_s_by_batch"].items()),
        "",
        "images       s an epoch",
        *(f"{count:>6}      {took:10.2f}" for count, took in result["seconds_by_images"].items()),
        "",
        *cost_lines(result["costs"]),
    ]
    return "\n".join(lines)


def cost_lines(costs: dict[str, Any]) -> list[str]:
    images, evaluated, count = costs["preprocessing_images"], costs["evaluation_images"], costs["grids_3x3"]
    return [
        f"preprocessing of {images:,} images: fitted in {costs['preprocessing_fit_s']:.2f} s, "
        f"applied in {costs['preprocessing_apply_s']:.2f} s",
        f"evaluation of {evaluated:,} images: {costs['evaluation_s']:.2f} s, "
        f"in float32 {costs['final_evaluation_s']:.2f} s",
        f"class maps of {count} 3x3 grids: {costs['grids_3x3_s']:.2f} s",
    ]
