"""Probes: classifiers on frozen features, from arrays to scores. They know neither files nor data sets."""
