"""Settings that every test shares.

Hypothesis has two profiles. `default` looks for new examples on each run; `ci` (chosen by the
environment variable CI) always tries the same ones, so that a red build is never an accident.
Neither has a deadline: how fast a machine is says nothing about a rule.
"""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large)

settings.register_profile("default", deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile(
    "ci",
    deadline=None,
    suppress_health_check=_SLOW_IS_FINE,
    derandomize=True,
    database=None,
    print_blob=True,
)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_configure() -> None:
    """Ctrl-C reaches what tests start, also where they run in the background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", name="postgres")
def postgres_server() -> Iterator:
    """One embedded PostgreSQL for all tests of a process; it starts with the first that asks."""
    from kernel.errors import StoreError
    from kernel.store.scratch import scratch_server

    server = scratch_server()
    try:
        started = server.__enter__()
    except StoreError as error:
        pytest.skip(f"the embedded PostgreSQL cannot start here: {error}")
    yield started
    server.__exit__(None, None, None)
