"""The house rules that no off-the-shelf tool checks.

Each rule has two tests: the repository keeps it, and a planted violation is found. The rules are
in `tests/conventions/`; docs/development.md says why each of them exists.
"""

from collections.abc import Callable
from textwrap import dedent

import pytest

from tests.conventions import asserting, order, purity, shape, tree, words

Check = Callable[[tree.Module], list[str]]

PURE_CHECKS: tuple[Check, ...] = (
    order.sets,
    order.set_iteration,
    order.folder_order,
    order.addresses,
    purity.foreign_imports,
    purity.hidden_order,
    purity.shared_state,
)
CODE_CHECKS: tuple[Check, ...] = (
    shape.long_module,
    shape.long_functions,
    shape.code_in_init,
)
TEXT_CHECKS = (words.unfinished, words.machine_paths, words.registries, words.broken_links)


def planted(source: str, path: str = "kernel/planted.py") -> tree.Module:
    """A module that is not in the repository."""
    return tree.Module(path, dedent(source))


def listed(violations: list[str]) -> str:
    """The violations as the message of a failed assertion."""
    return "\n" + "\n".join(violations)


# ------------------------------------------------------------------------ the repository


@pytest.mark.parametrize("check", PURE_CHECKS, ids=lambda check: check.__name__)
def test_the_pure_part_keeps(check: Check) -> None:
    violations = [line for module in tree.pure_modules() for line in check(module)]
    assert not violations, listed(violations)


@pytest.mark.parametrize("check", CODE_CHECKS, ids=lambda check: check.__name__)
def test_the_code_keeps(check: Check) -> None:
    code = tree.modules("kernel/", "venues/", "replay/", "scenarios/", "run_", "tests/", ".ci/")
    violations = [line for module in code for line in check(module)]
    assert not violations, listed(violations)


@pytest.mark.parametrize("check", TEXT_CHECKS, ids=lambda check: check.__name__)
def test_the_files_keep(check: Callable[[str, str], list[str]]) -> None:
    violations = [line for path in tree.tracked_files() for line in check(path, words.text(path))]
    assert not violations, listed(violations)


def test_every_test_asserts_something() -> None:
    tests = [module for module in tree.modules("tests/") if "/test_" in module.path]
    violations = [line for module in tests for line in asserting.silent_tests(module)]
    assert not violations, listed(violations)
    assert tests


def test_the_three_lists_of_impure_modules_agree() -> None:
    settings = tree.project_settings()["tool"]
    assert isinstance(settings, dict)
    impure = tree.impure()
    excused = settings["ruff"]["lint"]["per-file-ignores"]
    excused_paths = [path for path, rules in excused.items() if rules == ["TID251"]]
    contracts = settings["importlinter"]["contracts"]
    (pure,) = [contract for contract in contracts if contract["id"] == "pure"]
    assert excused_paths == list(impure)
    dotted = [path.removesuffix(".py").replace("/", ".") for path in impure]
    dates = ["replay.* -> datetime"]
    assert pure["ignore_imports"] == [f"{name} -> *" for name in dotted] + dates


# ------------------------------------------------------------------------ planted violations


@pytest.mark.parametrize(
    "source",
    [
        "open_ids = {1, 2}",
        "open_ids = {name for name in names}",
        "open_ids = set(names)",
        "open_ids = frozenset(names)",
        "def f(names: set[str]) -> None: ...",
        "open_ids: frozenset[str] = load()",
        "from collections.abc import Set",
        "left = before.keys() - after.keys()",
        "both = first.union(second)",
        "open_ids = set(names)  # det-ok:",
    ],
)
def test_a_set_is_found(source: str) -> None:
    assert order.sets(planted(source))


@pytest.mark.parametrize(
    "source",
    [
        "seen = set(names)  # det-ok: membership only",
        "def f(seen: set[str]) -> bool: ...  # det-ok: membership only",
        "bits = flags | other",
        "merged = first | second",
        "dictionary = {'a': 1}",
        "settings = load_set(names)",
    ],
)
def test_what_is_no_set_or_is_excused_passes(source: str) -> None:
    assert order.sets(planted(source)) == []


@pytest.mark.parametrize(
    "use",
    [
        "for name in seen: trade(name)",
        "rows = [name for name in seen]",
        "rows = list(seen)",
        "first = next(iter(seen))",
        "first = seen.pop()",
        "trade(*seen)",
        "text = ','.join(seen)",
        "rows = dict.fromkeys(seen)",
        "for name in {'a', 'b'}: trade(name)",
    ],
)
def test_iteration_over_an_excused_set_is_found(use: str) -> None:
    module = planted(f"seen: set[str] = set()  # det-ok: membership only\n{use}")
    assert order.set_iteration(module)


@pytest.mark.parametrize(
    "use", ["found = name in seen", "for name in sorted(seen): trade(name)", "count = len(seen)"]
)
def test_a_use_in_which_the_order_does_not_show_passes(use: str) -> None:
    module = planted(f"seen: set[str] = set()  # det-ok: membership only\n{use}")
    assert order.set_iteration(module) == []


def test_iteration_over_a_set_attribute_is_found() -> None:
    module = planted(
        """
        class Book:
            def __init__(self):
                self._seen = set()  # det-ok: membership only

            def names(self):
                return [name for name in self._seen]
        """
    )
    assert order.set_iteration(module)


def test_an_unsorted_folder_is_found_and_a_sorted_one_passes() -> None:
    assert order.folder_order(planted("for path in folder.glob('*.yaml'): load(path)"))
    assert order.folder_order(planted("paths = list(folder.iterdir())"))
    assert order.folder_order(planted("paths = sorted(folder.glob('*.yaml'))")) == []
    assert order.folder_order(planted("paths = sorted(p for p in folder.iterdir())")) == []


