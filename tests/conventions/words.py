"""Words that must not be in the repository."""

import re

from tests.conventions.tree import ROOT

# Each pattern has a class of one letter in it, so that this file does not find itself.
_UNFINISHED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|NotImplementedErro[r])\b")
_MACHINE_PATH = re.compile(
    r"(?<![\w.$}~:/>-])/(?:(?:work|root|tmp|home|Users)/[\w.*-]|far[m]\b)"
)
_REGISTRY = re.compile(
    r"index[-]url|find[-]links|trusted[-]host|pythonhosted[.]org|pypi[.]org|/simple/?\s*$"
)
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
_LOCK_FLAG = "--no-emit-" + "index" + "-url"


def text(path: str) -> str:
    """The text of the tracked file at *path*; empty where it is not text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def unfinished(path: str, content: str) -> list[str]:
    """Marks of unfinished work in code, settings and scripts."""
    if path.startswith("tests/") or path.endswith((".md", ".lock")):
        return []
    return _report(path, content, _UNFINISHED, "finish it or leave it out")


def machine_paths(path: str, content: str) -> list[str]:
    """Absolute paths of somebody's machine."""
    return _report(path, content, _MACHINE_PATH, "a path of one machine: make it relative")


def registries(path: str, content: str) -> list[str]:
    """Hosts and options of package registries: which one is used is the installer's setting."""
    return _report(path, content.replace(_LOCK_FLAG, ""), _REGISTRY, "names a package registry")


def broken_links(path: str, content: str) -> list[str]:
    """Links of a page to files that are not there."""
    if not path.endswith(".md"):
        return []
    folder = (ROOT / path).parent
    return [
        f"{path}: '{target}': there is no such file"
        for target in _LINK.findall(content)
        if not (folder / target).exists()
    ]


def _report(path: str, content: str, pattern: re.Pattern[str], advice: str) -> list[str]:
    return [
        f"{path}:{number}: '{found.group().strip()}': {advice}"
        for number, line in enumerate(content.splitlines(), start=1)
        for found in pattern.finditer(line)
    ]
