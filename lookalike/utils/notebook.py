"""Whether this is a notebook, and what draws in it. IPython is never loaded here: in a notebook it is."""

import sys
from typing import Any


def display() -> Any:
    """IPython's module `display` in a notebook; None elsewhere, also in IPython in a terminal."""
    if "IPython" not in sys.modules:
        return None
    from IPython import display, get_ipython

    return display if hasattr(get_ipython(), "kernel") else None
