"""Results as a JUnit file, for whatever shows test results."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from scenarios.results import ERROR, FAILED, Result
from scenarios.runner import reproduce


def junit_tree(results: list[Result], commit: str) -> ElementTree:
    """One test case a run; what differs from the expectation is the text of the failure."""
    suite = Element(
        "testsuite",
        name="scenarios",
        tests=str(len(results)),
        failures=str(sum(1 for result in results if result.status == FAILED)),
        errors=str(sum(1 for result in results if result.status == ERROR)),
    )
    for result in results:
        case = SubElement(
            suite,
            "testcase",
            classname=result.name.partition("/")[0],
            name=f"{result.name} [{result.venue} {result.level} seed {result.seed}]",
        )
        if result.problems:
            kind = "error" if result.status == ERROR else "failure"
            told = SubElement(case, kind, message=result.problems[0])
            told.text = "\n".join([*result.problems, reproduce(result, commit)])
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    return ElementTree(root)
