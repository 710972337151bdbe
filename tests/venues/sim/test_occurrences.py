"""The n of a draw: counted per key, in bounded memory."""

from venues.sim import occurrences
from venues.sim.occurrences import Occurrences


def test_each_key_has_its_own_count() -> None:
    seen = Occurrences()
    assert [seen.next(key) for key in ("a", "b", "a", "a", "b")] == [0, 0, 1, 2, 1]


def test_what_has_not_come_for_long_is_forgotten(monkeypatch) -> None:
    monkeypatch.setattr(occurrences, "KEPT", 2)
    seen = Occurrences()
    assert [seen.next(key) for key in ("a", "b", "a", "c", "a", "b")] == [0, 0, 1, 0, 2, 0]
