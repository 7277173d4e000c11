"""Which optional extras are there."""

from __future__ import annotations

import importlib.util

_EXTRAS = {"cv2": "emulator", "numpy": "emulator", "av": "video"}


def missing_extra(module: str) -> str | None:
    """What to say when a module of an optional extra is not there; None when it is."""
    try:
        found = importlib.util.find_spec(module) is not None
    except ValueError:
        found = False
    if found:
        return None
    return f"Restoring needs {module}: pip install 'aiowatermark[{_EXTRAS[module]}]', or Emulator(restore=False)."
