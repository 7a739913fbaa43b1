"""Training: what every kind shares (optimisers, schedules, ranks, precision), and that of classifiers on clips."""
