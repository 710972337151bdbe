"""Who has the lease of an account: the rule, the same for every store (SPEC §11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kernel.errors import LeaseHeld


class Holding(NamedTuple):
    """The lease of one account; times are the store's."""

    instance: str
    epoch: int
    until_ns: int


class LeaseAsk(NamedTuple):
    """Who asks for the lease of which accounts. `epoch` 0: a start, which takes a new one."""

    instance: str
    accounts: tuple[str, ...]
    epoch: int
    term_ns: int
    wait_ns: int


def may_have(held: Holding | None, ask: LeaseAsk, now_ns: int) -> bool:
    """Whether the lease of one account is given.

    An instance gets its own back at once, unless a later run of it has it. That of another one is
    free `wait_ns` after its end, for a start only: a run that lost it knows not what came since.
    """
    if held is None:
        return True
    if held.instance == ask.instance:
        return not ask.epoch or ask.epoch >= held.epoch
    return not ask.epoch and now_ns >= held.until_ns + ask.wait_ns


def taken_over(holdings: Mapping[str, Holding], ask: LeaseAsk, now_ns: int) -> str:
    """The other instance whose lease a request takes over; "": there was none.

    Args:
        holdings: By account, those of the accounts at least.
        ask: For all of its accounts, or for none.
        now_ns: By the clock of the store.

    Raises:
        LeaseHeld: It is not given.
    """
    others = ""
    for account in ask.accounts:
        held = holdings.get(account)
        if held is not None and not may_have(held, ask, now_ns):
            raise LeaseHeld(held.instance)
        if held is not None and held.instance != ask.instance:
            others = held.instance
    return others
