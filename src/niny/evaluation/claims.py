"""claims.yaml: the paper's claims and this study's predictions, each with a rule that judges it.

Verdicts are computed, never typed. A rule that has met records is fixed, be it only to show their number at a scale too
small to judge, and so is one of whose experiments any run is kept: to change it, raise the claim's version. The earlier
version's verdict stays in the records, and the report shows both.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from niny import config
from niny.errors import NinyError
from niny.evaluation.rules import RULES, Results, Rule, Verdict
from niny.strict_yaml import load_yaml


@dataclass(frozen=True)
class Claim:
    """What the paper (or, with origin "niny", this study) says, in our words, and the rule that tests it.

    `formerly` are the words of version 1, of version 2, and so on, up to the one before this.
    """

    id: str
    version: int
    origin: Literal["paper", "niny"]
    place: str
    says: str
    refuted_by: str
    rule: Rule
    formerly: tuple[str, ...] = ()

    def said(self, version: int) -> str:
        """The words of a version."""
        return (*self.formerly, self.says)[version - 1]


def load_claims(path: Path) -> tuple[Claim, ...]:
    """Read claims.yaml; anything unknown, missing, mistyped or doubled is a NinyError naming file, claim and key."""
    raw = load_yaml(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("claims"), list):
        raise NinyError(f"{path.name}: expected one name, claims, with a list of claims")
    if others := [name for name in raw if name != "claims"]:
        raise NinyError(f"{path.name}: unknown name {others[0]!r:.60}; known is claims")
    claims = tuple(_claim(entry, f"{path.name}: claims[{i}]") for i, entry in enumerate(raw["claims"]))
    ids = [claim.id for claim in claims]
    if doubled := [name for name in ids if ids.count(name) > 1]:
        raise NinyError(f"{path.name}: claim id {doubled[0]!r} stands twice: give each claim its own")
    return claims


def _claim(raw: Any, where: str) -> Claim:
    if not isinstance(raw, dict) or "rule" not in raw:
        raise NinyError(f"{where}: expected names with values, rule among them, got {raw!r:.60}")
    where = f"{where} ({raw.get('id')})"
    rest = {key: value for key, value in raw.items() if key != "rule"}
    claim = config.read(Claim, rest, where, rule=_rule(raw["rule"], f"{where}.rule"))
    if len(claim.formerly) != claim.version - 1:
        raise NinyError(f"{where}.formerly: expected the words of every version before {claim.version}")
    return claim


def _rule(raw: Any, where: str) -> Rule:
    kind = raw.get("kind") if isinstance(raw, dict) else raw
    if not isinstance(raw, dict) or not isinstance(kind, str) or kind not in RULES:
        raise NinyError(f"{where}: unknown kind of rule {kind!r:.60}; known are {', '.join(RULES)}")
    try:
        return config.read(RULES[kind], {k: v for k, v in raw.items() if k != "kind"}, where)
    except ValueError as error:  # a rule's own check of its arguments
        raise NinyError(f"{where}.{error}") from None


def judge(claims: Sequence[Claim], results: Results, evidence: bool) -> list[Verdict]:
    """One verdict a claim, in order. Without evidence (a scale too small for the paper) numbers, but no judgement."""
    verdicts = [claim.rule.judge(results) for claim in claims]
    if evidence:
        return verdicts
    because = "this scale is too small to test the paper: the number is shown, not judged"
    return [replace(verdict, status="not tested at this scale", because=because) for verdict in verdicts]


def rule_digest(claim: Claim) -> str:
    """Sixteen hex digits over the kind of rule, its revision, its arguments, and what would refute the claim."""
    kind = next(name for name, rule in RULES.items() if type(claim.rule) is rule)
    fixed = [kind, claim.rule.revision, vars(claim.rule), claim.refuted_by]
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]


def to_records(
    claims: Sequence[Claim],
    verdicts: Sequence[Verdict],
    earlier: Sequence[dict[str, Any]],
    kept: Collection[str] = (),
) -> list[Any]:
    """What tables/claims.json keeps: verdicts with id, version and digest, earlier versions that met records after.

    `kept` names experiments of which runs are kept, whatever the scale. Raises NinyError where a rule has changed under
    a verdict of the same version.
    """
    check_unchanged(claims, earlier, kept)
    records = []
    for claim, verdict in zip(claims, verdicts, strict=True):
        of_claim = [old for old in earlier if old["id"] == claim.id and _met(old, claim, kept)]
        met = verdict.n > 0 or _is_run(claim, kept) or any(old["version"] == claim.version for old in of_claim)
        entry = {"id": claim.id, "version": claim.version, "digest": rule_digest(claim), "met": met}
        records.append(entry | dataclasses.asdict(verdict))
        records += [old for old in of_claim if old["version"] < claim.version]
    return records


def _met(record: dict[str, Any], claim: Claim | None, kept: Collection[str]) -> bool:
    """Has the rule ever met runs? Those that a verdict was of may be gone since, and others have come."""
    return bool(record.get("met", record["n"] > 0)) or (claim is not None and _is_run(claim, kept))


def _is_run(claim: Claim, kept: Collection[str]) -> bool:
    return not set(kept).isdisjoint(claim.rule.experiments)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a tables/claims.json; none where there is no such file."""
    if not path.is_file():
        return []
    damaged = NinyError(f"{path} is damaged: restore it from git, for it holds which rules have met runs")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise damaged from None
    if not isinstance(records, list) or not all(map(_is_record, records)):
        raise damaged
    return records


def _is_record(raw: Any) -> bool:
    types = {"id": str, "version": int, "digest": str, "status": str, "n": int}
    return isinstance(raw, dict) and all(type(raw.get(name)) is kind for name, kind in types.items())


def check_unchanged(claims: Sequence[Claim], records: Sequence[dict[str, Any]], kept: Collection[str] = ()) -> None:
    """Raises NinyError if a claim that has met records is gone, or its rule differs though its version does not.

    A record need not know yet of runs that were made since: those of the experiments in `kept` count, too.
    """
    known = {claim.id: claim for claim in claims}
    for record in records:
        name, version = record["id"], record["version"]
        if not _met(record, known.get(name), kept):
            continue
        if name not in known or known[name].version < version:
            raise NinyError(f"claims.yaml: version {version} of claim {name!r} has met records and is gone: restore it")
        if known[name].version == version and rule_digest(known[name]) != record["digest"]:
            raise NinyError(f"claims.yaml: claim {name!r} met records before its rule changed: raise its version")
