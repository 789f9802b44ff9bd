#!/bin/bash
# A search on the nodes of one SLURM job. Give it to sbatch with the arguments of `vkdnw search`:
#
#     sbatch --nodes=4 examples/cluster/slurm.sh nb201 --out runs/live --all --live
#
# Every node has the same environment with vkdnw[ray], on a shared file system. The run is kept in
# --out: when the time limit ends the job, the same command in another job goes on.
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120

set -euo pipefail

head_host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))  # two jobs of one node do not meet
scratch=${TMPDIR:-/tmp}/ray-$SLURM_JOB_ID
export RAY_USAGE_STATS_ENABLED=0
export RAY_ADDRESS=$head_host:$port
# Nobody else on these nodes can give the cluster work: without a token, anyone could.
RAY_AUTH_TOKEN=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
# A node that falls silent is given up after about nine seconds.
export RAY_health_check_initial_delay_ms=2000 RAY_health_check_period_ms=1000
export RAY_health_check_timeout_ms=2000 RAY_health_check_failure_threshold=3

stop() { kill "${raylets[@]}" 2>/dev/null || true; }
raylets=()
trap stop EXIT

srun --nodes=1 --ntasks=1 --overlap --nodelist="$head_host" \
  ray start --head --port="$port" --temp-dir="$scratch" --include-dashboard=false --block &
raylets+=($!)
until ray status >/dev/null 2>&1; do
  kill -0 "${raylets[0]}" || { echo "the head of the cluster did not start" >&2; exit 1; }
  sleep 2
done

others=$((SLURM_JOB_NUM_NODES - 1))
if [ "$others" -gt 0 ]; then
  srun --nodes="$others" --ntasks="$others" --overlap --exclude="$head_host" \
    ray start --address="$RAY_ADDRESS" --temp-dir="$scratch" --block &
  raylets+=($!)
fi

vkdnw search "$@" --ray auto &
driver=$!
trap 'kill -TERM $driver' TERM  # as at a terminal: what is in flight is finished and recorded
wait "$driver" || status=$?
wait "$driver" 2>/dev/null || status=$?  # once more, where a signal ended the first
exit "${status:-0}"
