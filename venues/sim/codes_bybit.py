"""Error codes of Bybit V5 (venue-bybit.md §4.2 and §9; hazards §5).

10001 has many meanings; only the words tell them apart. Numbers inside the text are scaled
integers and mean nothing to logic.
"""

from __future__ import annotations

from venues.sim.codes import NOT_MODIFIED, CodeTable

_WORDS: tuple[tuple[str, str, str], ...] = (
    ("10001", "zero position", "NoPositionYet"),
    ("10001", "base_price", "WouldTriggerNow"),
    ("10001", "position idx not match", "Rejected"),
    ("10001", "order not modified", NOT_MODIFIED),
    ("10001", "Qty invalid", "FilterViolation"),
    ("10001", "Price invalid", "FilterViolation"),
    ("10001", "number of contracts exceeds", "FilterViolation"),
)

_BY_KIND: dict[str, tuple[str, ...]] = {
    "OutcomeUnknown": (
        "-1", "429", "10000", "10016", "10429", "110079", "340099", "3400214",
        "http-429", "http-500", "http-502", "http-503", "http-504", "empty", "timeout", "reset",
    ),
    "NotSent": ("10002", "10019", "110063", "110066", "110118"),
    "Throttled": ("10006", "10018", "10403", "http-403"),
    "Unauthorized": (
        "10003", "10004", "10005", "10007", "10008", "10009", "10010", "10024", "10027", "10028",
        "33004", "100028", "110124", "110132",
    ),
    "WouldTriggerNow": ("110092", "110093"),
    "InsufficientMargin": (
        "110004", "110006", "110007", "110012", "110014", "110044", "110045", "110051", "110052",
        "110053",
    ),
    "ReduceOnlyRefused": ("110017", "110034"),
    "TooManyOpenOrders": ("110009", "110020", "110061", "170810"),
    "DuplicateClientOrderId": ("10014", "110030", "110072"),
    "UnknownOrder": ("110001", "110008", "110010", "none"),
    "FilterViolation": ("110003", "110058", "110094", "110120", "110121"),
    "EntriesForbidden": (
        "10029", "30228", "110021", "110022", "110023", "110042", "110074", "110123", "110125",
        "110126",
    ),
    "Rejected": (
        "10001", "10017", "110005", "110011", "110013", "110016", "110018", "110019", "110024",
        "110028", "110029", "110040", "110046", "110057", "110059", "110060", "110064", "110085",
        "110086", "110089", "110090", "110095", "110131", "3400045", "3400139",
    ),
    NOT_MODIFIED: ("34036", "34040", "110025", "110026", "110043"),
}  # fmt: skip

BYBIT_CODES = CodeTable(
    {code: kind for kind, codes in _BY_KIND.items() for code in codes}, _WORDS
)
"""Code → kind. "none" stands for retCode 0 with an empty list; "empty" for a body without JSON."""
