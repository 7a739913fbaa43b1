#!/bin/sh
# Ends what start.sh FOLDER has started.
set -u
folder=$1
for name in slurmd slurmctld munged; do
    if [ -f "$folder/$name.pid" ]; then kill "$(cat "$folder/$name.pid")" 2> /dev/null; fi
done
for name in slurmd slurmctld munged; do
    for _ in $(seq 50); do
        [ -f "$folder/$name.pid" ] || break
        kill -0 "$(cat "$folder/$name.pid")" 2> /dev/null || break
        sleep 0.1
    done
done
exit 0
