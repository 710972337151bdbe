"""The scenario file: the world of a run, what happens in it, and what must come of it.

Every model refuses unknown names. A duration is text such as "1m30s" or a number of seconds; its
value is nanoseconds. Numbers are exact decimals. Times of a timeline, of faults and of price paths
count from `start`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from kernel.model.units import MINUTE, SECOND, ZERO
from kernel.signals.timestamps import parse_utc
from scenarios.durations import exact, parse_duration

VENUES = ("binance", "bybit")
INVARIANTS = tuple(f"I{n}" for n in (*range(1, 13), *range(15, 22)))


def _utc(value: object) -> object:
    return parse_utc(value) if isinstance(value, str) else value


def _texts(value: object) -> object:
    """One text where a list of texts is allowed; numbers become text."""
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        return (str(value),)
    return value


Duration = Annotated[int, BeforeValidator(parse_duration)]
Number = Annotated[Decimal, BeforeValidator(exact)]
Moment = Annotated[int, BeforeValidator(_utc)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*(/[a-z0-9]+(-[a-z0-9]+)*)?$")]
Symbol = Annotated[str, Field(pattern=r"^\S{1,40}$")]


class Part(BaseModel):
    """Base of everything in a scenario file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# ---------------------------------------------------------------- the world


class InstrumentPart(Part):
    """Changes to an instrument of `venues.sim.instruments`, or all of an unknown one."""

    tick_size: Number | None = Field(None, gt=0)
    qty_step: Number | None = Field(None, gt=0)
    min_qty: Number | None = Field(None, gt=0)
    max_qty: Number | None = Field(None, ge=0)
    max_market_qty: Number | None = Field(None, ge=0)
    min_notional: Number | None = Field(None, ge=0)
    trading: bool | None = None
    delist: Duration | None = None
    """Announced end of trading, counted from the start."""


class Walk(Part):
    """A generated price: every step a draw of at most `step_bps` up or down, plus `drift_bps`."""

    start: Number = Field(gt=0)
    step_bps: Number = Field(Decimal(5), ge=0, le=1000)
    drift_bps: Number = Field(ZERO, ge=-100, le=100)


class SeriesPart(Part):
    """One price series: a path of points, a walk, or recorded data."""

    path: tuple[tuple[Duration, Number], ...] = ()
    """(time, price), ascending."""
    shape: Literal["ramp", "steps"] = "ramp"
    """`ramp`: ticks on the line between two points; `steps`: the points alone."""
    walk: Walk | None = None
    data: str = ""
    """A file or dataset of candles or trades, beside the suite's file."""
    every: Duration = Field(SECOND, ge=1)
    """Between two ticks of a ramp or walk."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.path) + (self.walk is not None) + bool(self.data) != 1:
            raise ValueError("give exactly one of path, walk and data")
        times = [time for time, _ in self.path]
        if times != sorted(times):
            raise ValueError("the times of a path must ascend")
        if any(price <= 0 for _, price in self.path):
            raise ValueError("prices are above 0")
        return self


class PricePart(SeriesPart):
    """The market of one symbol."""

    mark: Literal["last", "smoothed"] | SeriesPart = "last"
    spread_bps: Number = Field(ZERO, ge=0, lt=20_000)
    top_qty: Number = Field(Decimal(1_000_000), gt=0)
    feed_delay: Duration = 0
    feed_candle: Duration = 0
    """The kernel sees closed candles of this length; 0: every price."""
    feed_gaps: tuple[tuple[Duration, Duration], ...] = ()
    """Spans in which prices never reach the kernel."""


class SignalPart(Part):
    """One signal of a wave. `extra` fields go into the message as they are."""

    symbol: Symbol
    side: Literal["BUY", "SELL"]
    week: Number = Decimal(80)
    month: Number | None = Decimal(70)
    exchange: str = ""
    id: str = ""
    extra: dict[str, Any] = {}


class WavePart(Part):
    """All signals of one candle; `arrives` counts from the candle's close."""

    candle: Moment
    arrives: Duration = 390 * SECOND
    signals: tuple[SignalPart, ...] = ()

    @field_validator("candle")
    @classmethod
    def _on_grid(cls, value: int) -> int:
        if value % (15 * MINUTE):
            raise ValueError("a candle opens at minute 00, 15, 30 or 45")
        return value


