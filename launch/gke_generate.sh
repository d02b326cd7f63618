#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
Generate masks of many photos on TPU hosts of a GKE cluster: an indexed Job, one part of the photos to an index. The
cluster is that of launch/gke.sh. Page: launch/gke.md

  launch/gke_generate.sh start --image IMAGE --type v5e --parts 16 [--at-once 4] \
    -- --checkpoint /mnt/shared/vit_h --images '/mnt/shared/photos/*.tar' --out /mnt/shared/masks --preset sa1b
  launch/gke_generate.sh watch
  launch/gke_generate.sh stop
  launch/gke_generate.sh resume
  launch/gke_generate.sh delete

  start    start the Job; refuses where a Job of this name is there
  watch    print the Job and its pods and follow their logs; Ctrl-C ends watching alone
  stop     suspend: pods end, and lose the photo that they were at. Nodes stay, and cost
  resume   go on: every part does what it lacks
  delete   delete the Job, not the masks and not the cluster; `start` goes on

  --name NAME      of the Job (samjax-generate)
  --type TYPE      v4, v5e, v5p or v6e: a node pool of single hosts with four chips
  --parts N        of the photos
  --at-once N      how many pods at a time (all parts)
  --image IMAGE    built from launch/gke/Dockerfile
  --claim NAME     volume claim to mount at /mnt/shared (samjax, launch/gke/storage.yaml)
  --user ID        who the pods run as (1000)
  --max-restarts N  how often an error starts a part again (3); evictions do without limit
  --dry-run        print the commands and the manifest, run nothing
END
}

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=kubernetes.sh
source "$(dirname "${BASH_SOURCE[0]}")/kubernetes.sh"
template="$(dirname "${BASH_SOURCE[0]}")/gke/generate.yaml"

name=samjax-generate type='' parts='' at_once='' image='' claim=samjax user=1000 max_restarts=3

# From --type: accelerator, and the topology of a single host.
plan() {
  find_accelerator
  case $type in
    v4 | v5p) topology=2x2x1 ;;
    *) topology=2x2 ;;
  esac
}

manifest() {
  filled "$(<"$template")" "NAME $name" "PARTS $parts" "AT_ONCE $at_once" "MAX_RESTARTS $max_restarts" \
    "ACCELERATOR $accelerator" "TOPOLOGY $topology" "USER $user" "IMAGE $image" "CLAIM $claim" \
    "ARGUMENTS $(yaml_list "${training[@]}")"
}

start() {
  local word
  plan
  check_job_options
  [[ $parts =~ ^[1-9][0-9]{0,4}$ ]] || fail "--parts is $parts; expected 1 to 99999"
  at_once=${at_once:-$parts}
  [[ $at_once =~ ^[1-9][0-9]*$ ]] || fail "--at-once is $at_once; expected 1 or more"
  ((${#training[@]})) || fail "start needs -- and the options of \`samjax generate\`"
  for word in "${training[@]}"; do
    [[ $word != --part && $word != --part=* ]] || fail "--part is added for each index; leave it out"
  done
  create_from_manifest
}

watch() {
  run kubectl get job "$name" --output=wide
  run kubectl get pods "--selector=batch.kubernetes.io/job-name=$name" --output=wide
  run kubectl logs --follow --prefix --tail=5 --max-log-requests=100 "--selector=batch.kubernetes.io/job-name=$name"
}

stop() {
  set_suspended job true
  run kubectl wait --for=delete --timeout=120s pod "--selector=batch.kubernetes.io/job-name=$name"
  note "Stopped. Nodes cost what they did: launch/gke.sh delete ends that."
}

resume() {
  set_suspended job false
}

delete() {
  run kubectl delete job "$name"
}

command=${1:-}
case $command in
  start) needed='--image --type --parts' options='--at-once --name --claim --user --max-restarts' ;;
  watch | stop | resume | delete) needed='' options=--name ;;
  -h | --help) usage && exit ;;
  '') usage >&2 && exit 2 ;;
  *) fail "$command is no command; expected start, watch, stop, resume or delete" ;;
esac
parse "$needed $options" '' "${@:2}"
# shellcheck disable=SC2086 # words
needs $needed
[[ $command == start ]] || ((${#training[@]} == 0)) || fail "$command takes nothing after --"
"$command"
