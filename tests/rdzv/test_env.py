"""`rdzv env`: what it prints, its exit status, and what shells make of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest
from rdzv import _command, _env
from rdzv_scheduler import Job

NO_JOB, BAD_INPUT, FAULT = 1, 2, 70
SHELLS = [shell for shell in ("sh", "bash", "dash") if shutil.which(shell)]
SLURM = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[08-10]", "SLURM_NODEID": "1"}
ELASTIC = {"PET_RDZV_ENDPOINT": "[2001:db8::1]:29400", "PET_NNODES": "1:4", "PET_RDZV_ID": "456"}


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Call `rdzv env` with these variables: its exit status, what it printed, what it said of errors."""

    def run(variables: dict[str, str], *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(os, "environ", variables)
        status = _command.main(["env", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


AS_SHELL = """\
export PET_RDZV_BACKEND=rdzv
export PET_RDZV_ENDPOINT=node08:24045
export PET_RDZV_ID=4711
export PET_NNODES=3
"""
ELASTIC_AS_SHELL = """\
export PET_RDZV_BACKEND=c10d
export PET_RDZV_ENDPOINT='[2001:db8::1]:29400'
export PET_RDZV_ID=456
export PET_NNODES=1:4
"""
AS_ARGS = "--rdzv-backend=rdzv --rdzv-endpoint=node08:24045 --rdzv-id=4711 --nnodes=3\n"
ELASTIC_AS_ARGS = "--rdzv-backend=c10d '--rdzv-endpoint=[2001:db8::1]:29400' --rdzv-id=456 --nnodes=1:4\n"


@pytest.mark.parametrize(
    ("variables", "arguments", "expected"),
    [
        (SLURM, [], AS_SHELL),
        (ELASTIC, ["--backend=c10d"], ELASTIC_AS_SHELL),
        (SLURM, ["--format=args"], AS_ARGS),
        (ELASTIC, ["--format", "args", "--backend", "c10d"], ELASTIC_AS_ARGS),
    ],
)
def test_a_job_is_printed_for_a_shell(env: Any, variables: dict[str, str], arguments: list[str], expected: str) -> None:
    """As variables or as options of torchrun, quoted where they must be."""
    assert env(variables, *arguments) == (0, expected, "")


def test_a_job_is_printed_as_an_object(env: Any) -> None:
    """With all that is known."""
    status, out, err = env(SLURM, "--format=json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "scheduler": "slurm",
        "endpoint": "node08:24045",
        "host": "node08",
        "port": 24045,
        "nodes": ["node08", "node09", "node10"],
        "nnodes": 3,
        "min_nodes": 3,
        "node_rank": 1,
        "run_id": "4711",
    }


HALF = """\
rdzv: SLURM_JOB_ID is set, but SLURM_JOB_NODELIST is not.
  Some of the job's variables are missing: pass on all of them, or none.
"""
NOTHING = """\
rdzv: No scheduler has set a variable that rdzv knows.
  Run it in a job, or write the endpoint yourself.
"""


@pytest.mark.parametrize(
    ("variables", "expected_status", "message"), [({}, NO_JOB, NOTHING), ({"SLURM_JOB_ID": "4711"}, BAD_INPUT, HALF)]
)
def test_without_a_job_eval_fails_too(env: Any, variables: dict[str, str], expected_status: int, message: str) -> None:
    """The shell is given `false`: an eval of nothing would succeed. The other formats get nothing."""
    assert env(variables) == (expected_status, "false\n", message)
    for format_ in ("args", "json"):
        assert env(variables, f"--format={format_}") == (expected_status, "", message)


@pytest.mark.parametrize("arguments", [["--format=csh"], ["--format=shell", "--format=json"], ["node0"]])
def test_bad_arguments_are_refused(arguments: list[str]) -> None:
    """As those of `check` are."""
    with pytest.raises(SystemExit) as stop:
        _command.main(["env", *arguments])
    assert stop.value.code == BAD_INPUT


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_what_cannot_be_written_is_told() -> None:
    """The status is that of a fault."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rdzv", "env"], env={**os.environ, **SLURM}, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == FAULT
    assert b"The environment cannot be written" in done.stderr


# --- shells

HOSTILE = [
    "a b",
    "$(touch hit)",
    "`touch hit`",
    "'; touch hit; '",
    '"; touch hit; "',
    "\\'; touch hit; \\'",
    "$HOME ${HOME} ~ * ? [a-z] !! #",
    "& | ; < > ( ) { }",
    "-n",
    "--help",
    "é ƒ",
    "%s\\n",
]


@pytest.mark.skipif(not SHELLS, reason="this system has no shell of POSIX")
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_eval_gives_the_values_and_runs_nothing(shell: str, hostile: str, tmp_path: Any) -> None:
    """Whatever an id, or the name of a back end, has in it."""
    job = Job("torchrun", "fe80::1%eth0", "", 4, 1, None, hostile, 29400)
    expected = [hostile, "[fe80::1%eth0]:29400", hostile, "1:4"]
    script = f"{_env.as_shell(job, hostile)}\n" + "".join(
        f'printf "%s\\0" "$PET_{name}"\n' for name in ("RDZV_BACKEND", "RDZV_ENDPOINT", "RDZV_ID", "NNODES")
    )
    assert said(shell, tmp_path, script) == expected
    options = ["--rdzv-backend=", "--rdzv-endpoint=", "--rdzv-id=", "--nnodes="]
    script = 'list() { for word in "$@"; do printf "%s\\0" "$word"; done; }\neval "list $1"\n'
    words = said(shell, tmp_path, script, _env.as_args(job, hostile))
    assert words == [option + value for option, value in zip(options, expected, strict=True)]
    assert list(tmp_path.iterdir()) == []


def said(shell: str, folder: Any, script: str, *arguments: str) -> list[str]:
    """What the script printed, each piece ended by a zero."""
    command = [shell, "-c", 'eval "$0"', script, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.split("\0")[:-1]


@pytest.mark.skipif(not SHELLS, reason="this system has no shell of POSIX")
@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_that_ends_at_errors_ends_without_a_job(shell: str, tmp_path: Any) -> None:
    """As it stands in the script of a job, with the command itself."""
    rdzv = f'"{sys.executable}" -m rdzv env'
    script = f'set -e\neval "$({rdzv})"\necho "$PET_RDZV_ENDPOINT"'
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PET_", "SLURM"))}
    for variables, status, out in ((SLURM, 0, "node08:24045\n"), ({}, 1, "")):
        command = [shell, "-c", script]
        done = subprocess.run(
            command, env={**environ, **variables}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (status, out)
