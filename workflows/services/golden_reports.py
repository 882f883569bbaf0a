"""Reports of comparisons of golden runs: text, JSON, and JUnit for CI."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from workflows.infra.text import clean
from workflows.models import GoldenOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.services.golden_rerun import Comparison

FORMATS = ("text", "json", "junit")


def report(found: Sequence[Comparison], kind: str) -> str:
    """Return the report in one of FORMATS."""
    return {"text": _text, "json": _json, "junit": _junit}[kind](found)


def are_all_same(found: Sequence[Comparison]) -> bool:
    """Return whether every golden run was repeated."""
    return all(one.outcome == GoldenOutcome.SAME for one in found)


def _text(found: Sequence[Comparison]) -> str:
    lines = []
    for one in found:
        lines.append(f"{one.outcome.label}: {_name(one)}")
        lines += [f"  {difference.text}" for difference in one.differences]
        if one.message:
            lines.append(f"  {one.message}")
    counts = Counter(one.outcome for one in found)
    lines.append(
        ", ".join(f"{counts[kind]} {kind.label.lower()}" for kind in GoldenOutcome)
    )
    return "\n".join(lines)


def _name(one: Comparison) -> str:
    """Return workflow, run, dataset and profile in one line."""
    golden = one.golden
    profile = f", profile {one.profile}" if one.profile else ""
    return f"{golden.workflow_name} {golden.run_id} ({golden.dataset}{profile})"


def _json(found: Sequence[Comparison]) -> str:
    return json.dumps({"golden_runs": [_row(one) for one in found]}, indent=2)


def _row(one: Comparison) -> dict[str, Any]:
    return {
        "workflow": one.golden.workflow_name,
        "run": str(one.golden.run_id),
        "dataset": one.golden.dataset,
        "profile": one.profile,
        "answers": one.answers.value,
        "outcome": one.outcome.value,
        "message": one.message,
        "differences": [
            {**difference.as_json, "text": difference.text}
            for difference in one.differences
        ],
        "fingerprint": one.fingerprint,
        "seconds": round(one.seconds, 3),
    }


def _junit(found: Sequence[Comparison]) -> str:
    counts = Counter(one.outcome for one in found)
    suite = ET.Element(
        "testsuite",
        name="golden runs",
        tests=str(len(found)),
        failures=str(counts[GoldenOutcome.DIFFERENT]),
        errors=str(counts[GoldenOutcome.UNKNOWN]),
        time=f"{sum(one.seconds for one in found):.3f}",
    )
    for one in found:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"{one.golden.workflow_name}.{one.golden.dataset}",
            name=f"{one.golden.run_id} {one.profile}".strip(),
            time=f"{one.seconds:.3f}",
        )
        if one.outcome == GoldenOutcome.DIFFERENT:
            texts = [clean(difference.text) for difference in one.differences]
            failure = ET.SubElement(case, "failure", message=texts[0])
            failure.text = "\n".join(texts)
        elif one.outcome == GoldenOutcome.UNKNOWN:
            ET.SubElement(case, "error", message=clean(one.message))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)
