"""How hard property tests try: a short, repeatable pass with everything else, a long random one with ROSTERD_LONG=1."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

LONG = os.environ.get("ROSTERD_LONG") == "1"
TIMES = int(os.environ.get("ROSTERD_LONG_TIMES", "25"))
"""How many times the examples of the short pass a long one tries."""


def examples(count: int) -> settings:
    """``count`` examples, always the same ones; many more, and new ones each time, with ROSTERD_LONG=1.

    Only the long pass shrinks what fails, which takes minutes: run the one test that failed that way.
    """
    return settings(
        max_examples=count * TIMES if LONG else count,
        derandomize=not LONG,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.explicit, Phase.generate, Phase.shrink) if LONG else (Phase.explicit, Phase.generate),
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
            HealthCheck.function_scoped_fixture,
            HealthCheck.large_base_example,
        ],
    )
