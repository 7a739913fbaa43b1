"""`python -m tvts_bench`: the command line, for torchrun."""

from tvts_bench.cli.main import main

if __name__ == "__main__":
    main()
