"""Formats of files, read from their first bytes."""
