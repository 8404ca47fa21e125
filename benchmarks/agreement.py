"""Do the engine's tricks change what a network learns? The same seeds trained with and without them, error by error.

    python benchmarks/agreement.py [SEEDS]        writes results/benchmarks/agreement/<machine>.json; five seeds

With them: as `niny train` does here. Without: in float32, every layer as it is. Both train cifar10-nin at scale demo
(the robust recipe, CIFAR-10 itself, a third of the width, five epochs) from the same first weights. Dropout's masks
are drawn alike, images come in one order; sums are rounded differently, after which two trainings part. What was
trained stays in build/agreement: a second start adds the seeds that are missing.
"""

import sys
from dataclasses import asdict
from pathlib import Path

from niny.benchmark.results import AGREEMENT, machine_name
from niny.config import load_params
from niny.evaluation.statistics import paired, summarise
from niny.files import write_json
from niny.training import choose_compute, train_experiment
from niny.training.record import describe_commit, describe_machine, read_metrics

ROOT = Path(__file__).parents[1]
WAYS = {"engine": choose_compute(), "plain": choose_compute(precision="float32", eager=True)}


def main() -> int:
    if len(sys.argv) > 2 or not all(word.isdecimal() and int(word) > 1 for word in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    seeds = range(int(sys.argv[1]) if sys.argv[1:] else 5)
    errors = {way: {seed: trained(way, seed) for seed in seeds} for way in WAYS}
    pair = paired(errors["engine"], errors["plain"])
    machine = {"device": WAYS["engine"].device.type, **describe_machine(WAYS["engine"])}
    found = {
        "experiment": "cifar10-nin",
        "scale": "demo",
        "test_errors": errors,
        "sd": {way: summarise(list(found.values())).sd for way, found in errors.items()},
        "difference": asdict(pair.difference),
        "p": pair.p,
        "machine": machine,
        **describe_commit(),
    }
    write_json(ROOT / AGREEMENT / f"{machine_name(machine)}.json", found)
    print(f"engine less plain, points: {pair.difference}, p = {pair.p}")
    return 0


def trained(way: str, seed: int) -> float:
    """Test error in per cent of one seed trained in that way."""
    root = ROOT / "build" / "agreement" / way
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "data").exists():
        (root / "data").symlink_to(ROOT / "data")
    run = load_params(ROOT).run("demo", "cifar10-nin")
    [folder] = train_experiment(run, root, seeds=[seed], compute=WAYS[way])
    return float(read_metrics(folder)["test_error"])


if __name__ == "__main__":
    sys.exit(main())
