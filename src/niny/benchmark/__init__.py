"""`niny bench`: the engine beside the loop that most public code has and beside what the machine can do at most."""

from niny.benchmark.bench import Amount, measure
from niny.benchmark.results import keep, kept, table

__all__ = ["Amount", "keep", "kept", "measure", "table"]
