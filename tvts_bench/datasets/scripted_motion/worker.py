"""A process that makes items of a part: reads jobs from standard input, one JSON a line, and answers each.

Plain processes instead of a pool of `multiprocessing`: they do not import the caller's main script again (which would
wait for ever on the lock that the caller holds, where that script is not guarded), and they end when the caller dies.
"""

import json
import signal
import sys

from tvts_bench.datasets.scripted_motion.jobs import run_job


def main() -> None:
    """Answer jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the caller decides what stops
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run_job(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
