"""What every kind of training shares: optimisers, schedules, ranks, precision. Knows no task."""
