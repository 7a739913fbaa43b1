"""The command line: parses, calls, prints. One short file a command group; no logic."""
