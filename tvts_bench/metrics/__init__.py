"""Metrics: arrays in, plain numbers out. Neither torch nor files."""