class MoneyPart(Part):
    """Money of the account, on each venue."""

    deposit: Number = Field(Decimal(100_000), ge=0)
    taker_fee_percent: Number = Field(Decimal("0.05"), ge=0, le=1)
    maker_fee_percent: Number = Field(Decimal("0.02"), ge=-1, le=1)
    slippage_bps: Number = Field(ZERO, ge=0, le=1000)
    market_fill: Literal["last", "next"] = "last"
    """Whether a market order executes at the last price or waits for the next one."""
    funding_rate: Number = Field(ZERO, ge=-1, le=1)
    leverage: Number = Field(Decimal(5), gt=0)
    isolated: bool = True
    hedge_mode: bool = False


# ---------------------------------------------------------------- what happens


class CrashPart(Part):
    """The process dies. `applied`: of the waiting store writes so many become durable.

    `store_lost`: the next one finds an empty store; `store_restored`: that of the last
    `store_backup`.
    """

    down: Duration = 10 * SECOND
    applied: int = Field(0, ge=0)
    store_lost: bool = False
    store_restored: bool = False


class After(Part):
    """A moment that the run itself defines: at the n-th effect or decision that matches.

    `effect` is a glob on content keys ("submit/*"), `decision` one on kinds. With `before` an
    effect does not leave any more.
    """

    effect: str = ""
    decision: str = ""
    state: str = ""
    """Only decisions whose value `state` (or `to`) is this."""
    nth: int = Field(1, ge=1)
    before: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.effect) == bool(self.decision):
            raise ValueError("give either an effect or a decision")
        return self


class HostPart(Part):
    """What the driver says of its host; what is not named is not known."""

    disk_free_mb: int = Field(-1, ge=-1)
    memory_mb: int = Field(-1, ge=-1)
    lag_ms: int = Field(-1, ge=-1)


class LeasePart(Part):
    """Another instance that has the lease for a while, and does nothing else."""

    instance: str = Field("another", min_length=1, max_length=40)
    term: Duration = 60 * SECOND
    wait: Duration = 60 * SECOND


class Happening(Part):
    """One entry of the timeline: a moment and one act."""

    at: Duration | None = None
    after: After | None = None
    crash: CrashPart | None = None
    restart: CrashPart | None = None
    """An orderly stop, then a new start."""
    operator: Texts = ()
    """A command with its arguments."""
    stall: Duration | None = None
    """The process stands still for so long, between two steps."""
    freeze: Duration | None = None
    """It stands still right before the effect leaves, which it has signed; `after` one only."""
    clock_step: Duration | None = None
    """The wall clock jumps forward against the monotonic one."""
    store_down: Duration | None = None
    store_stall: Duration | None = None
    store_backup: bool = False
    """A backup of the database, for `store_restored`."""
    disk_full: Duration | None = None
    """The data folder takes nothing for so long."""
    host: HostPart | None = None
    feed_down: Duration | None = None
    """The signal server is away for so long."""
    lease: LeasePart | None = None
    """Another instance takes the lease of the accounts, which must be free then."""

    @model_validator(mode="after")
    def _one_act(self) -> Self:
        if (self.at is None) == (self.after is None):
            raise ValueError("give either at or after")
        acts = [name for name in ACTS if getattr(self, name) not in (None, (), False)]
        if len(acts) != 1:
            raise ValueError(f"give exactly one of {', '.join(ACTS)}")
        if self.after is not None and acts[0] not in ("crash", "freeze"):
            raise ValueError("only a crash or a freeze can come after an effect or a decision")
        if self.freeze is not None and not (self.after and self.after.effect):
            raise ValueError("a freeze comes at an effect: give after with effect")
        lost = self.crash is not None and (self.crash.store_lost or self.crash.store_restored)
        if self.after is not None and lost:
            raise ValueError("the store can be lost at a time only")
        return self


ACTS = (
    "crash", "restart", "operator", "stall", "freeze", "clock_step", "store_down", "store_stall",
    "store_backup", "disk_full", "feed_down", "host", "lease",
)  # fmt: skip


# ---------------------------------------------------------------- what must come of it


