# Read by tpu_vm.sh, gke.sh and gke_generate.sh: options, and how they say what they do.
# shellcheck shell=bash disable=SC2034,SC2154

((BASH_VERSINFO[0] >= 5)) || { echo "${0##*/} needs bash 5 or later, this is $BASH_VERSION" >&2 && exit 2; }

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dry_run=no
training=() # what stands after --
command=     # the script's first word

fail() {
  echo "launch/${0##*/}: $*" >&2
  exit 2
}

# parse "--OPTIONS --WITH --A-VALUE" "--FLAGS" WORD...: set variables named like the options.
parse() {
  local valued=$1 flags="$2 --dry-run" variable
  shift 2
  while (($#)); do
    if [[ $1 == --*=* ]]; then
      set -- "${1%%=*}" "${1#*=}" "${@:2}"
    fi
    variable=${1#--} && variable=${variable//-/_}
    if [[ $1 == -- ]]; then
      training=("${@:2}")
      return
    elif [[ $1 == --help || $1 == -h ]]; then
      usage && exit
    elif [[ " $flags " == *" $1 "* ]]; then
      printf -v "$variable" yes
    elif [[ " $valued " == *" $1 "* ]]; then
      [[ $# -gt 1 && -n $2 && $2 != -* ]] || fail "$1 needs a value"
      printf -v "$variable" %s "$2"
      shift
    else
      fail "$1 is no option of $command; it takes $valued $flags"
    fi
    shift
  done
}

# needs --OPTION...: end with a sentence where one has no value.
needs() {
  local option variable
  for option; do
    variable=${option#--} && variable=${variable//-/_}
    [[ -n ${!variable} ]] || fail "$command needs $option"
  done
}

# needs_experiment: end with a sentence where what stands after -- begins with no experiment that is there.
needs_experiment() {
  local file=${training[0]:-}
  [[ -n $file ]] || fail "$command needs -- EXPERIMENT.py and its options"
  [[ $file == *.py ]] || fail "$file is no EXPERIMENT.py; it comes first after --"
  if [[ $file == /* ]]; then
    [[ -f $file ]] || note "$file is not on this machine: see to it that the workers have it"
  else
    [[ -f $file || -f $repository/$file ]] || fail "$file: no such experiment file here or in $repository"
  fi
}

# Words as a line of shell, quoted where they must be.
quoted() {
  local word line=
  for word; do
    [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word=\'${word//\'/\'\\\'\'}\'
    line+=" $word"
  done
  echo "${line# }"
}

# Words as a YAML list. Kubernetes takes $(NAME) in them for a variable, and $$ for $.
yaml_list() {
  local word list=
  for word; do
    word=${word//\\/\\\\} word=${word//\"/\\\"} word=${word//$'\n'/\\n} word=${word//$'\t'/\\t} word=${word//\$/\$\$}
    list+=", \"$word\""
  done
  echo "[${list#, }]"
}

# filled TEXT "NAME VALUE"...: the text, with each __NAME__ replaced in this order: give last what may hold such names.
filled() {
  local text=$1 placeholder value
  for placeholder in "${@:2}"; do
    value=${placeholder#* }
    text=${text//"__${placeholder%% *}__"/"$value"}
  done
  echo "$text"
}

# Run a command, printed first; or, with --dry-run, print it alone.
run() {
  if [[ $dry_run == yes ]]; then
    quoted "$@"
  else
    echo "+ $(quoted "$@")" >&2
    "$@"
  fi
}

# Say something; with --dry-run as a comment, so that what is printed stays a script.
note() {
  if [[ $dry_run == yes ]]; then
    echo "# $*"
  else
    echo "$*"
  fi
}
