"""Install hints: which extra provides a missing module."""

from __future__ import annotations

_EXTRAS = {"click": "cli", "rich": "cli", "cv2": "cli,emulator", "numpy": "cli,emulator", "av": "cli,video"}


def install_hint(error: ModuleNotFoundError) -> str:
    """Return the command that installs the missing module; raise `error` again if no extra provides it."""
    # the emulator raises it without a name: it has checked for OpenCV without importing it
    module = (error.name or "cv2").partition(".")[0]
    if module not in _EXTRAS:
        raise error
    return f"This command needs {module}, which is not installed: pip install 'aiowatermark[{_EXTRAS[module]}]'"
