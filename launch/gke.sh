#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
Train on TPU slices of a GKE cluster, as a JobSet. Page: launch/gke.md

  launch/gke.sh create --cluster NAME --zone ZONE --type v5e --topology 16x16 [--slices N] [--spot]
  launch/gke.sh start  --image IMAGE --type v5e --topology 16x16 [--slices N] \
    -- EXPERIMENT.py --data.source /mnt/shared/sa1b --workdir /mnt/shared/vit_h
  launch/gke.sh watch
  launch/gke.sh stop
  launch/gke.sh resume
  launch/gke.sh delete --cluster NAME --zone ZONE

  create   a cluster, a node pool for each slice, and JobSet; kubectl then speaks to this cluster
  start    start `samjax train` on every host; refuses where a JobSet of this name is there
  watch    print the JobSet and its pods and follow the first host's log; Ctrl-C ends watching alone
  stop     suspend: all hosts save the same step and end; returns when they have. Nodes stay, and cost
  resume   go on from the last checkpoint
  delete   delete the cluster and its nodes, which ends their cost

  --name NAME      of the JobSet (samjax)
  --type TYPE      v4, v5e, v5p or v6e
  --topology AxB   of a slice, AxBxC for v4 and v5p; hosts of four chips
  --slices N       (1)
  --image IMAGE    built from launch/gke/Dockerfile
  --claim NAME     volume claim to mount at /mnt/shared (samjax, launch/gke/storage.yaml)
  --user ID        who the training runs as (1000)
  --max-restarts N  how often an error starts it again (3); evictions do without limit
  --spot           cheaper nodes, taken away at any time
  --project ID     instead of gcloud's own
  --dry-run        print the commands and the manifest, run nothing
END
}

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=kubernetes.sh
source "$(dirname "${BASH_SOURCE[0]}")/kubernetes.sh"
template="$(dirname "${BASH_SOURCE[0]}")/gke/jobset.yaml"
readonly jobset=https://github.com/kubernetes-sigs/jobset/releases/download/v0.11.1/manifests.yaml

name=samjax cluster='' zone='' project='' type='' topology='' slices=1 spot='' image='' claim=samjax user=1000
max_restarts=3

# gcloud_container WORD...: with the zone and project that were given.
gcloud_container() {
  run gcloud container "$@" "--location=$zone" ${project:+"--project=$project"}
}

# Whether there are slices of --type and --topology, by GKE's rules; sets sizes, which says what there are.
slice_exists() {
  local a b c most
  IFS=x read -r a b c <<<"$topology"
  if [[ -z $c ]]; then
    sizes='2x2, 2x4, 4x4, 4x8, 8x8, 8x16 and 16x16'
    [[ " ${sizes//[,and]/} " == *" $topology "* ]]
    return
  fi
  most=12x16x16
  [[ $type == v4 ]] || most=16x16x24
  sizes="2x2x1 and ascending AxBxC up to $most, of 2 and 4, or of multiples of 4"
  [[ $topology == 2x2x1 ]] && return
  ((a <= b && b <= c && a <= ${most%%x*} && b <= 16 && c <= ${most##*x})) || return
  if ((c <= 4)); then
    ((a % 2 == 0 && b % 2 == 0 && c % 2 == 0))
  else
    ((a % 4 == 0 && b % 4 == 0 && c % 4 == 0))
  fi
}

# From --type and --topology: accelerator, machine, chips and hosts of a slice.
plan() {
  local shape='^[0-9]+x[0-9]+$' expected=AxB
  find_accelerator
  case $type in
    v4) machine=ct4p-hightpu-4t ;;
    v5e) machine=ct5lp-hightpu-4t ;;
    v5p) machine=ct5p-hightpu-4t ;;
    v6e) machine=ct6e-standard-4t ;;
  esac
  if [[ $type == v4 || $type == v5p ]]; then
    shape='^[0-9]+x[0-9]+x[0-9]+$' expected=AxBxC
  fi
  [[ $topology =~ $shape ]] || fail "--topology is $topology; expected $expected for $type"
  chips=$((${topology//x/*}))
  hosts=$((chips / 4))
  ((chips > 0 && chips % 4 == 0)) || fail "--topology $topology has $chips chips; hosts have four"
  slice_exists || fail "--topology is $topology; $type has $sizes"
  [[ $slices =~ ^[1-9][0-9]*$ ]] || fail "--slices is $slices; expected 1 or more"
  ((slices == 1 || hosts > 1)) || fail "--slices $slices of one host each; GKE joins slices of several hosts alone"
}

manifest() {
  filled "$(<"$template")" "NAME $name" "MAX_RESTARTS $max_restarts" "SLICES $slices" "HOSTS $hosts" \
    "CHIPS_PER_HOST 4" "ACCELERATOR $accelerator" "TOPOLOGY $topology" "USER $user" "IMAGE $image" "CLAIM $claim" \
    "ARGUMENTS $(yaml_list "${training[@]}" --multihost --stopped-code 75)"
}

create() {
  local slice
  plan
  note "Cost: $((chips * slices)) chips are billed from here until \`launch/gke.sh delete\`, training or not."
  gcloud_container clusters create "$cluster" --machine-type=e2-standard-4 --num-nodes=1 \
    --addons=GcpFilestoreCsiDriver
  for ((slice = 0; slice < slices; slice++)); do
    # A slice of several hosts is a node pool of a topology; of one host, a node.
    local shape=("--num-nodes=$hosts")
    ((hosts == 1)) || shape+=("--tpu-topology=$topology")
    gcloud_container node-pools create "slice-$slice" "--cluster=$cluster" "--machine-type=$machine" \
      "${shape[@]}" ${spot:+--spot}
  done
  gcloud_container clusters get-credentials "$cluster"
  run kubectl apply --server-side "--filename=$jobset"
  run kubectl wait --for=condition=Available --timeout=300s --namespace=jobset-system \
    deployment/jobset-controller-manager
}

start() {
  plan
  check_job_options
  needs_experiment
  create_from_manifest
}

watch() {
  local pods="jobset.sigs.k8s.io/jobset-name=$name"
  run kubectl get jobset "$name" --output=wide
  run kubectl get pods "--selector=$pods" --output=wide
  run kubectl logs --follow --tail=40 \
    "--selector=$pods,jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0"
}

stop() {
  set_suspended jobset true
  run kubectl wait --for=delete --timeout=900s pod "--selector=jobset.sigs.k8s.io/jobset-name=$name"
  note "Stopped. Nodes cost what they did: launch/gke.sh delete ends that."
}

resume() {
  set_suspended jobset false
}

delete() {
  gcloud_container clusters delete "$cluster"
  note "Volumes stay, and cost: gcloud filestore instances list"
}

command=${1:-}
case $command in
  create) needed='--cluster --zone --type --topology' options='--slices --project' flags=--spot ;;
  start) needed='--image --type --topology' options='--slices --name --claim --user --max-restarts' flags='' ;;
  watch | stop | resume) needed='' options=--name flags='' ;;
  delete) needed='--cluster --zone' options=--project flags='' ;;
  -h | --help) usage && exit ;;
  '') usage >&2 && exit 2 ;;
  *) fail "$command is no command; expected create, start, watch, stop, resume or delete" ;;
esac
parse "$needed $options" "$flags" "${@:2}"
# shellcheck disable=SC2086 # words
needs $needed
[[ $command == start ]] || ((${#training[@]} == 0)) || fail "$command takes nothing after --"
"$command"
