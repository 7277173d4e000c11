"""The parts of the demo: sample jobs, comparison, report, contact sheet."""
