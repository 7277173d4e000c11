"""Batch: what `remove` and `resume` share, from the inputs to the report."""
