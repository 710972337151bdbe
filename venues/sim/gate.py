"""The gate: everything that can happen to a request between its arrival and its answer.

Order: lost on the way in; over a budget; refused by overload; refused by script; answered with a
code that says nothing; executed, and the answer lost or late.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kernel.model.venue import VenueReply, VenueRequest
from venues.sim.agenda import Agenda
from venues.sim.codes import CodeTable
from venues.sim.fault_kinds import (
    AckDelay,
    AckDrop,
    Overload,
    Reject,
    RequestDrop,
    Throttle,
    UnknownCode,
)
from venues.sim.faults import FaultBook, Message, kind_of, message_of
from venues.sim.occurrences import Occurrences
from venues.sim.quota import Quota

_FAULTS = (AckDelay, AckDrop, Overload, Reject, RequestDrop, Throttle, UnknownCode)
_ORDERS = ("submit", "place_stop", "position_stop", "cancel")


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What comes back: nothing (None), or a reply that is `delay_ns` late."""

    reply: VenueReply | None
    delay_ns: int = 0


type Execute = Callable[[VenueRequest, Reject | None], VenueReply]
"""Executes a request; with a `Reject` the order is taken first and refused later."""


class Gate:
    """The way in and out of one venue.

    Args:
        agenda: For the present instant.
        faults: Of this venue.
        codes: The venue's code table.
        quota: The venue's budgets.
        execute: Does what is asked.
    """

    def __init__(
        self,
        agenda: Agenda,
        faults: FaultBook,
        codes: CodeTable,
        *,
        quota: Quota,
        throttle_code: str,
        execute: Execute,
    ) -> None:
        self._agenda = agenda
        self._faults = faults
        self._codes = codes
        self._quota = quota
        self._throttle_code = throttle_code
        self._execute = execute
        self._faulty: dict[str, bool] = {}
        """By kind of request: whether a fault may meet it at all."""
        self._seen = Occurrences()

    def answer(self, request: VenueRequest) -> Answer:
        """Let a request through to the venue, and its answer back."""
        kind = kind_of(request)
        excess = self._quota.take(kind, self._agenda.now_ns)
        faulty = self._faulty.get(kind)
        if faulty is None:
            faulty = self._faulty[kind] = self._faults.concern(kind, *_FAULTS)
        if not faulty:
            if excess is None:
                return Answer(self._execute(request, None))
            return Answer(
                self._codes.reply(
                    excess.code, excess.text,
                    retry_at_ns=excess.retry_at_ns, banned=excess.banned,
                )
            )  # fmt: skip
        now = self._agenda.now_ns
        message = message_of(request)
        if self._faults.first(RequestDrop, message, now) is not None:
            return Answer(None)
        late = sum(fault.dt_ns for fault in self._faults.every(AckDelay, message, now))
        if excess is not None:
            reply: VenueReply = self._codes.reply(
                excess.code, excess.text, retry_at_ns=excess.retry_at_ns, banned=excess.banned
            )
            return Answer(reply, late)
        return self._answer_with_faults(request, message, late)

    def _answer_with_faults(self, request: VenueRequest, message: Message, late: int) -> Answer:
        faults, codes, now = self._faults, self._codes, self._agenda.now_ns
        throttle = faults.first(Throttle, message, now)
        if throttle is not None:
            return Answer(
                codes.reply(
                    throttle.code or self._throttle_code,
                    "too many requests",
                    retry_at_ns=now + throttle.retry_ns,
                    banned=throttle.banned,
                ),
                late,
            )
        refused = self._overloaded(request, message)
        if refused is not None:
            return Answer(refused, late)
        reject = faults.first(Reject, message, now)
        if reject is not None and reject.after_ns < 0:
            return Answer(codes.reply(reject.code, reject.text), late)
        vague = faults.first(UnknownCode, message, now)
        if vague is not None:
            applied = vague.applied
            if applied is None:
                applied = self._toss(f"unknown/{message.kind}/{message.entity}", 500_000)
            if applied:
                self._execute(request, reject)
            return Answer(codes.reply(vague.code, vague.text), late)
        dropped = faults.first(AckDrop, message, now)
        if dropped is not None:
            if dropped.applied:
                self._execute(request, reject)
            return Answer(None)
        return Answer(self._execute(request, reject), late)

    def _overloaded(self, request: VenueRequest, message: Message) -> VenueReply | None:
        if message.kind not in _ORDERS:
            return None
        fault = self._faults.first(Overload, message, self._agenda.now_ns)
        if fault is None or (fault.spare_closing and message.reduce_only):
            return None
        stem = f"overload/{message.kind}/{message.entity}"
        if not self._toss(stem, fault.refuse_ppm):
            return None
        if self._toss(f"{stem}/applied", fault.applied_ppm):
            self._execute(request, None)
        return self._codes.reply(fault.code, fault.text)

    def _toss(self, label: str, ppm: int) -> bool:
        return self._faults.chance(label, self._seen.next(label), ppm)
