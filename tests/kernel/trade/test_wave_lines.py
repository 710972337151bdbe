"""The lines of a wave: each is a candidate, validated, tried or dropped, and stays so."""

from decimal import Decimal

import msgspec

from kernel.model.orders import Side
from kernel.signals.selection import FilterRules
from kernel.trade.wave_lines import Line, Stage, WaveLines
from tests.kernel.trade.wave_bench import SYMBOLS, ranked, signal

ONE, TWO, THREE = SYMBOLS[:3]


class Lines(WaveLines):
    """Lines with what was told of them."""

    def __init__(self, *signals, claims=()):
        self.told: list[tuple[str, str, str]] = []
        super().__init__(
            FilterRules(),
            dict.fromkeys(claims),
            lambda line, detail: self.told.append((line.signal.symbol, line.reason, detail)),
        )
        self.add(signals)
        self.filter()

    def line(self, symbol):
        return next(line for line in self if line.signal.symbol == symbol)

    def next(self, full=()) -> Line:
        """The line that is tried next; there is one."""
        line = self.next_passed(full)
        assert line is not None
        return line

    def waiting(self):
        return [line.signal.symbol for line in self.candidates()]


def without_month(symbol):
    return msgspec.structs.replace(signal(symbol), score_month=None)


def test_a_copy_of_a_signal_is_no_line_and_another_score_is_a_duplicate():
    lines = Lines(*ranked(1), *ranked(1))
    lines.add(ranked(1))
    assert len(lines) == 1
    lines.add([msgspec.structs.replace(ranked(1)[0], score_week=Decimal(3))])
    lines.add([msgspec.structs.replace(ranked(1)[0], score_month=Decimal(70))])
    assert len(lines) == 3
    lines.filter()
    assert lines.told == [(ONE, "duplicate", "")] * 2
    assert lines.waiting() == [ONE]


def test_lines_are_filtered_when_something_was_added_and_only_then():
    lines = Lines()
    assert lines.candidates() == []
    lines.add([signal(ONE, score=-1)])
    assert lines.told == []
    lines.filter()
    lines.line(ONE).stage = Stage.CANDIDATE
    lines.filter()
    assert lines.told == [(ONE, "score_week", "")]
    lines.add([signal(ONE, score=-1)])
    lines.filter()
    assert len(lines.told) == 1, "a copy adds nothing"


def test_candidates_without_a_month_score_are_counted():
    lines = Lines(without_month(ONE), signal(TWO), without_month(THREE))
    assert lines.without_month_score == 2
    assert Lines(signal(ONE)).without_month_score == 0


def test_what_waits_is_dropped_by_a_late_opposite_signal_and_what_was_tried_is_not():
    lines = Lines(*ranked(5))
    for symbol in SYMBOLS[1:5]:
        lines.passes(lines.line(symbol))
    tried = lines.next(), lines.next()
    lines.drop(lines.line(SYMBOLS[3]), "spread", "6 percent")
    lines.add(signal(symbol, side=Side.SELL) for symbol in SYMBOLS[:5])
    lines.filter()
    assert [(line.signal.symbol, line.stage) for line in tried] == [
        (TWO, Stage.TRIED), (THREE, Stage.TRIED),
    ]  # fmt: skip
    conflicts = [symbol for symbol, reason, _ in lines.told if reason == "conflicting_sides"]
    assert conflicts == [ONE, SYMBOLS[4], *SYMBOLS[:5]], "lines that wait, and those that came"
    assert lines.told[0] == (SYMBOLS[3], "spread", "6 percent")
    assert lines.line(SYMBOLS[3]).reason == "spread"


def test_what_was_validated_or_tried_is_no_candidate_again_when_more_arrives():
    lines = Lines(*ranked(2))
    lines.passes(lines.line(ONE))
    lines.passes(lines.line(TWO))
    assert lines.next().signal.symbol == ONE
    lines.add([signal(THREE)])
    lines.filter()
    assert lines.waiting() == [THREE]
    assert [line.signal.symbol for line in lines.waiting_passed()] == [TWO]
    assert lines.told == []


def test_what_was_claimed_is_dropped_unless_it_was_tried_here():
    lines = Lines(*ranked(2), claims=[signal(ONE).once_key])
    assert lines.told == [(ONE, "already_tried", "")]
    assert lines.waiting() == [TWO]


def test_what_became_a_position_before_is_tried_and_kept_on_the_list():
    lines = Lines()
    lines.add(ranked(3))
    lines.mark_tried([signal(TWO).once_key, "of nobody"])
    lines.filter()
    assert [line.stage for line in lines] == [Stage.CANDIDATE, Stage.TRIED, Stage.CANDIDATE]
    assert lines.waiting() == [ONE, THREE]
    assert [one.symbol for one in lines.selected()] == [TWO]


def test_the_list_that_is_kept_has_what_passed_and_what_was_tried():
    lines = Lines(*ranked(5))
    for symbol in SYMBOLS[1:5]:
        lines.passes(lines.line(symbol))
    lines.next_passed()
    lines.next()
    lines.drop(lines.line(SYMBOLS[3]), "spread")
    assert [one.symbol for one in lines.selected()] == [TWO, THREE, SYMBOLS[4]]


def test_the_best_are_of_the_venues_asked_for_and_stay_candidates():
    other = msgspec.structs.replace(signal(TWO, 99), venue="bybit")
    lines = Lines(signal(ONE, 5), other, signal(THREE, 7))
    assert [one.signal.symbol for one in lines.best(2, ("binance",))] == [THREE, ONE]
    assert [one.signal.symbol for one in lines.best(1, ("bybit", "binance"))] == [TWO]
    assert lines.best(3, ()) == []
    assert lines.waiting() == [TWO, THREE, ONE]


def test_a_validated_line_waits_for_its_venue_and_no_other():
    other = msgspec.structs.replace(signal(TWO), venue="bybit")
    lines = Lines(*ranked(1), other)
    for line in lines:
        lines.passes(line)
    assert lines.next(("binance",)).signal.venue == "bybit"
    assert lines.next_passed(("binance",)) is None
    first = lines.next()
    assert (first.signal.symbol, first.stage) == (ONE, Stage.TRIED)


def test_what_was_never_tried_is_dropped_at_the_end_and_counted_by_reason():
    lines = Lines(*ranked(4), signal(SYMBOLS[5], score=-1))
    lines.passes(lines.line(ONE))
    lines.passes(lines.line(TWO))
    lines.next_passed()
    lines.drop_waiting("expired")
    assert lines.told == [(SYMBOLS[5], "score_week", ""), *[
        (symbol, "expired", "") for symbol in SYMBOLS[1:4]
    ]]  # fmt: skip
    assert lines.drop_counts() == {"expired": 3, "score_week": 1}
    assert list(lines.drop_counts()) == ["expired", "score_week"]
    assert lines.line(ONE).stage is Stage.TRIED
