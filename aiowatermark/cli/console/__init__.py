"""Terminal support: command runner, progress display, install hints."""
