# Read by gke.sh and gke_generate.sh, after common.sh: what both do with kubectl.
# shellcheck shell=bash disable=SC2034,SC2154

# From --type: what GKE calls its chips.
find_accelerator() {
  case $type in
    v4) accelerator=tpu-v4-podslice ;;
    v5e) accelerator=tpu-v5-lite-podslice ;;
    v5p) accelerator=tpu-v5p-slice ;;
    v6e) accelerator=tpu-v6e-slice ;;
    *) fail "--type is $type; expected v4, v5e, v5p or v6e" ;;
  esac
}

# End with a sentence where an option that both manifests hold is not what it must be.
check_job_options() {
  [[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] || fail "--name is $name; expected up to 40 of a-z, 0-9 and -"
  [[ $max_restarts =~ ^[0-9]+$ ]] || fail "--max-restarts is $max_restarts; expected a number"
  [[ $user =~ ^[0-9]+$ ]] || fail "--user is $user; expected a number"
}

# Create what the function manifest prints; or, with --dry-run, print it.
create_from_manifest() {
  if [[ $dry_run == yes ]]; then
    echo "kubectl create --filename=- <<'END'"
    manifest
    echo END
  else
    manifest | run kubectl create --filename=-
  fi
}

# set_suspended KIND true|false
set_suspended() {
  run kubectl patch "$1" "$name" --type=merge "--patch={\"spec\":{\"suspend\":$2}}"
}
