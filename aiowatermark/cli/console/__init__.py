"""The terminal: running a command, progress display, install hints."""
