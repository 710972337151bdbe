"""Error codes of Binance USD-M futures (venue-binance.md §5; hazards §5 where it is stricter)."""

from __future__ import annotations

from venues.sim.codes import NOT_MODIFIED, CodeTable

_BY_KIND: dict[str, tuple[str, ...]] = {
    # Execution unknown: -1006, -1007 say so; -1000, -1001 and bare HTTP errors do not deny it;
    # -1008 does, but an order was seen to be placed in spite of it.
    "OutcomeUnknown": (
        "-1000", "-1001", "-1006", "-1007", "-1008", "http-408", "http-500", "http-502",
        "http-503", "http-504", "timeout", "reset",
    ),
    # Outside recvWindow, before or inside the matching engine.
    "NotSent": ("-1021", "-5028"),
    "Throttled": ("-1003", "-1015", "http-429", "http-418"),
    "Unauthorized": (
        "-1002", "-1022", "-2014", "-2015", "-2017", "http-403",
    ),
    "StreamLost": ("-1125",),
    "WouldTriggerNow": ("-2021", "-4142"),
    "NoPositionYet": ("-4509",),
    "InsufficientMargin": ("-2018", "-2019"),
    "ReduceOnlyRefused": ("-2022", "-2024", "-4112", "-4118"),
    "TooManyOpenOrders": ("-2025", "-4045"),
    "DuplicateClientOrderId": ("-4116",),
    "UnknownOrder": ("-2011", "-2013"),
    "FilterViolation": (
        "-1013", "-1111", "-4001", "-4002", "-4003", "-4004", "-4005", "-4013", "-4014", "-4016",
        "-4023", "-4024", "-4164", "-4183", "-4184", "-4210", "-4211",
    ),
    "EntriesForbidden": (
        "-1121", "-1122", "-2023", "-4087", "-4088", "-4105", "-4106", "-4107", "-4109", "-4140",
        "-4141", "-4189", "-4192", "-4400", "-4401", "-4402", "-4403",
    ),
    "Rejected": (
        "-1100", "-1101", "-1102", "-1103", "-1104", "-1105", "-1106", "-1116", "-1117",
        "-1128", "-1130", "-2010", "-2020", "-2026", "-2027", "-2028", "-4015",
        "-4028", "-4047", "-4048", "-4060", "-4061", "-4062", "-4067", "-4068", "-4117", "-4120",
        "-4130", "-4131", "-4135", "-4136", "-4137", "-4138", "-4161", "-4168", "-4202", "-4203",
        "-4204", "-4205", "-4206", "-4207", "-4208", "-4209", "-4531", "-5021", "-5022", "-5047",
        "http-404",
    ),
    NOT_MODIFIED: ("-4046", "-4059", "-5027"),
}  # fmt: skip

BINANCE_CODES = CodeTable({code: kind for kind, codes in _BY_KIND.items() for code in codes})
"""Code → kind."""
