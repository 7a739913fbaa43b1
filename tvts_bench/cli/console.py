"""The two consoles every command prints to: tables to standard output, everything else to standard error."""

from rich.console import Console

stdout = Console()
stderr = Console(stderr=True)
