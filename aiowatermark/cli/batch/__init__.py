"""What `remove` and `resume` share: a batch of jobs, its workers, its output folder and its report."""
