"""What is durable when the process or the server dies in a call, at each point of it."""

import pytest

from kernel.store.scratch import make_database
from tests.kernel.store.crash_matrix import Case, Outcome, all_cases, run_case, table

SERVER_DIES = [("entry", "server stopped"), ("load", "server stopped"), ("commit", "server killed")]
CASES = [
    case
    for case in all_cases()
    if case.death == "process" or (case.call, case.death) in SERVER_DIES
]


@pytest.mark.parametrize("death", ["process", "server stopped", "server killed"])
def test_a_death_loses_nothing_beyond_what_the_port_allows(postgres, death):
    address = make_database(postgres, "matrix")
    cases = [case for case in CASES if case.death == death]
    outcomes = [run_case(case, postgres, address) for case in cases]
    assert len(outcomes) >= 6
    assert all(one.allowed for one in outcomes), table(outcomes)
    assert {one.found for one in outcomes} == {"all", "nothing"}


def test_the_matrix_finds_a_loss():
    lost = Outcome(Case("commit", "returned", "process"), "nothing", returned=True)
    torn = Outcome(Case("entry", "committing", "process"), "part", returned=False)
    early = Outcome(Case("entry", "written", "process"), "all", returned=False)
    assert not any(one.allowed for one in (lost, torn, early))
    assert "1 deaths, 1 with a loss" in table([lost])
