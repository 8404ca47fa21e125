"""How long the README's commands take a newcomer: in a clean clone of what is committed, with nothing installed.

    python benchmarks/commands.py [FOLDER]        writes results/commands.json; then: niny readme

The clone is made in FOLDER, which stays, or in one that does not. Leave the machine alone meanwhile: the README shows
these times with its name.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGETS = {
    "installation": ".venv/bin/.installed",
    "make test": "test",
    "make study": "study",
    "make study again": "study",
}


def main() -> int:
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__, file=sys.stderr)
        return 2
    if len(sys.argv) == 2:
        return measure(Path(sys.argv[1]).absolute())
    with tempfile.TemporaryDirectory() as scratch:
        return measure(Path(scratch) / "niny")


def measure(clone: Path) -> int:
    if subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=False).returncode:
        return 1  # git has said why
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, capture_output=True, text=True, check=True)
    seconds: dict[str, float] = {}
    for name, target in TARGETS.items():
        started = time.monotonic()
        if subprocess.run(["make", target], cwd=clone, check=False).returncode:
            print(f"{name} failed: no times are written", file=sys.stderr)
            return 1
        seconds[name] = round(time.monotonic() - started, 1)
        print(f"{name}: {seconds[name]:,.0f} s", flush=True)
    found = {"seconds": seconds, "processor": processor(), "cores": os.cpu_count(), "commit": commit.stdout.strip()}
    (ROOT / "results" / "commands.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


def processor() -> str:
    """Its name as Linux has it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
