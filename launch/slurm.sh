#!/usr/bin/env bash
#SBATCH --job-name=samjax
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@300
set -euo pipefail

usage() {
  cat <<'END'
Train under Slurm, as a job that goes on by itself after its time limit or a preemption.

  sbatch --nodes=4 --ntasks-per-node=8 --gpus-per-node=8 --time=24:00:00 \
    launch/slurm.sh -- experiments/sam/vit_h.py --data.source /shared/sa1b --workdir /shared/vit_h
  bash launch/slurm.sh --dry-run -- experiments/sam/vit_h.py

What stands after `--` is given to `samjax train` on every task. Options of sbatch go before the script and win over
the #SBATCH lines within. Submit from the repository's folder, with the virtual environment active.

  --dry-run   print the command and when the job is requeued, start nothing
  --help      show this

Slurm sends SIGTERM to the tasks 300 seconds before the time limit: they save the same step and exit with 75, and the
job requeues itself. A finished run exits with 0, and an error with its own code: both end the job. `scancel JOB` ends
it for good, saved. Page: launch/slurm.md
END
}

fail() {
  echo "launch/slurm.sh: $*" >&2
  exit 2
}

readonly stopped=75 # what `samjax train` exits with where a signal ended it, saved, before its last step

dry=no
while (($#)); do
  case $1 in
    --dry-run) dry=yes ;;
    -h | --help) usage && exit ;;
    --) break ;;
    *) fail "$1 is no option of this script; options of \`samjax train\` go after --" ;;
  esac
  shift
done
(($# > 1)) || fail "nothing to train; give -- EXPERIMENT.py and its options at the end"
shift
[[ -f $1 ]] || fail "$1: no such experiment file, seen from $PWD; submit from the repository's folder"

# One that ends first waits for the others for 300 s, whatever the cluster's defaults: they may still be saving.
command=(srun --kill-on-bad-exit=0 --wait=300)
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
  command+=("--cpus-per-task=$SLURM_CPUS_PER_TASK") # srun does not take it over from sbatch since Slurm 22.05
fi
if [[ -n ${SLURM_GPUS_ON_NODE:-} ]]; then
  # JAX takes the GPU of the task's number on its node, and counts those that the task can see.
  tasks=${SLURM_TASKS_PER_NODE%%[(,]*}
  [[ $tasks == "$SLURM_GPUS_ON_NODE" ]] ||
    fail "$tasks tasks on a node of $SLURM_GPUS_ON_NODE GPUs; give sbatch --ntasks-per-node=$SLURM_GPUS_ON_NODE"
  command+=(--gpu-bind=none)
fi
command+=(samjax train "$@" --multihost --stopped-code "$stopped")

if [[ $dry == yes ]]; then
  printf '%q ' "${command[@]}"
  echo
  echo "# Exit code $stopped, stopped by a signal and saved: scontrol requeue \$SLURM_JOB_ID. Any other ends the job."
  [[ -n ${SLURM_JOB_ID:-} ]] || echo "# In a job with GPUs, srun gets --gpu-bind=none as well."
  exit
fi
[[ -n ${SLURM_JOB_ID:-} ]] || fail "not within a Slurm job; start it with sbatch, or give --dry-run"
type samjax >/dev/null 2>&1 || fail "no samjax on the PATH; activate its virtual environment before sbatch"

# scancel reaches this script too, the warning before the time limit its tasks alone.
ends=no
trap 'ends=yes' TERM
code=0
echo "$(date '+%F %T') job $SLURM_JOB_ID, restart ${SLURM_RESTART_COUNT:-0}, on ${SLURM_JOB_NODELIST:-this host}"
"${command[@]}" || code=$?
echo "$(date '+%F %T') samjax train exited with $code"
if ((code == stopped)) && [[ $ends == no ]]; then
  scontrol requeue "$SLURM_JOB_ID" || echo "launch/slurm.sh: not requeued; submit the same command to go on" >&2
fi
exit "$code"
