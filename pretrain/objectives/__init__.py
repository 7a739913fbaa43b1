"""What TVTS learns from, and everything the paper compares it with: losses, metrics and their chance levels."""
