"""Parts of `aiowatermark demo`: sample jobs, comparison, report, contact sheet."""
