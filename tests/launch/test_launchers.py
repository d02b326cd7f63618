"""What the scripts of `launch/` say they would do, and what they do where gcloud, kubectl and Slurm are stand-ins."""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(path.name for path in LAUNCH.glob("*.sh"))

# What a shell or YAML would take for something else.
ODD = [
    "experiments/sam/my run.py",
    "--data.source",
    'it\'s "here"',
    "--x",
    "$HOME $(id) `id`",
    "&& # \\ * {a} __NAME__",
]

TPU_VM = {
    "create": ["--zone", "us-west4-a", "--type", "v5litepod-256", "--spot"],
    "setup": ["--zone", "us-west4-a", "--nfs", "10.0.0.2:/share"],
    "start": ["--zone", "us-west4-a", "--", *ODD],
    "watch": ["--zone", "us-west4-a"],
    "stop": ["--zone", "us-west4-a"],
    "resume": ["--zone", "us-west4-a", "--", *ODD],
    "delete": ["--zone", "us-west4-a"],
}
GKE = {
    "create": ["--cluster", "mine", "--zone", "us-west4-a", "--type", "v5e", "--topology", "4x4", "--slices", "2"],
    "start": ["--image", "host/samjax:1", "--type", "v5e", "--topology", "4x4", "--slices", "2", "--", *ODD],
    "watch": [],
    "stop": [],
    "resume": [],
    "delete": ["--cluster", "mine", "--zone", "us-west4-a"],
}
START = ["start", *GKE["start"]]
GENERATE = ["start", "--image", "host/samjax:1", "--type", "v5e", "--parts", "16", "--", *ODD]


