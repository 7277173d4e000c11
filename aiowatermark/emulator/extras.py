"""Optional extras of the emulator: the message for one that is not installed."""

from __future__ import annotations

import importlib.util

_EXTRAS = {"cv2": "emulator", "numpy": "emulator", "av": "video"}


def missing_extra(module: str) -> str | None:
    """Return the message for a module that is not installed, with the command that installs it; None if it is."""
    try:
        installed = importlib.util.find_spec(module) is not None
    except ValueError:
        # sys.modules holds a stand-in without a spec, not the installed module
        installed = False
    if installed:
        return None
    return f"Restoring needs {module}: pip install 'aiowatermark[{_EXTRAS[module]}]', or Emulator(restore=False)."
