"""What tests that try to break the study found: results/reliability.json, which `make torture` writes.

A line is one thing that was tried, by name; a torture test records under the name that its marker gives.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from niny.errors import NinyError
from niny.report.parts import Section, Table
from niny.report.study import Study
from niny.report.words import told_commit

FILE = Path("results", "reliability.json")
NOT_RUN = "not run"
LINES = {  # name -> what is tried, in the order of the table
    "damaged-data": "Data files with flipped bits, cut short, overlong, empty, with swapped labels, swapped with one "
    "another or taken from another set: each of these in every official format, packed and unpacked, and in npm's "
    "packages",
    "hostile-archives": "Packages with paths that leave their folder, with links and devices; pickled batches that ask "
    "for code",
    "wrong-parameters": "params.yaml, claims.yaml, DVC's -S and notebook parameters with unknown and doubled keys and "
    "sections, wrong types, NaN, negative and huge numbers, and YAML's traps; some through dvc exp run itself",
    "hostile-weights": "Weights files that would run code, with false headers, lengths that lie, and random damage, "
    "for the readers and for niny predict",
    "protobuf-fuzz": "Random and mutated messages for the reader of Caffe's files",
    "hostile-images": "Images that are bombs, cut short, damaged, without size, CMYK, 16-bit, animated or of "
    "100 megapixels, with --size, --maps and several at once",
    "hostile-words": "Names and captions with HTML, scripts, Markdown and LaTeX in the report and the article",
    "killed": "SIGKILL at random moments that met data preparation, training, notebooks or reports at work, then one "
    "plain rerun",
    "same-bytes": "Every stage of the study for one network in three clones of other names, users, languages, time "
    "zones and hash seeds, all compared but what was timed; and how far other threads and CPU types lead away",
    "two-at-once": "Processes that start the same run, data preparation, notebook or report together",
    "surroundings": "A full disk, a read-only folder, no home, no network, odd clocks, masks, paths and limits, for "
    "niny and for DVC",
    "lowest-versions": "All tests with the lowest versions that pyproject.toml allows",
    "no-internet": "Installation from collected packages, data and training on a machine that no network reaches",
}


def read_records(root: Path) -> dict[str, dict[str, Any]]:
    """The last record of each line by name; none where nothing was tried. Raises NinyError for a damaged file."""
    path = root / FILE
    try:
        return {record["name"]: record for record in json.loads(path.read_text(encoding="utf-8"))}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError) as error:
        raise NinyError(f"{path} is damaged ({error}): restore it from git, or run make torture") from None


def trust(study: Study) -> Section:
    records = read_records(study.root)
    words = (
        "Tests that try to break the study: what each of them tried when it was last run in full, and what came of it. "
        "Shorter forms of most run with every `make test`.",
    )
    frame = pd.DataFrame([_row(tried, records.get(name)) for name, tried in LINES.items()])
    machines = list(dict.fromkeys(r["machine"] for r in records.values()))
    made = f"run on {', '.join(machines)}" if machines else "never run here"
    lines = Table("Attempts to break it", frame, f"../{FILE.name}", "make torture", made)
    return Section("trust", "Can it be trusted?", words, (lines,))


def _row(tried: str, record: dict[str, Any] | None) -> dict[str, str]:
    if record is None or record["tried"] != tried:
        earlier = (
            "" if record is None else f"\nof an earlier form of this test, {record['date']}: {_outcome(record, ', ')}"
        )
        words = dict.fromkeys(("How many", "Outcome", "Took", "When"), NOT_RUN)
        return {"What was tried": tried, **words, "Outcome": NOT_RUN + earlier}
    return {
        "What was tried": tried,
        "How many": f"{record['count']:,}",
        "Outcome": _outcome(record, "\n"),
        "Took": f"{record['seconds']:,.0f} s",
        "When": f"{record['date']}\n{told_commit(record['commit'], record['changed'])}",
    }


def _outcome(record: dict[str, Any], between: str) -> str:
    return f"{record['outcome']}{between}{record['found']}"
