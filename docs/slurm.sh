#!/bin/bash
# A campaign on a Slurm allocation: a Ray node on each machine, the driver on the first one.
#   sbatch --nodes 4 docs/slurm.sh paper --seeds 20
# The first word is the scale, the rest goes to niny campaign. Submit it in the project's folder, on a file system that
# all machines see; with one that does not know locks, or none, add --ship. The same command after the end goes on.
#SBATCH --job-name=niny
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300

set -euo pipefail

scale=${1:?name a scale, such as paper}
shift
port=6379
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts[0]} # where this script runs
address=$(hostname --ip-address | cut -d ' ' -f 1)

source .venv/bin/activate # pip install --constraint constraints.txt --editable '.[cluster]'
export RAY_USAGE_STATS_ENABLED=0

start_ray() { # a host, then what makes it the head or joins it
    srun --overlap --nodes 1 --ntasks 1 --nodelist "$1" ray start --block --disable-usage-stats \
        --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" "${@:2}" &
}

start_ray "$head" --head --node-ip-address "$address" --port "$port" --include-dashboard false
until ray status --address "$address:$port" > /dev/null 2>&1; do
    sleep 2
done
for host in "${hosts[@]:1}"; do
    start_ray "$host" --address "$address:$port"
done

# five minutes before the end Slurm sends SIGTERM to this script: the driver keeps the last checkpoints and ends
niny campaign --scale "$scale" --ray "$address:$port" --gpus-per-run 0.5 --cpus-per-run 2 "$@" &
driver=$!
trap 'kill -TERM "$driver"; wait "$driver"' TERM
wait "$driver"
