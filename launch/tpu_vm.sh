#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
Train on a Cloud TPU pod, from your own machine. Page: launch/tpu_vm.md

  launch/tpu_vm.sh create --zone ZONE --type v5litepod-256 [--spot] [--runtime VERSION]
  launch/tpu_vm.sh setup  --zone ZONE [--nfs SERVER:/EXPORT]
  launch/tpu_vm.sh start  --zone ZONE -- EXPERIMENT.py --data.source DIR --workdir DIR
  launch/tpu_vm.sh watch  --zone ZONE
  launch/tpu_vm.sh stop   --zone ZONE
  launch/tpu_vm.sh resume --zone ZONE -- EXPERIMENT.py ...   the command that was started
  launch/tpu_vm.sh delete --zone ZONE

  create   ask for the pod, a queued resource; watch says when it is ACTIVE
  setup    copy the repository's last commit to every worker, and install it there
  start    start `samjax train` on every worker, in the background; refuses where one runs
  watch    print the pod's state and follow worker 0's log; Ctrl-C ends watching alone
  stop     let all workers save the same step and end; returns when they have
  resume   start again: the same command goes on from its last checkpoint
  delete   give the pod back, which ends its cost

  --name NAME      of the queued resource and its pod (samjax)
  --project ID     instead of gcloud's own
  --type TYPE      accelerator type: v4-N and v5p-N count cores, v5litepod-N and v6e-N chips
  --runtime VERSION  software of the workers, where the type does not say
  --spot           cheaper, and taken away at any time
  --nfs SERVER:/EXPORT  mount it at /mnt/shared on every worker
  --dry-run        print the commands, run nothing
END
}

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

name=samjax zone='' project='' type='' runtime='' spot='' nfs=''

# gcloud_tpu WORD...: with the zone and project that were given.
gcloud_tpu() {
  run gcloud compute tpus "$@" "--zone=$zone" ${project:+"--project=$project"}
}

# on WORKERS COMMAND: run it over ssh; fails where one of them does.
on() {
  gcloud_tpu tpu-vm ssh "$name" "--worker=$1" "--command=$2"
}

# Folders are relative to the home folder of the ssh user. A training holds the lock for as long as it lives.
readonly files=samjax-train
readonly if_idle="mkdir -p $files && \
{ flock -n $files/lock true || { echo \"a training runs on \$(hostname)\"; exit 1; }; }"

chips() {
  local number=${type##*-} sizes='1, 4, 8, 16, 32, 64, 128 or 256' most=0
  [[ $type =~ ^(v4|v5p|v5litepod|v6e)-[1-9][0-9]{0,4}$ ]] ||
    fail "--type is $type; expected v4-N, v5litepod-N, v5p-N or v6e-N"
  case $type in
    v4-*) most=6144 ;;
    v5p-*) most=12288 ;;
    *)
      [[ " ${sizes//[,or]/} " == *" $number "* ]] || fail "--type is $type; there are slices of $sizes chips"
      echo "$number"
      return
      ;;
  esac
  # Two cores a chip; above 64 chips slices are of whole cubes of 64.
  [[ " 8 16 32 64 " == *" $number "* ]] || ((number % 128 == 0 && number <= most)) ||
    fail "--type is $type; there are slices of 8, 16, 32, 64 or a multiple of 128 cores, up to $most"
  echo $((number / 2))
}

create() {
  local count
  count=$(chips)
  if [[ -z $runtime ]]; then
    case $type in
      v4-*) runtime=tpu-ubuntu2204-base ;;
      v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
      v5p-*) runtime=v2-alpha-tpuv5 ;;
      v6e-*) runtime=v2-alpha-tpuv6e ;;
    esac
  fi
  note "Cost: $count chips are billed from ACTIVE until \`launch/tpu_vm.sh delete\`, training or not."
  gcloud_tpu queued-resources create "$name" "--node-id=$name" "--accelerator-type=$type" \
    "--runtime-version=$runtime" ${spot:+--spot}
  note "Next: watch until the state is ACTIVE, then setup."
}

setup() {
  local archive="${TMPDIR:-/tmp}/samjax-$name.tar.gz"
  [[ -z $nfs || $nfs =~ ^[A-Za-z0-9.-]+:/[A-Za-z0-9_./-]*$ ]] || fail "--nfs is $nfs; expected SERVER:/EXPORT"
  on all "$if_idle"
  run git -C "$repository" archive --format=tar.gz "--output=$archive" HEAD
  gcloud_tpu tpu-vm scp "$archive" "$name:samjax.tar.gz" --worker=all
  run rm "$archive"
  # The system's Python is 3.10 on Ubuntu 22.04; uv brings a later one.
  on all "mkdir -p samjax && tar -xzf samjax.tar.gz -C samjax && cd samjax \
&& python3 -m pip install --quiet --user uv \
&& python3 -m uv venv --quiet --allow-existing --python 3.12 .venv \
&& python3 -m uv pip install --quiet --python .venv -c constraints.txt -e '.[tpu]'"
  if [[ -n $nfs ]]; then
    on all "mountpoint -q /mnt/shared || { sudo apt-get -qq update && sudo apt-get -qq install -y nfs-common \
&& sudo mkdir -p /mnt/shared && sudo mount -t nfs -o rw,hard $nfs /mnt/shared; }"
  fi
}

start() {
  needs_experiment
  # Asked everywhere first: started on some workers alone, it would wait for the others.
  on all "$if_idle"
  on all "cd samjax && exec 9>>../$files/lock && flock -n 9 \
&& { nohup .venv/bin/samjax train $(quoted "${training[@]}") --multihost \
>>../$files/log 2>&1 </dev/null & echo \$! >../$files/pid; }"
}

resume() {
  start
}

watch() {
  gcloud_tpu queued-resources describe "$name" '--format=value(state.state)'
  on 0 "tail -n 40 -F $files/log"
}

stop() {
  # JAX passes a SIGTERM of one worker on to all. The lock is free when the training has ended; 15 minutes at most.
  on 0 "flock -n $files/lock true || kill -TERM \$(cat $files/pid)"
  on all "flock -w 900 $files/lock true || { echo \"the training on \$(hostname) has not ended yet\"; exit 1; }"
  note "Stopped. The pod costs what it did: launch/tpu_vm.sh delete ends that."
}

delete() {
  gcloud_tpu queued-resources delete "$name" --force
}

command=${1:-}
case $command in
  create) needed='--zone --type' options='--name --project --runtime' flags=--spot ;;
  setup) needed=--zone options='--name --project --nfs' flags='' ;;
  start | resume | watch | stop | delete) needed=--zone options='--name --project' flags='' ;;
  -h | --help) usage && exit ;;
  '') usage >&2 && exit 2 ;;
  *) fail "$command is no command; expected create, setup, start, watch, stop, resume or delete" ;;
esac
parse "$needed $options" "$flags" "${@:2}"
# shellcheck disable=SC2086 # words
needs $needed
[[ $command == start || $command == resume ]] || ((${#training[@]} == 0)) || fail "$command takes nothing after --"
"$command"
