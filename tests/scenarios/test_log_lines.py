"""Whatever the suites make the kernel say: known kinds, one printable line each, no secret."""

import pytest

from kernel.model.messages import Alert, Input, StepResult
from kernel.watch.events import event_row
from kernel.watch.kinds import KINDS
from kernel.watch.log import alert_line, decision_line
from scenarios.assembly import assemble
from scenarios.files import read_suites
from scenarios.kernels import AnyKernel
from scenarios.run import Run

CANARY = "c4n4ryS3cr3t"
SECRETS = {
    "BINANCE_API_KEY": CANARY,
    "BINANCE_API_SECRET": CANARY,
    "BYBIT_API_KEY": CANARY,
    "BYBIT_API_SECRET": CANARY,
    "SIGNAL_WS_TOKEN": CANARY,
    "DB_PASSWORD": CANARY,
}
SUITES = list(dict.fromkeys(entry.name.partition("/")[0] for entry in read_suites()))


class Lines:
    """A sink that formats everything and keeps what is wrong with it."""

    def __init__(self) -> None:
        self.count = 0
        self.wrong: list[str] = []

    def step(self, item: Input, result: StepResult) -> None:
        told = [
            alert_line(item.ts_ns, effect.body)
            for effect in result.effects
            if isinstance(effect.body, Alert)
        ]
        for place, decision in enumerate(result.decisions):
            told.append(str(decision_line(item.ts_ns, decision)))
            row = event_row(item, place, decision)
            if CANARY in row.values + row.text + row.cause:
                self.wrong.append(f"a secret: {row}")
            if decision.kind not in KINDS:
                self.wrong.append(f"{decision.kind} has no entry in KINDS")
            if "?" in row.text and "?" not in decision.cause + row.values:
                self.wrong.append(f"a value is missing: {row.text!r} of {decision}")
        self.count += len(told)
        self.wrong += [one for one in told if CANARY in one or not one.isprintable()]

    def born(self, kernel: AnyKernel) -> None:
        """A kernel starts."""

    def died(self, reason: str) -> None:
        """The kernel is gone."""


@pytest.mark.parametrize("suite", SUITES)
def test_what_a_suite_makes_the_kernel_say_can_be_logged(suite: str) -> None:
    lines = Lines()
    for entry in read_suites():
        if not entry.name.startswith(f"{suite}/"):
            continue
        venue = entry.venues[0]
        scenario = entry.scenario(venue)
        settings = {**scenario.settings, **{name.lower(): one for name, one in SECRETS.items()}}
        scenario = scenario.model_copy(update={"settings": settings})
        parts = assemble(scenario, venue, seed=scenario.seed, folder=entry.path.parent)
        Run(parts, level="sim", sinks=(lines,)).play()
    assert lines.count > 0
    assert list(dict.fromkeys(lines.wrong)) == []
