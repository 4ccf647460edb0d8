"""Workflows, formula and container file: their syntax, and that what they run is there. Nothing here runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parent.parent.parent
WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_one(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow.keys() >= {"name", "permissions", "jobs", True}  # `on` is a boolean of YAML 1.1
    for job in workflow["jobs"].values():
        assert "uses" in job or (job["runs-on"] and job["steps"])
        for needed in [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", []):
            assert needed in workflow["jobs"]
        if job.get("uses", "").startswith("./"):
            assert (PROJECT / job["uses"]).is_file()
        for step in job.get("steps", []):
            assert ("uses" in step) != ("run" in step)


def test_every_script_that_they_run_is_there() -> None:
    for path in WORKFLOWS:
        for script in re.findall(r"(?:scripts|tests|\.ci)/[\w./-]+", path.read_text("utf-8")):
            assert (PROJECT / script).exists(), f"{path.name} runs {script}"


def test_the_formula_is_ruby() -> None:
    if shutil.which("ruby") is None:
        pytest.skip("ruby is not installed")
    subprocess.run(["ruby", "-c", PROJECT / "packaging/turboprop-local.rb"], check=True, capture_output=True)


def test_the_formula_installs_what_a_wheel_brings() -> None:
    text = (PROJECT / "packaging/turboprop-local.rb").read_text("utf-8")
    brought = re.findall(r'libexec/"(share/[^"]+)"', text)
    assert len(brought) == 4
    assert all((PROJECT / file).is_file() for file in brought)
