"""pyproject.toml, requirements.lock, environment.yml, the Makefile and CI say the same."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()


def locked() -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", LOCK, re.M):
        versions.setdefault(name.lower(), []).append(version)
    return versions


def test_every_requirement_is_locked_at_an_allowed_version_with_hashes():
    wanted = [
        Requirement(r) for r in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    ]
    versions = locked()
    for requirement in wanted:
        found = versions.get(requirement.name.lower())
        assert found, f"{requirement} is not in requirements.lock: make lock"
        assert any(requirement.specifier.contains(v) for v in found), (
            f"{requirement} against {found}: make lock"
        )
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.M)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_lock_names_no_host():
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", LOCK)


def test_environment_yml_is_a_door_to_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert (python, pip) == ("python=3.11", "pip")
    assert packages == {"pip": ["--require-hashes -r requirements.lock"]}
    assert PROJECT["requires-python"] == ">=3.11,<3.12"


def make(*words: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(["make", "-s", *words], cwd=ROOT, capture_output=True, text=True, **more)


def test_help_documents_every_target_and_variable():
    text = (ROOT / "Makefile").read_text()
    items = re.search(r"^ITEMS := (.*)", text, re.M).group(1)
    phony = re.search(r"^\.PHONY: (.*)", text, re.M).group(1).replace("$(ITEMS)", items).split()
    shown = make("help-all").stdout
    assert [
        t for t in phony if not re.search(rf"^  {t}\s|\(also .*\b{t}\b.*\)$", shown, re.M)
    ] == []
    assert [
        v
        for v in re.findall(r"^([A-Z0-9_]+) \?=", text, re.M)
        if not re.search(rf"^  {v}\s", shown, re.M)
    ] == []
    for name in ("PROFILE", "DATA", "NIGHTS", "CLUSTER", "WORKERS", "SEEDS"):
        assert name in shown


def test_help_fits_a_screen_and_is_part_of_all_help():
    shown = make("help").stdout.splitlines()
    assert len(shown) < 40 and max(map(len, shown)) <= 100
    lines = [line for line in shown if line.startswith("  ") and not line.startswith("  ITEM ")]
    assert set(lines) <= set(make("help-all").stdout.splitlines())
    assert len(lines) == len(set(lines)) > 10
    assert any(line.startswith("  PROFILE ") for line in lines)


def test_a_missing_python_is_one_line(tmp_path):
    done = make("setup", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}")
    errors = [
        line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error:")
    ]
    assert done.returncode and len(errors) == 1 and "not found" in errors[0]


def test_a_wrong_python_is_one_line(tmp_path):
    fake = tmp_path / "python3.8"
    fake.write_text(
        "#!/bin/sh\necho 'error: /x/python3.8 is Python 3.8; this project needs 3.11' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    done = make("setup", f"PYTHON={fake}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode
    assert sum(line.startswith("error:") for line in done.stderr.splitlines()) == 1


@pytest.mark.skipif(not shutil.which("flock"), reason="no flock(1) on this machine")
def test_two_makes_build_one_environment(tmp_path):
    fake, venv = tmp_path / "python3.11", tmp_path / "venv"
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in "-m venv "*) echo built >> {tmp_path}/log; sleep 1; '
        f"mkdir -p {venv}/bin; "
        f"cp {fake} {venv}/bin/python;; esac\n"
    )
    fake.chmod(0o755)
    command = ["make", "-s", "setup", f"PYTHON={fake}", f"VENV={venv}"]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in "ab"]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (tmp_path / "log").read_text() == "built\n" and (venv / ".ready").is_file()


def test_make_test_fails_where_a_second_reproduce_is_not_idle(tmp_path):
    """The lines that it looks for, said by a stand-in for the environment's Python."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ruff").symlink_to("/bin/true")
    python = tmp_path / "bin" / "python"
    (tmp_path / ".ready").touch()
    for said, code in (
        ("0 runs computed, 3 found on disk", 0),
        ("2 runs computed, 1 found on disk", 1),
        ("0 runs computed, 3 found on disk\nresults/smoke/notebooks/00_tour.ipynb: executed", 1),
        ("something else", 1),
    ):
        python.write_text(f"#!/bin/sh\necho '{said}'\n")
        python.chmod(0o755)
        done = make("test", f"VENV={tmp_path}")
        assert bool(done.returncode) == bool(code), (said, done.stdout, done.stderr)
        assert ("trained or executed something again" in done.stdout) == bool(code)


def test_ci_calls_the_readmes_test_command():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()