def test_hash_and_id_are_found() -> None:
    assert order.addresses(planted("bucket = hash(symbol) % 8"))
    assert order.addresses(planted("tasks.sort(key=lambda task: id(task))"))
    assert order.addresses(planted("def f(id: str) -> str: return id")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import asyncio",
        "from threading import Lock",
        "import concurrent.futures",
        "def f():\n    import contextvars",
        "from uuid import uuid4",
    ],
)
def test_a_foreign_import_is_found(source: str) -> None:
    assert purity.foreign_imports(planted(source))


def test_a_module_of_our_own_passes_as_an_import() -> None:
    assert purity.foreign_imports(planted("from kernel.runtime import timers")) == []


def test_an_async_generator_is_found() -> None:
    assert purity.hidden_order(planted("async def f():\n    yield 1"))
    assert purity.hidden_order(planted("rows = (row async for row in stream)"))
    assert purity.hidden_order(planted("async def f():\n    def g():\n        yield 1")) == []


def test_a_finaliser_is_found() -> None:
    assert purity.hidden_order(planted("class A:\n    def __del__(self): ..."))


@pytest.mark.parametrize(
    "source",
    [
        "cache = {}",
        "_seen: list[str] = []",
        "NUMBERS = itertools.count()",
        "BY_NAME = defaultdict(list)",
        "CODES = {}\ndef f(code):\n    CODES[code] = 1",
        "CODES = []\ndef f(code):\n    CODES.append(code)",
        "total = 0\ndef f():\n    global total\n    total += 1",
        "@lru_cache(maxsize=8)\ndef f(x): ...",
        "@functools.cache\ndef f(x): ...",
    ],
)
def test_module_state_is_found(source: str) -> None:
    assert purity.shared_state(planted(source))


@pytest.mark.parametrize(
    "source",
    [
        "CODES = {-2021: 'WouldTriggerNow'}",
        "_ROWS: dict[str, int] = {'a': 1}",
        "__all__ = ['Order']",
        "def f():\n    rows = []\n    rows.append(1)\n    return rows",
        "ZERO = Decimal(0)",
        "POWERS = np.array([1, 10, 100])",
    ],
)
def test_a_constant_passes(source: str) -> None:
    assert purity.shared_state(planted(source)) == []


def test_a_long_module_is_found() -> None:
    assert shape.long_module(planted("x = 1\n" * 601))
    assert shape.long_module(planted("x = 1\n" * 600)) == []


def test_a_long_function_is_found_and_its_docstring_is_not_counted() -> None:
    body = "    x = 1\n"
    docstring = '    """One.\n' + "    Two.\n" * 40 + '    """\n'
    assert shape.long_functions(planted("def f():\n" + body * 70))
    assert shape.long_functions(planted("def f():\n" + body * 69)) == []
    assert shape.long_functions(planted("def f():\n" + docstring + body * 69)) == []


def test_code_in_init_is_found() -> None:
    path = "kernel/planted/__init__.py"
    assert shape.code_in_init(planted('"""Text."""\nimport kernel', path))
    assert shape.code_in_init(planted("", path))
    assert shape.code_in_init(planted('"""Text."""\nfrom kernel.other import x', path))
    assert shape.code_in_init(planted('"""Text."""', path)) == []


def test_a_package_may_name_what_its_modules_hold() -> None:
    exports = '"""Text."""\nfrom kernel.planted.a import A\n\n__all__ = ["A"]'
    assert shape.code_in_init(planted(exports, "kernel/planted/__init__.py")) == []


@pytest.mark.parametrize("word", ["TODO", "FIXME", "NotImplementedError"])
def test_unfinished_work_is_found_outside_tests(word: str) -> None:
    assert words.unfinished("kernel/planted.py", f"# {word}: later")
    assert words.unfinished("tests/test_planted.py", f"# {word}: later") == []


@pytest.mark.parametrize("folder", ["work", "root", "tmp", "farm", "home", "Users"])
def test_a_machine_path_is_found(folder: str) -> None:
    assert words.machine_paths("docs/planted.md", f"see /{folder}/data for more")
    assert words.machine_paths("docs/planted.md", f"open('/{folder}/x.csv')")
    assert words.machine_paths("docs/planted.md", f"docs/{folder}/page") == []
    assert words.machine_paths("docs/planted.md", f"https://host.example/{folder}/page") == []


def test_a_registry_is_found() -> None:
    assert words.registries("requirements.lock", "--index" "-url https://host.example")
    assert words.registries("README.md", "see pypi" ".org/project/x")
    assert words.registries("Makefile", "uv pip compile --no-emit-index" "-url") == []


def test_a_broken_link_is_found() -> None:
    assert words.broken_links("docs/planted.md", "see [this](absent.md#part)")
    assert words.broken_links("docs/planted.md", "see [this](../README.md#tour)") == []
    assert words.broken_links("docs/planted.md", "see [this](https://host.example/x)") == []


@pytest.mark.parametrize(
    "body", ["run()", "assert True", "assert (value, 'message')", "x = 1", "value.assertive = 1"]
)
def test_a_test_that_asserts_nothing_is_found(body: str) -> None:
    assert asserting.silent_tests(planted(f"def test_rule():\n    {body}"))


@pytest.mark.parametrize(
    "source",
    [
        "def test_rule():\n    assert run() == 1",
        "def test_rule():\n    with pytest.raises(ValueError): run()",
        "def test_rule():\n    check_flat(run())",
        "def holds(x):\n    assert x\ndef twice(x):\n    holds(x)\ndef test_rule():\n    twice(1)",
    ],
)
def test_a_test_that_asserts_passes(source: str) -> None:
    assert asserting.silent_tests(planted(source)) == []
