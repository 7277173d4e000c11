"""How a job lives: admission, submission, waiting, and what becomes of jobs in doubt."""
