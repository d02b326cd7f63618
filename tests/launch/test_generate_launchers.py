"""What the launchers of `samjax generate` say they would do, and what they do with stand-ins for a cluster."""

import os
import re
import shlex
import subprocess

import pytest
import yaml
from test_launchers import LAUNCH, Launch, commands, manifest, schema_keys, until

# What a shell or YAML would take for something else.
ODD = ["--images", "my photos/*.jpg", 'it\'s "here"', "--out", "$HOME $(id) `id`", "&& # \\ * {a} __NAME__"]
GKE = ["start", "--image", "host/samjax:1", "--type", "v5e", "--parts", "16"]
TASK = {"SLURM_JOB_ID": "70", "SLURM_ARRAY_JOB_ID": "69", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_NODELIST": "node1"}


@pytest.fixture
def launch(tmp_path):
    return Launch(tmp_path)


@pytest.mark.parametrize("script", ["slurm_generate.sh", "gke_generate.sh"])
def test_help_names_each_option(launch, script):
    done = launch(script, "--help")
    assert done.returncode == 0
    options = set(re.findall(r"needed='(.*?)' options='(.*?)'", (LAUNCH / script).read_text()))
    for option in [word for words in options for text in words for word in text.split()] or ["--parts", "--dry-run"]:
        assert f" {option} " in done.stdout


@pytest.mark.parametrize(
    ("script", "words", "sentence"),
    [
        ("slurm_generate.sh", [], "nothing to generate; give -- and the options"),
        ("slurm_generate.sh", ["--", "--images", "x"], "--parts is missing"),
        ("slurm_generate.sh", ["--parts", "0", "--", "--images", "x"], "--parts is 0; expected 1 or more"),
        ("slurm_generate.sh", ["--parts"], "--parts needs a value"),
        ("slurm_generate.sh", ["--array=1-4", "--", "x"], "--array=1-4 is no option of this script"),
        ("slurm_generate.sh", ["--parts=4", "--", "--images", "x"], "not within a job array; start it with sbatch"),
        ("slurm_generate.sh", ["--parts=4", "--", "--part", "1/4"], "--part is added for each task"),
        ("gke_generate.sh", ["begin"], "begin is no command; expected start, watch"),
        ("gke_generate.sh", GKE[:-2], "start needs --parts"),
        ("gke_generate.sh", GKE, "start needs -- and the options of `samjax generate`"),
        ("gke_generate.sh", [*GKE[:-1], "none", "--", "x"], "--parts is none; expected 1 to 99999"),
        ("gke_generate.sh", [*GKE[:4], "v9", "--parts", "2", "--", "x"], "--type is v9; expected v4, v5e"),
        ("gke_generate.sh", [*GKE, "--at-once", "0", "--", "x"], "--at-once is 0; expected 1 or more"),
        ("gke_generate.sh", [*GKE, "--", "--part=1/16"], "--part is added for each index"),
        ("gke_generate.sh", ["stop", "--", "x"], "stop takes nothing after --"),
        ("gke_generate.sh", ["stop", "--parts", "3"], "--parts is no option of stop"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(launch, script, words, sentence):
    done = launch(script, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"launch/{script}: ")
    assert len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr
    assert launch.calls() == []


@pytest.mark.parametrize("number", ["0", "5", "3a"])
def test_slurm_refuses_a_task_that_is_no_part(launch, number):
    """Arrays begin with 0 where nobody says otherwise."""
    done = launch("slurm_generate.sh", "--parts", "4", "--", "x", **{**TASK, "SLURM_ARRAY_TASK_ID": number})
    assert done.returncode == 2
    assert f"task {number} of the array is none of 4 parts; give sbatch --array=1-4" in done.stderr


def test_slurm_gives_each_task_its_part(launch):
    line, rule = launch.dry("slurm_generate.sh", "--parts", "16", "--", *ODD)
    assert shlex.split(line) == ["samjax", "generate", *ODD, "--part", "$SLURM_ARRAY_TASK_ID/16"]
    assert "scontrol requeue" in rule
    launch.program("samjax", "exit 0")
    assert launch("slurm_generate.sh", "--parts", "16", "--", *ODD, **TASK).returncode == 0
    assert launch.calls() == [["samjax", "generate", *ODD, "--part", "3/16"]]


@pytest.mark.parametrize("code", [0, 1, 2, 137])
def test_slurm_does_not_requeue_what_has_ended(launch, code):
    launch.program("samjax", f"exit {code}")
    assert launch("slurm_generate.sh", "--parts", "16", "--", "x", **TASK).returncode == code
    assert [call[0] for call in launch.calls()] == ["samjax"]


@pytest.mark.parametrize(("signal", "requeued"), [("USR1", True), ("TERM", False)])
def test_slurm_requeues_at_the_time_limit_and_not_after_scancel(launch, signal, requeued):
    """Either way samjax is ended before the script: it would go on beside the next."""
    ends = f"trap 'sleep 0.3; touch {launch.folder}/ended; exit 143' TERM"
    launch.program("samjax", f"{ends}; touch {launch.folder}/runs; for _ in $(seq 200); do sleep 0.05; done")
    launch.program("scontrol", f"[[ -e {launch.folder}/ended ]]")
    job = launch.start("slurm_generate.sh", "--parts", "16", "--", "x", **TASK)
    until((launch.folder / "runs").exists)
    subprocess.run(["kill", f"-{signal}", str(job.pid)], check=True)
    assert launch.end(job).returncode == 143
    assert (launch.folder / "ended").exists()
    assert launch.calls()[1:] == ([["scontrol", "requeue", "69_3"]] if requeued else [])


def test_slurm_warns_the_script_before_the_time_limit():
    """With `B:` the signal goes to the script, and is another than that of scancel."""
    header = re.findall(r"^#SBATCH (\S+)$", (LAUNCH / "slurm_generate.sh").read_text(), re.MULTILINE)
    assert {"--requeue", "--open-mode=append", "--signal=B:USR1@60", "--output=%x-%A_%a.log"} <= set(header)


def job_of(launch, *words: str) -> dict:
    return manifest(launch.dry("gke_generate.sh", *GKE, *words, "--", *ODD))


def pruned(job: dict) -> dict:
    """Return what the schemas know of a manifest."""
    from kubeflow_trainer_api.models import IoK8sApiBatchV1Job

    return IoK8sApiBatchV1Job.from_dict(job).to_dict()


@pytest.mark.parametrize(
    ("kind", "accelerator", "topology"),
    [
        ("v4", "tpu-v4-podslice", "2x2x1"),
        ("v5e", "tpu-v5-lite-podslice", "2x2"),
        ("v5p", "tpu-v5p-slice", "2x2x1"),
        ("v6e", "tpu-v6e-slice", "2x2"),
    ],
)
def test_gke_manifest_is_valid_and_has_an_index_for_each_part(launch, kind, accelerator, topology):
    words = ["start", "--image", "host/samjax:1", "--type", kind, "--parts", "16", "--at-once", "4", "--", *ODD]
    job = manifest(launch.dry("gke_generate.sh", *words))
    assert pruned(job) == job
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 16, 4)
    assert spec["backoffLimitPerIndex"] == 3
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    labels = {"cloud.google.com/gke-tpu-accelerator": accelerator, "cloud.google.com/gke-tpu-topology": topology}
    assert spec["template"]["spec"]["nodeSelector"] == labels
    assert job_of(launch)["spec"]["parallelism"] == 16


def test_a_misspelt_key_of_the_manifest_is_found(launch):
    text = yaml.safe_dump(job_of(launch))
    number = len(schema_keys(yaml.safe_load(text)))
    assert number > 25
    for index in range(number):
        job = yaml.safe_load(text)
        mapping, key = schema_keys(job)[index]
        mapping[f"{key}s"] = mapping.pop(key)
        try:
            known = pruned(job)
        except ValueError:
            continue  # it must be there
        assert known != job, key


def test_gke_gives_each_index_its_part(launch):
    """As Kubernetes hands the words to bash: `$$` is `$`, and nothing of `$(NAME)` is left to it."""
    (container,) = job_of(launch)["spec"]["template"]["spec"]["containers"]
    words = [*container["command"], *container["args"]]
    assert not any(re.search(r"(?<!\$)(\$\$)*\$\(", word) for word in words)
    launch.program("samjax", "")
    environment = {"JOB_COMPLETION_INDEX": "2", "PATH": f"{launch.folder / 'programs'}:{os.environ['PATH']}"}
    subprocess.run([word.replace("$$", "$") for word in words], env=environment, check=True)
    assert launch.calls() == [["samjax", "generate", *ODD, "--part", "3/16"]]


def test_gke_delete_leaves_the_cluster_and_watch_follows(launch):
    assert commands(launch.dry("gke_generate.sh", "delete")) == [["kubectl", "delete", "job", "samjax-generate"]]
    watch = commands(launch.dry("gke_generate.sh", "watch"))
    assert [command[1] for command in watch] == ["get", "get", "logs"]
