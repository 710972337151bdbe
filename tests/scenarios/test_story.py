"""What is told of a run that failed."""

from replay.timeline import Fact
from scenarios.story import FACTS, story_of
from scenarios.violations import Violation


def fact(ts_ns, what="stop set", **more):
    return Fact(ts_ns=ts_ns, what=what, **({"venue": "binance", "symbol": "AAAUSDT"} | more))


def broken(ts_ns=100, venue="binance", symbol="AAAUSDT"):
    return Violation(invariant="I1", ts_ns=ts_ns, venue=venue, symbol=symbol, text="naked")


def missing(ts_ns):
    return fact(ts_ns, "ALERT wave.missing", venue="", symbol="", kind="alert.wave.missing")


def told(facts, problems=(), first=None):
    return [one.ts_ns for one in story_of(facts, problems, first)]


def test_waves_that_nobody_sent_are_told_only_where_a_problem_speaks_of_waves():
    facts = [fact(1), missing(2), missing(3)]
    assert told(facts) == [1]
    assert told(facts, ["signal dropped: wave 12:00 expected"]) == [1, 2]


def test_what_the_broken_invariant_is_not_about_is_left_out():
    facts = [
        fact(1),
        fact(2, symbol="BBBUSDT"),
        fact(3, venue="bybit"),
        fact(4, "stream down", symbol=""),
        fact(5, "the kernel dies", venue="", symbol=""),
        fact(101, "too late"),
    ]
    assert told(facts, first=broken()) == [1, 4, 5]
    assert told(facts, first=broken(symbol="", venue="")) == [1, 2, 3, 4, 5]
    assert told(facts) == [1, 2, 3, 4, 5, 101]


def test_what_is_told_again_and_again_on_a_place_is_told_once_with_how_often():
    facts = [fact(n, "resync failed", symbol="", why="-1102") for n in range(1, 40)]
    facts.insert(20, fact(20, "stop set"))
    one, other = story_of(facts, (), None)
    assert (one.ts_ns, one.values) == (1, {"again": "38 times until 00:00:00.000"})
    assert (other.ts_ns, other.values) == (20, {})


def test_another_value_is_another_fact():
    facts = [fact(1, values={"qty": "1"}), fact(2, values={"qty": "2"}), fact(3, why="x")]
    assert told(facts) == [1, 2, 3]


def test_the_last_ones_are_told():
    facts = [fact(n, values={"n": str(n)}) for n in range(100)]
    assert told(facts) == list(range(100 - FACTS, 100))
