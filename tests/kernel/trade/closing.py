"""A bench that tells what was asked since a close began."""

from kernel import errors
from kernel.model.positions import CloseReason
from kernel.model.units import MS, SECOND
from kernel.ports.direct import request_kind
from tests.kernel.fakes import Bench, Rule

OPERATOR = CloseReason.OPERATOR


class Closing(Bench):
    """A bench that tells when what was asked since a close began, in milliseconds."""

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.began = 0

    def close(self, position, seconds=30, reason=OPERATOR, **how):
        self.began = self.runtime.now()
        task = self.spawn(self.exits.close(position, reason, "test", **how))
        self.run(self.began + int(seconds * SECOND))
        return task

    def asked(self):
        sent = [one for venue in self.venues.values() for one in venue.sent]
        return [
            ((at - self.began) // MS, request_kind(request), request)
            for at, request in sent
            if at >= self.began
        ]

    def times(self, kind):
        return [at for at, one, _ in self.asked() if one == kind]

    def words(self):
        return [f"{at} {kind}" for at, kind, _ in self.asked()]

    def sent(self):
        """Closing orders: (when, quantity)."""
        return [(at, str(one.qty)) for at, kind, one in self.asked() if kind == "submit"]

    def refuse(self, kind="submit", error=errors.Rejected, **how):
        rule = Rule(kind, error, "-1111", **how)
        for venue in self.venues.values():
            venue.rules.append(rule)
        return rule
