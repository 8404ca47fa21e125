"""Error rates, statistics and verdicts: what was measured, held against what the paper says."""
