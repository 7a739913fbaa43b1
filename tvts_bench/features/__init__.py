"""Features: extraction by worker processes, and the store that keeps them."""
