"""What the benchmarks compare with, where that is more than a call."""