class PositionPart(Part):
    """One position of ours at the end, in the order of their creation for each symbol."""

    symbol: Symbol
    venue: str = ""
    state: str = "CLOSED"
    reason: str | None = None
    qty: Number | None = None
    entry: Number | None = None
    exit: Number | None = None
    pnl: Number | None = None
    """Before fees, exactly."""
    fees: Number | None = None
    funding: Number | None = None
    """What came in is positive."""
    level: Number | None = None
    """Protected level."""
    stops: tuple[Number, ...] | None = None
    """Trigger prices that were live at the venue, in their order, repetitions left out."""


class DecisionPart(Part):
    """Decisions that match all that is given; texts are globs."""

    kind: str = Field(min_length=1)
    cause: str = "*"
    symbol: str = "*"
    values: dict[str, Annotated[str, BeforeValidator(str)]] = {}
    venue: str = "*"
    count: int | None = Field(None, ge=0)
    """None: at least one."""
    by: Duration | None = None
    """Only what happens until then, counted from `start`."""


class ExpectPart(Part):
    """What must come of the run. What is not named is not checked, invariants are always."""

    opened: int | None = Field(None, ge=0)
    closed: int | None = Field(None, ge=0)
    positions: tuple[PositionPart, ...] = ()
    flat: bool | None = None
    """No position left at any venue."""
    orders: dict[str, int] = {}
    """Distinct orders by leg letter (E, S, X, A, R), requests by kind (submit, cancel, …)."""
    present: tuple[DecisionPart, ...] = ()
    absent: tuple[DecisionPart, ...] = ()
    sequence: Texts = ()
    """Globs on decision kinds that must come in this order, others between them."""
    dropped: dict[Symbol, str] = {}
    """Symbol → glob on the reason for which its signal was dropped; "|" parts alternatives."""
    alerts: Texts = ()
    """Globs on kinds of alerts, each at least once; what is over is "KIND recovered", what lasts
    for an hour "KIND reminder"."""
    no_alerts: Texts = ()
    told: dict[str, Annotated[int, Field(ge=0)]] = {}
    """How often each of these alerts was told, named as in `alerts`, without globs."""
    max_unprotected: Duration | None = None
    fails: Texts = ()
    """Invariants that must fail (a scenario that shows a weakness or tests the checker)."""
    unfired: Texts = ()
    """Faults that need not be met; every other one must."""
    stopped: bool | None = None


class Scenario(Part):
    """One scenario on one venue (or on both at once)."""

    name: Name
    title: str = Field(min_length=1)
    venues: tuple[Literal["binance", "bybit", "both"], ...] = ("binance", "bybit")
    levels: tuple[Literal["sim", "wire"], ...] = ("sim", "wire")
    tags: Texts = ()
    rules: Texts = ()
    """Rows of docs/rules.md that it stands for."""
    start: Moment = parse_utc("2026-01-05T12:05:00Z")
    duration: Duration = 30 * MINUTE
    heal: Duration = 4 * MINUTE
    """Quiet time after the last fault, in which everything must converge."""
    unobservable: Duration = 0
    """So much longer than the guarantee a loss may last, because no surface shows it before."""
    seed: int = Field(1, ge=0)
    instance: str = Field("", max_length=40)
    """Who keeps the lease of the accounts; "": no lease is kept."""
    settings: dict[str, str] = {}
    money: MoneyPart = MoneyPart()
    legs: dict[str, Any] = {}
    """Delays of messages: request, reply, connect, order, fill …, lag_positions …"""
    instruments: dict[Symbol, InstrumentPart] = {}
    prices: dict[Symbol, PricePart] = Field(min_length=1)
    waves: tuple[WavePart, ...] = ()
    feed_faults: tuple[dict[str, Any], ...] = ()
    faults: tuple[dict[str, Any], ...] = ()
    timeline: tuple[Happening, ...] = ()
    allow: dict[str, str] = {}
    """Invariant → why it is not checked here."""
    expect: ExpectPart = ExpectPart()

    @field_validator("settings", mode="before")
    @classmethod
    def _as_texts(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {str(name).lower(): _setting(given) for name, given in value.items()}

    @field_validator("allow")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        wrong = [name for name in value if name not in INVARIANTS]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: one of {', '.join(INVARIANTS)}")
        return value


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
