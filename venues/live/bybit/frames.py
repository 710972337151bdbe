"""Bybit: data frames of the private stream as venue-neutral events.

A frame carries several rows; topics are pipelines of their own, in no order among each other.
Source: venue-bybit §6.2, §7.
"""

from __future__ import annotations

import msgspec

from kernel.model.orders import FillKind
from kernel.model.units import TsNs
from kernel.model.venue import VenueEvent, VenueNotice
from venues.live.bybit.codec import Codec
from venues.live.bybit.rows import ExecutionRow, OrderRow, PositionRow, WalletRow
from venues.live.wire import BAD_ROW, bad_row, clip, millis

TOPICS = ("order", "execution", "position", "wallet")
_LINEAR = "linear"


class Frame(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A data frame (`topic`) or an answer to a frame of ours (`op`).

    Answers say `success` and `ret_msg` or `retCode` and `retMsg`, by endpoint and age.
    """

    topic: str = ""
    creation_time: int = 0
    data: msgspec.Raw = msgspec.Raw()
    op: str = ""
    success: bool | None = None
    ret_code: int | None = None
    ret_msg: str = ""
    old_ret_msg: str = msgspec.field(name="ret_msg", default="")
    req_id: str | None = msgspec.field(name="req_id", default="")

    @property
    def accepted(self) -> bool:
        """What we asked for was granted."""
        return self.success is not False and self.ret_code in (None, 0)

    @property
    def words(self) -> str:
        """What the venue says of it."""
        code = "" if self.ret_code in (None, 0) else f"{self.ret_code} "
        return f"{code}{self.ret_msg or self.old_ret_msg}".strip()


_rows = msgspec.json.Decoder(list[msgspec.Raw])
_order = msgspec.json.Decoder(OrderRow)
_execution = msgspec.json.Decoder(ExecutionRow)
_position = msgspec.json.Decoder(PositionRow)
_wallet = msgspec.json.Decoder(WalletRow)
frame_decoder = msgspec.json.Decoder(Frame)


def read(frame: Frame, codec: Codec) -> list[VenueEvent]:
    """What a data frame says, row by row; a bad row costs nobody but itself.

    Raises:
        MsgspecError: It has no list of rows.
    """
    topic = frame.topic.partition(".")[0]
    if topic not in TOPICS:
        return [VenueNotice(kind="unknown_event", raw=clip(frame.topic.encode()))]
    made: list[VenueEvent] = []
    for raw in _rows.decode(frame.data):
        try:
            made += _read_row(topic, raw, codec, millis(frame.creation_time))
        except BAD_ROW:
            made.append(bad_row(bytes(raw)).notice())
    return made


def _read_row(topic: str, raw: msgspec.Raw, codec: Codec, ts_ns: TsNs) -> list[VenueEvent]:
    match topic:
        case "order":
            order = _order.decode(raw)
            if order.category != _LINEAR:
                return []
            report = order.report()
            codec.sources.seen(report)
            return [report]
        case "execution":
            execution = _execution.decode(raw)
            if execution.category != _LINEAR:
                return []
            fill = execution.fill()
            if fill.kind is FillKind.UNKNOWN:
                notice = VenueNotice(kind="unknown_event", symbol=fill.symbol, raw=clip(bytes(raw)))
                return [fill, notice]
            return [fill]
        case "position":
            position = _position.decode(raw)
            return [position.report(codec.sources)] if position.category == _LINEAR else []
        case _:
            balance = _wallet.decode(raw).report(ts_ns, isolated=codec.isolated)
            return [] if balance is None else [balance]
