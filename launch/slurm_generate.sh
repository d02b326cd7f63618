#!/usr/bin/env bash
#SBATCH --job-name=samjax-generate
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@60
set -euo pipefail

usage() {
  cat <<'END'
Generate masks of many photos under Slurm: a job array, one part of the photos to a task of it.

  sbatch --array=1-16 --gpus=1 --time=24:00:00 launch/slurm_generate.sh --parts 16 \
    -- --checkpoint /shared/vit_h --images '/shared/photos/*.tar' --out /shared/masks --preset sa1b
  bash launch/slurm_generate.sh --dry-run --parts 16 -- --checkpoint C --images 'photos/*.jpg' --out masks

What stands after `--` is given to `samjax generate`, with --part I/N. Options of sbatch go before the script and win
over the #SBATCH lines within. Submit with the virtual environment active.

  --parts N   how many parts; the array has tasks 1 to N. To do some again: the same N, and --array=3,7
  --dry-run   print the command and when a task is requeued, start nothing
  --help      show this

60 seconds before the time limit, a task stops and requeues itself; it resumes with the photo that it was at. `scancel
JOB` ends all tasks for good. The same command, submitted again, does what is missing. Page: launch/slurm.md
END
}

fail() {
  echo "launch/slurm_generate.sh: $*" >&2
  exit 2
}

dry=no parts=
while (($#)); do
  case $1 in
    --dry-run) dry=yes ;;
    -h | --help) usage && exit ;;
    --parts=*) parts=${1#*=} ;;
    --parts) (($# > 1)) || fail "--parts needs a value" && parts=$2 && shift ;;
    --) break ;;
    *) fail "$1 is no option of this script; options of \`samjax generate\` go after --" ;;
  esac
  shift
done
(($# > 1)) || fail "nothing to generate; give -- and the options of \`samjax generate\` at the end"
shift
[[ -n $parts ]] || fail "--parts is missing; give the number of parts, that of the array's tasks"
[[ $parts =~ ^[1-9][0-9]*$ ]] || fail "--parts is $parts; expected 1 or more"
for word; do
  [[ $word != --part && $word != --part=* ]] || fail "--part is added for each task; leave it out"
done

part=${SLURM_ARRAY_TASK_ID:-}
command=(samjax generate "$@" --part)
if [[ -n $part ]]; then
  if [[ ! $part =~ ^[1-9][0-9]*$ ]] || ((part > parts)); then
    fail "task $part of the array is none of $parts parts; give sbatch --array=1-$parts"
  fi
elif [[ $dry == no ]]; then
  fail "not within a job array; start it with sbatch --array=1-$parts, or give --dry-run"
fi

if [[ $dry == yes ]]; then
  printf '%q ' "${command[@]}"
  echo "${part:-\$SLURM_ARRAY_TASK_ID}/$parts"
  echo "# At the time limit: scontrol requeue \${SLURM_ARRAY_JOB_ID}_\$SLURM_ARRAY_TASK_ID. Any other end ends the task."
  exit
fi
type samjax >/dev/null 2>&1 || fail "no samjax on the PATH; activate its virtual environment before sbatch"

# scancel sends SIGTERM, the time limit SIGUSR1 and to this script alone.
limit=no child=
trap 'limit=yes; [[ -z $child ]] || kill -TERM "$child" 2>/dev/null || true' USR1
trap '[[ -z $child ]] || kill -TERM "$child" 2>/dev/null || true' TERM
task=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}_$part
echo "$(date '+%F %T') task $task, restart ${SLURM_RESTART_COUNT:-0}, on ${SLURM_JOB_NODELIST:-this host}"
"${command[@]}" "$part/$parts" &
child=$!
code=0
wait "$child" || code=$?
while kill -0 "$child" 2>/dev/null; do # a signal ends `wait` before the child ends
  code=0
  wait "$child" || code=$?
done
echo "$(date '+%F %T') samjax generate exited with $code"
if [[ $limit == yes ]] && ((code != 0)); then
  scontrol requeue "$task" || echo "launch/slurm_generate.sh: not requeued; submit the same command to go on" >&2
fi
exit "$code"
