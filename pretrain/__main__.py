"""`python -m pretrain`, which torchrun can start."""

from pretrain.cli import main

if __name__ == "__main__":
    main()
