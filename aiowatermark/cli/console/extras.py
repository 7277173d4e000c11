"""What to say where an optional extra is not installed."""

from __future__ import annotations

_EXTRAS = {"click": "cli", "rich": "cli", "cv2": "cli,emulator", "numpy": "cli,emulator", "av": "cli,video"}


def install_hint(error: ModuleNotFoundError) -> str:
    """How to install what is missing; raises the error again where it is nothing of ours."""
    module = (error.name or "cv2").partition(".")[0]
    if module not in _EXTRAS:
        raise error
    return f"This needs {module}, which is not installed: pip install 'aiowatermark[{_EXTRAS[module]}]'"
