"""A run's verdicts as JUnit XML: a test for its validity, one for each objective or for a search's answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from swarm.report.numbers import plain

_ALLOWED = "\t\n\r"


def junit(summaries: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return one suite for each run, by the name that it is to have."""
    root = Element("testsuites")
    for name, summary in summaries.items():
        suite = SubElement(root, "testsuite", name=_text(name), time=str(summary["duration_s"]))
        cases = [_validity(suite, summary), *_objectives(suite, summary)]
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
        suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
        suite.set("errors", "0")
        notes = [_text(note) for note in summary.get("notes", ())]
        if notes:
            SubElement(suite, "system-out").text = "\n".join(notes)
    indent(root)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _validity(suite: Element, summary: Mapping[str, Any]) -> Element:
    case = SubElement(suite, "testcase", classname="swarm", name="valid")
    if not summary["valid"]:
        reasons = [_text(reason) for reason in summary["invalid_reasons"]]
        SubElement(case, "failure", message="; ".join(reasons), type="invalid").text = "\n".join(reasons)
    return case


def _objectives(suite: Element, summary: Mapping[str, Any]) -> list[Element]:
    capacity = summary.get("capacity")
    if capacity is not None:
        return [_answer(suite, capacity)]
    cases = []
    for objective in summary["slo"]["objectives"]:
        case = SubElement(suite, "testcase", classname="swarm.slo", name=_text(objective["name"]))
        found, target = _shown(objective["value"]), _shown(objective["target"])
        if objective["met"] is None:
            SubElement(case, "skipped", message="no request says: it is not known")
        elif not objective["met"]:
            words = f"{objective['name']} is {found}, the target is {target}"
            share = objective.get("good_share")
            more = "" if share is None else f"; {100 * share:.1f} % of all requests are within it"
            SubElement(case, "failure", message=_text(words + more), type="slo")
        cases.append(case)
    return cases


def _answer(suite: Element, capacity: Mapping[str, Any]) -> Element:
    case = SubElement(suite, "testcase", classname="swarm.capacity", name="agents")
    low, high = capacity["agents_low"], capacity["agents_high"]
    SubElement(case, "system-out").text = f"{low} to {high} agents, bound by {capacity['bound_by']}"
    if not low:
        SubElement(case, "failure", message="no level passed", type="slo")
    return case


def _shown(value: float | None) -> str:
    return "unknown" if value is None else plain(value)


def _text(value: object) -> str:
    """Return words without the characters that XML 1.0 has no way to write."""
    return "".join(
        sign
        if sign in _ALLOWED
        or (sign >= " " and not "\ud800" <= sign <= "\udfff" and sign < "\ufffe")
        or sign > "\uffff"
        else "?"
        for sign in str(value)
    )
