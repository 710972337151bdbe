"""Settings that every test shares.

Hypothesis has two profiles. `default` looks for new examples on each run; `ci` (chosen by the
environment variable CI) always tries the same ones, so that a red build is never an accident.
Neither has a deadline: how fast a machine is says nothing about a rule.
"""

import os

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
