"""Submitting a job at most once: the steps of a submission, its commits, and what happens to records of known keys."""
