"""Arms beside each other: their runs, tuning, intervals, and the table."""