def until(happened: Callable[[], bool]) -> None:
    """Wait for it, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Launch:
    """Runs a script with stand-ins first on the PATH; what they are called with is kept."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._programs = folder / "programs"
        self._programs.mkdir()
        self._calls = folder / "calls"
        for experiment in ("mine.py", "experiments/sam/vit_h.py", ODD[0]):
            (folder / experiment).parent.mkdir(parents=True, exist_ok=True)
            (folder / experiment).touch()
        for name in ("gcloud", "kubectl", "git", "srun", "scontrol", "sbatch", "samjax"):
            self.program(name, 'echo "$0 was called"; exit 99')

    def program(self, name: str, script: str) -> None:
        """Let `name` be this script of bash; "$@" is what it is called with."""
        path = self._programs / name
        keep = f'printf "%s\\n" "{name} $(printf "%q " "$@")" >>{shlex.quote(str(self._calls))}'
        path.write_text(f"#!/usr/bin/env bash\n{keep}\n{script}\n")
        path.chmod(0o755)

    def start(self, script: str, *words: str, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["bash", LAUNCH / script, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={"PATH": f"{self._programs}:{os.environ['PATH']}", "HOME": str(self.folder), **environment},
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen) -> subprocess.CompletedProcess:
        """Wait for what `start` started, not for long."""
        try:
            said, errors = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, said, errors)

    def __call__(self, script: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
        return self.end(self.start(script, *words, **environment))

    def dry(self, script: str, *words: str, **environment: str) -> list[str]:
        """Return the lines of a dry run, which starts nothing."""
        position = words.index("--") if "--" in words else len(words)
        done = self(script, *words[:position], "--dry-run", *words[position:], **environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert self.calls() == []
        return done.stdout.splitlines()

    def calls(self) -> list[list[str]]:
        """Return what the stand-ins were called with, in order."""
        return [shlex.split(line) for line in self._calls.read_text().splitlines()] if self._calls.exists() else []


@pytest.fixture
def launch(tmp_path):
    return Launch(tmp_path)


def commands(lines: list[str]) -> list[list[str]]:
    """Return the words of printed commands, as bash reads them; not comments."""
    return [shlex.split(line) for line in lines if not line.startswith("#")]


def remote(command: list[str]) -> str:
    """Return what a `gcloud ... ssh` runs on the workers."""
    (found,) = (word.removeprefix("--command=") for word in command if word.startswith("--command="))
    return found


def manifest(lines: list[str]) -> dict:
    """Return what `gke.sh start --dry-run` would apply."""
    text = "\n".join(lines)
    found = re.fullmatch(r"kubectl create --filename=- <<'END'\n(.*)\nEND", text, re.DOTALL)
    assert found, text
    return yaml.safe_load(found[1])


def container(jobset: dict) -> dict:
    (job,) = jobset["spec"]["replicatedJobs"]
    (found,) = job["template"]["spec"]["template"]["spec"]["containers"]
    return found


def pruned(jobset: dict) -> dict:
    """Return what the schemas know of a manifest."""
    from kubeflow_trainer_api.models import JobsetV1alpha2JobSet

    return JobsetV1alpha2JobSet.from_dict(jobset).to_dict()


def test_shellcheck_is_silent():
    done = subprocess.run(["shellcheck", *SCRIPTS], cwd=LAUNCH, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(("script", "names"), [("tpu_vm.sh", TPU_VM), ("gke.sh", GKE), ("slurm.sh", ())])
def test_help_names_each_command_and_option(launch, script, names):
    done = launch(script, "--help")
    assert done.returncode == 0
    for name in names:
        assert f"launch/{script} {name}" in done.stdout
    for line in re.findall(r"needed=.*", (LAUNCH / script).read_text()):
        for option in re.findall(r"--[a-z-]+", line):
            assert f" {option} " in done.stdout


@pytest.mark.parametrize(
    ("script", "words", "sentence"),
    [
        ("tpu_vm.sh", ["begin"], "begin is no command; expected create, setup, start"),
        ("tpu_vm.sh", ["create", "--zone", "z"], "create needs --type"),
        ("tpu_vm.sh", ["start", "--", "mine.py"], "start needs --zone"),
        ("tpu_vm.sh", ["start", "--zone", "z"], "start needs -- EXPERIMENT.py"),
        ("tpu_vm.sh", ["create", "--zone", "z", "--type", "v9-8"], "--type is v9-8; expected v4-N"),
        ("tpu_vm.sh", ["stop", "--zone", "z", "--spot"], "--spot is no option of stop"),
        ("tpu_vm.sh", ["stop", "--zone"], "--zone needs a value"),
        ("tpu_vm.sh", ["stop", "--zone", "--name"], "--zone needs a value"),
        ("tpu_vm.sh", ["delete", "--zone", "z", "--", "x"], "delete takes nothing after --"),
        ("gke.sh", ["stop", "--", "x"], "stop takes nothing after --"),
        ("tpu_vm.sh", ["setup", "--zone", "z", "--nfs", "a; b"], "--nfs is a; b; expected SERVER:/EXPORT"),
        ("gke.sh", ["begin"], "begin is no command; expected create, start"),
        ("gke.sh", ["delete", "--cluster", "c"], "delete needs --zone"),
        (
            "gke.sh",
            [*START[:3], "--type", "v7", "--topology", "4x4", "--", "x"],
            "--type is v7; expected v4, v5e",
        ),
        (
            "gke.sh",
            [*START[:3], "--type", "v5p", "--topology", "4x4", "--", "x"],
            "is 4x4; expected AxBxC for v5p",
        ),
        (
            "gke.sh",
            [*START[:3], "--type", "v5e", "--topology", "1x2", "--", "x"],
            "has 2 chips; hosts have four",
        ),
        (
            "gke.sh",
            [*START[:5], "--topology", "2x2", "--slices", "2", "--", "x"],
            "slices of several hosts alone",
        ),
        ("gke.sh", [*START[:7], "--slices", "two", "--", "x"], "--slices is two; expected 1 or more"),
        ("gke.sh", [*START[:7], "--name", "My_Run", "--", "x"], "--name is My_Run"),
        ("gke.sh", [*START[:5], "--topology", "16x15", "--", "mine.py"], "--topology is 16x15; v5e has 2x2, 2x4, 4x4"),
        ("gke.sh", [*START[:5], "--topology", "16x4", "--", "mine.py"], "--topology is 16x4; v5e has 2x2, 2x4, 4x4"),
        ("gke.sh", [*START[:5], "--topology", "32x32", "--", "mine.py"], "--topology is 32x32; v5e has 2x2"),
        (
            "gke.sh",
            [*START[:3], "--type", "v4", "--topology", "4x4x6", "--", "mine.py"],
            "--topology is 4x4x6; v4 has 2x2x1 and ascending AxBxC up to 12x16x16",
        ),
        (
            "gke.sh",
            [*START[:3], "--type", "v5p", "--topology", "8x4x4", "--", "mine.py"],
            "--topology is 8x4x4; v5p has 2x2x1 and ascending AxBxC up to 16x16x24",
        ),
        ("gke.sh", ["create", *GKE["create"][:7], "16x15"], "--topology is 16x15; v5e has 2x2, 2x4"),
        ("tpu_vm.sh", ["create", "--zone", "z", "--type", "v5litepod-255"], "there are slices of 1, 4, 8, 16, 32, 64"),
        (
            "tpu_vm.sh",
            ["create", "--zone", "z", "--type", "v4-7"],
            "slices of 8, 16, 32, 64 or a multiple of 128 cores",
        ),
        ("tpu_vm.sh", ["create", "--zone", "z", "--type", "v4-8192"], "a multiple of 128 cores, up to 6144"),
        ("gke.sh", [*START[:7], "--", "none.py"], "none.py: no such experiment file here or in "),
        ("gke.sh", [*START[:7], "--", "--data.source", "x"], "--data.source is no EXPERIMENT.py; it comes first"),
        ("tpu_vm.sh", ["start", "--zone", "z", "--", "none.py"], "none.py: no such experiment file here or in "),
        ("tpu_vm.sh", ["resume", "--zone", "z", "--", "none.py"], "none.py: no such experiment file here or in "),
        ("slurm.sh", ["--dry-run", "--", "none.py"], "none.py: no such experiment file, seen from "),
        ("slurm.sh", [], "nothing to train; give -- EXPERIMENT.py"),
        ("slurm.sh", ["--"], "nothing to train; give -- EXPERIMENT.py"),
        ("slurm.sh", ["--nodes=2", "--", "mine.py"], "--nodes=2 is no option of this script"),
        ("slurm.sh", ["--", "mine.py"], "not within a Slurm job; start it with sbatch"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(launch, script, words, sentence):
    done = launch(script, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"launch/{script}: ")
    assert len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr
    assert launch.calls() == []


@pytest.mark.parametrize("name", TPU_VM)
def test_tpu_vm_names_pod_and_zone_in_every_call(launch, name):
    for command in commands(launch.dry("tpu_vm.sh", name, "--name", "mine", "--project", "ours", *TPU_VM[name])):
        if command[0] == "gcloud":
            assert {"--zone=us-west4-a", "--project=ours"} <= set(command)
            assert "mine" in command or "mine:samjax.tar.gz" in command


def test_tpu_vm_create_asks_for_what_was_said_and_names_the_chips(launch):
    lines = launch.dry("tpu_vm.sh", "create", *TPU_VM["create"])
    (command,) = commands(lines)
    assert command[:5] == ["gcloud", "compute", "tpus", "queued-resources", "create"]
    assert {"--accelerator-type=v5litepod-256", "--runtime-version=v2-alpha-tpuv5-lite", "--spot"} <= set(command)
    assert lines[0].startswith("# Cost: 256 chips are billed")
    (plain,) = commands(launch.dry("tpu_vm.sh", "create", "--zone=z", "--type=v4-16"))
    assert "--spot" not in plain
    assert launch.dry("tpu_vm.sh", "create", "--zone=z", "--type=v4-16")[0].startswith("# Cost: 8 chips are billed")


@pytest.mark.parametrize("name", ["start", "resume"])
def test_tpu_vm_starts_the_same_words_everywhere(launch, name):
    (ask, start) = commands(launch.dry("tpu_vm.sh", name, *TPU_VM[name]))
    assert "--worker=all" in ask
    assert "--worker=all" in start
    words = shlex.split(remote(start))
    begin = words.index("train") + 1
    assert words[begin : words.index("--multihost")] == ODD


class Pod:
    """Workers that are folders of this machine, behind a stand-in for gcloud."""

    def __init__(self, launch: Launch, *, workers: int = 2):
        self.launch = launch
        self.workers = [launch.folder / f"worker{index}" for index in range(workers)]
        # All end when one was told to, as JAX passes a signal on.
        self.told = launch.folder / "told"
        training = f"""#!/usr/bin/env bash
            trap 'touch {self.told}' TERM
            printf '%s\\n' "$@"
            until [[ -e {self.told} ]]; do sleep 0.05; done
            echo saved"""
        for folder in self.workers:
            program = folder / "samjax" / ".venv" / "bin" / "samjax"
            program.parent.mkdir(parents=True)
            program.write_text(training)
            program.chmod(0o755)
        launch.program(
            "gcloud",
            f"""
            for word; do case $word in
              --worker=all) workers="{" ".join(map(str, self.workers))}" ;;
              --worker=0) workers={self.workers[0]} ;;
              --command=*) command=${{word#--command=}} ;;
            esac; done
            status=0
            for worker in $workers; do (cd "$worker" && bash -c "$command") || status=$?; done
            exit $status""",
        )

    def log(self, worker: int) -> list[str]:
        path = self.workers[worker] / "samjax-train" / "log"
        return path.read_text().splitlines() if path.exists() else []

    def until_logged(self, word: str, *, times: int = 1) -> None:
        """Wait until every worker has logged `word` so often."""
        until(lambda: all(self.log(worker).count(word) == times for worker in range(len(self.workers))))

    def close(self) -> None:
        for folder in self.workers:
            pid = folder / "samjax-train" / "pid"
            if pid.exists():
                subprocess.run(["kill", "-KILL", pid.read_text().strip()], capture_output=True)


@pytest.fixture
def pod(launch):
    pod = Pod(launch)
    yield pod
    pod.close()


def test_tpu_vm_starts_once_stops_on_all_and_resumes(launch, pod):
    start = ["start", "--zone", "z", "--", *ODD]
    assert launch("tpu_vm.sh", *start).returncode == 0
    pod.until_logged("--multihost")
    again = launch("tpu_vm.sh", *start)
    assert again.returncode == 1
    assert again.stdout.count("a training runs on") == 2
    assert launch("tpu_vm.sh", "stop", "--zone", "z").returncode == 0
    for worker in (0, 1):
        assert pod.log(worker) == ["train", *ODD, "--multihost", "saved"]
    pod.told.unlink()
    assert launch("tpu_vm.sh", "resume", *start[1:]).returncode == 0
    pod.until_logged("--multihost", times=2)
    assert launch("tpu_vm.sh", "stop", "--zone", "z").returncode == 0
    pod.until_logged("saved", times=2)


def test_tpu_vm_starts_nowhere_where_one_worker_is_busy(launch, pod):
    (pod.workers[1] / "samjax-train").mkdir()
    with subprocess.Popen(["flock", pod.workers[1] / "samjax-train" / "lock", "sleep", "20"]) as busy:
        until((pod.workers[1] / "samjax-train" / "lock").exists)
        done = launch("tpu_vm.sh", "start", "--zone", "z", "--", "mine.py")
        busy.kill()
    assert done.returncode == 1
    assert not (pod.workers[0] / "samjax-train" / "pid").exists()


def test_gke_create_makes_a_node_pool_a_slice_and_names_the_chips(launch):
    lines = launch.dry("gke.sh", "create", *GKE["create"], "--spot")
    assert lines[0].startswith("# Cost: 32 chips are billed")
    pools = [command for command in commands(lines) if command[2] == "node-pools"]
    assert [command[4] for command in pools] == ["slice-0", "slice-1"]
    for command in pools:
        assert {"--machine-type=ct5lp-hightpu-4t", "--num-nodes=4", "--tpu-topology=4x4", "--spot"} <= set(command)
        assert {"--cluster=mine", "--location=us-west4-a"} <= set(command)


@pytest.mark.parametrize(
    ("kind", "topology", "accelerator", "hosts"),
    [
        ("v4", "2x2x4", "tpu-v4-podslice", 4),
        ("v5e", "16x16", "tpu-v5-lite-podslice", 64),
        ("v5p", "2x2x1", "tpu-v5p-slice", 1),
        ("v6e", "2x4", "tpu-v6e-slice", 2),
    ],
)
def test_gke_manifest_is_valid_and_asks_for_the_slice(launch, kind, topology, accelerator, hosts):
    words = ["--image", "host/samjax:1", "--type", kind, "--topology", topology, "--", "mine.py"]
    jobset = manifest(launch.dry("gke.sh", "start", *words))
    assert pruned(jobset) == jobset
    assert "__" not in yaml.safe_dump(jobset)
    (job,) = jobset["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    assert spec["parallelism"] == spec["completions"] == hosts
    assert spec["template"]["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": accelerator,
        "cloud.google.com/gke-tpu-topology": topology,
    }
    assert container(jobset)["resources"]["limits"]["google.com/tpu"] == 4


def test_gke_manifest_trains_the_same_words(launch):
    """Kubernetes takes `$$` for `$`, and `$(NAME)` for a variable."""
    jobset = manifest(launch.dry("gke.sh", "start", *GKE["start"]))
    said = container(jobset)
    assert said["command"] == ["samjax", "train"]
    assert not re.search(r"(?<!\$)(\$\$)*\$\(", " ".join(said["args"]))
    assert [word.replace("$$", "$") for word in said["args"]] == [*ODD, "--multihost", "--stopped-code", "75"]


def test_gke_starts_an_interrupted_run_again_without_limit_and_a_failing_one_with(launch):
    jobset = manifest(launch.dry("gke.sh", "start", *GKE["start"]))
    (job,) = jobset["spec"]["replicatedJobs"]
    pods = job["template"]["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in pods] == ["FailJob", "FailJob"]
    assert pods[0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    words = container(jobset)["args"]
    code = words[words.index("--stopped-code") + 1]
    assert pods[1]["onExitCodes"]["values"] == [int(code)]
    assert pods[1]["onExitCodes"]["containerName"] == container(jobset)["name"]
    policy = jobset["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 3
    (rule,) = policy["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert job["template"]["spec"]["backoffLimit"] == 0
    assert job["template"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def schema_keys(value) -> list[tuple[dict, str]]:
    """Return every key within, and the mapping it is in; not labels and resources, whose names are free."""
    if isinstance(value, dict):
        here = [(value, key) for key in value if "." not in key]
        return here + [found for within in value.values() for found in schema_keys(within)]
    return [found for within in value for found in schema_keys(within)] if isinstance(value, list) else []


def test_a_misspelt_key_of_the_manifest_is_found(launch):
    lines = launch.dry("gke.sh", "start", *GKE["start"])
    number = len(schema_keys(manifest(lines)))
    assert number > 40
    for index in range(number):
        jobset = manifest(lines)
        mapping, key = schema_keys(jobset)[index]
        mapping[f"{key}s"] = mapping.pop(key)
        try:
            known = pruned(jobset)
        except ValueError:
            continue  # it must be there
        assert known != jobset, key


def test_gke_volume_claim_is_valid_and_the_one_that_pods_claim(launch):
    from kubeflow_trainer_api.models import IoK8sApiCoreV1PersistentVolumeClaim

    claim = yaml.safe_load((LAUNCH / "gke" / "storage.yaml").read_text())
    assert IoK8sApiCoreV1PersistentVolumeClaim.from_dict(claim).to_dict() == claim
    (job,) = manifest(launch.dry("gke.sh", "start", *GKE["start"]))["spec"]["replicatedJobs"]
    volume = job["template"]["spec"]["template"]["spec"]["volumes"][0]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


@pytest.mark.parametrize(
    ("script", "words"), [("gke.sh", START), ("gke_generate.sh", GENERATE)], ids=["gke", "gke_generate"]
)
def test_gke_start_hands_kubectl_the_manifest_that_a_dry_run_prints(launch, script, words):
    expected = manifest(launch.dry(script, *words))
    launch.program("kubectl", f"cat >{launch.folder}/given")
    assert launch(script, *words).returncode == 0
    assert launch.calls() == [["kubectl", "create", "--filename=-"]]
    assert yaml.safe_load((launch.folder / "given").read_text()) == expected


@pytest.mark.parametrize(("script", "kind"), [("gke.sh", "jobset"), ("gke_generate.sh", "job")])
def test_gke_stop_suspends_and_resume_does_not(launch, script, kind):
    stop, wait = commands(launch.dry(script, "stop", "--name", "mine"))
    assert stop[:4] == ["kubectl", "patch", kind, "mine"]
    assert '--patch={"spec":{"suspend":true}}' in stop
    assert wait[:2] == ["kubectl", "wait"]
    (resume,) = commands(launch.dry(script, "resume", "--name", "mine"))
    assert resume == [word.replace("true", "false") for word in stop]


@pytest.mark.parametrize("name", ["watch", "delete"])
def test_gke_says_what_it_would_do(launch, name):
    said = commands(launch.dry("gke.sh", name, *GKE[name]))
    expected = {
        "watch": [("get", "jobset"), ("get", "pods"), ("logs", "--follow")],
        "delete": [("container", "clusters")],
    }
    assert [tuple(command[1:3]) for command in said] == expected[name]


JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]"}


def test_slurm_dry_run_prints_the_command_and_the_rule(launch):
    command, rule, gpus = launch.dry("slurm.sh", "--", *ODD)
    (words,) = commands([command])
    begin = words.index("samjax")
    assert words[0] == "srun"
    assert words[begin:] == ["samjax", "train", *ODD, "--multihost", "--stopped-code", "75"]
    assert rule.startswith("# Exit code 75")
    assert "scontrol requeue" in rule
    assert "--gpu-bind=none" in gpus


def test_slurm_gives_a_task_of_a_gpu_job_one_gpu(launch):
    (words,) = commands(
        launch.dry("slurm.sh", "--", "mine.py", SLURM_GPUS_ON_NODE="8", SLURM_TASKS_PER_NODE="8(x4)")[:1]
    )
    assert "--gpu-bind=none" in words
    done = launch("slurm.sh", "--dry-run", "--", "mine.py", SLURM_GPUS_ON_NODE="8", SLURM_TASKS_PER_NODE="1(x4)")
    assert done.returncode == 2
    assert "1 tasks on a node of 8 GPUs; give sbatch --ntasks-per-node=8" in done.stderr


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (75, True), (1, False), (2, False), (137, False)])
def test_slurm_requeues_what_was_stopped_alone(launch, code, requeued):
    launch.program("srun", f"exit {code}")
    launch.program("scontrol", "")
    done = launch("slurm.sh", "--", *ODD, **JOB)
    assert done.returncode == code
    training, *others = launch.calls()
    assert training[0] == "srun"
    assert training[training.index("train") + 1 : training.index("--multihost")] == ODD
    assert others == ([["scontrol", "requeue", "7"]] if requeued else [])


def test_slurm_does_not_requeue_what_scancel_ended(launch):
    """scancel sends SIGTERM to the script as well; the training still has the time to save."""
    launch.program("srun", f"touch {launch.folder}/runs; sleep 0.5; exit 75")
    job = launch.start("slurm.sh", "--", "mine.py", **JOB)
    until((launch.folder / "runs").exists)
    job.send_signal(signal.SIGTERM)
    assert launch.end(job).returncode == 75
    assert [call[0] for call in launch.calls()] == ["srun"]


def test_slurm_warns_tasks_before_the_time_limit_and_may_be_requeued():
    """Without `B:` the signal goes to the tasks, which save, and not to the script."""
    header = re.findall(r"^#SBATCH (\S+)$", (LAUNCH / "slurm.sh").read_text(), re.MULTILINE)
    assert {"--requeue", "--open-mode=append", "--signal=TERM@300"} <= set(header)


def test_pages_give_commands_that_the_scripts_take(launch):
    """A command of a page, with its capitals filled in, is one that the script would run."""
    fill = {"ZONE": "us-west4-a", "IMAGE": "host/samjax:1", "NAME": "mine"}
    found = 0
    for page in sorted(LAUNCH.glob("*.md")):
        text = page.read_text().replace("\\\n", " ")
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                words = [fill.get(word, word) for word in shlex.split(line, comments=True)]
                if words and words[0] in ("launch/tpu_vm.sh", "launch/gke.sh", "launch/gke_generate.sh"):
                    launch.dry(words[0].removeprefix("launch/"), *words[1:])
                    found += 1
                for script in ("slurm.sh", "slurm_generate.sh"):
                    if f"launch/{script}" in words:
                        launch.dry(script, *words[words.index(f"launch/{script}") + 1 :])
                        found += 1
    assert found >= 16
