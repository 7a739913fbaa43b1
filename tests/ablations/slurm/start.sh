#!/bin/sh
# A Slurm of one node on this machine, all of it in one folder: munged, slurmctld and slurmd from Debian's packages
# (apt-get install slurm-wlm munge). Nothing outside the folder is written; `stop.sh FOLDER` ends it.
#
#   FOLDER=$(mktemp -d) && tests/ablations/slurm/start.sh "$FOLDER" && export SLURM_CONF="$FOLDER/slurm.conf"
set -eu
folder=$1
cpus=${2:-2}
name=$(hostname -s)
munged=$(command -v munged || echo /usr/sbin/munged)
slurmctld=$(command -v slurmctld || echo /usr/sbin/slurmctld)
slurmd=$(command -v slurmd || echo /usr/sbin/slurmd)
# Two free ports, from the system.
ports=$(python3 -c "
import socket
pair = [socket.socket() for _ in range(2)]
[each.bind(('127.0.0.1', 0)) for each in pair]
print(*(each.getsockname()[1] for each in pair))")

mkdir -p "$folder/state" "$folder/spool"
chmod 755 "$folder"
head -c 1024 /dev/urandom > "$folder/munge.key"
chmod 600 "$folder/munge.key"
"$munged" --force --key-file "$folder/munge.key" --socket "$folder/munge.socket" --pid-file "$folder/munged.pid" \
    --log-file "$folder/munged.log" --seed-file "$folder/munge.seed"

cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=${ports% *}
SlurmdPort=${ports#* }
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=5
JobRequeue=1
NodeName=$name NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
cat > "$folder/cgroup.conf" <<CONF
CgroupPlugin=autodetect
CONF
export SLURM_CONF="$folder/slurm.conf"
"$slurmctld" -f "$folder/slurm.conf"
"$slurmd" -f "$folder/slurm.conf"
for _ in $(seq 60); do
    if sinfo -h -o %T 2> /dev/null | grep -q '^idle'; then exit 0; fi
    sleep 0.5
done
echo "the node did not come up; the logs are in $folder" >&2
exit 1
