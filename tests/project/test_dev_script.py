"""./dev: what it says when something is missing, and how it knows what is installed and locked."""

import importlib.machinery
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "dev"


@pytest.fixture
def dev(tmp_path: Path) -> ModuleType:
    """The script of a checkout that has lock files and nothing else."""
    for name in ("dev", "pyproject.toml", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    loader = importlib.machinery.SourceFileLoader("dev_script", str(tmp_path / "dev"))
    spec = importlib.util.spec_from_loader("dev_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def pretend_installed(dev: ModuleType, *names: str) -> None:
    """Leave what a finished installation leaves."""
    dev.PYTHON.parent.mkdir(parents=True, exist_ok=True)
    dev.PYTHON.symlink_to(sys.executable)
    dev.STAMP.write_text(json.dumps({name: dev.stamp_of(name) for name in names}))


def run_dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, DEV, *arguments], capture_output=True, text=True, check=False)


def test_it_can_be_executed() -> None:
    assert os.access(DEV, os.X_OK)
    assert DEV.read_text().startswith("#!/usr/bin/env python3\n")


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"]])
def test_help_lists_every_command(dev: ModuleType, arguments: list[str]) -> None:
    said = run_dev(*arguments)
    assert said.returncode == 0
    assert all(f"./dev {command}" in said.stdout for command in dev.COMMANDS)


@pytest.mark.processes
def test_an_unknown_command_is_told_and_exits_with_2() -> None:
    said = run_dev("ruin")
    assert (said.returncode, said.stdout) == (2, "")
    assert "./dev help" in said.stderr


@pytest.mark.processes
def test_an_older_python_is_told_before_anything_it_can_not_read() -> None:
    older = "import sys; sys.version_info = (3, 8, 0); sys.version = '3.8.0 (x)'; exec(open('dev').read())"
    said = subprocess.run(
        [sys.executable, "-c", older], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert said.returncode == 1
    assert said.stderr.startswith("Relay needs Python 3.11 or newer; this is 3.8.0.")


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_venv_is_told_what_to_install(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(dev.importlib.util, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        dev.make_venv()


def test_what_is_installed_is_not_installed_again(dev: ModuleType) -> None:
    pretend_installed(dev, dev.RUNTIME)
    assert dev.is_current(dev.RUNTIME)
    assert not dev.is_current(dev.DEVELOPMENT)
    dev.ensure(dev.RUNTIME)
    assert not dev.STATE.exists()


def test_a_changed_lock_a_broken_stamp_and_a_lost_python_each_call_for_installation(dev: ModuleType) -> None:
    pretend_installed(dev, dev.RUNTIME)
    lock = dev.ROOT / dev.RUNTIME
    before = lock.read_text()
    lock.write_text(before + "\n")
    assert not dev.is_current(dev.RUNTIME)
    lock.write_text(before)
    assert dev.is_current(dev.RUNTIME)
    stamp = dev.STAMP.read_text()
    for broken in ("{", "[]", ""):
        dev.STAMP.write_text(broken)
        assert not dev.is_current(dev.RUNTIME)
    dev.STAMP.write_text(stamp)
    dev.PYTHON.unlink()
    assert not dev.is_current(dev.RUNTIME)


@pytest.mark.processes
def test_a_half_made_venv_is_not_installed_into(dev: ModuleType) -> None:
    assert not dev.has_working_pip()
    pretend_installed(dev)
    assert not dev.has_working_pip()


@pytest.mark.processes
@pytest.mark.timeout(180)
def test_a_half_made_venv_is_made_anew_and_two_at_once_do_it_once(dev: ModuleType) -> None:
    for name in (dev.RUNTIME, dev.DEVELOPMENT):
        (dev.ROOT / name).write_text("")
    (dev.VENV / "bin").mkdir(parents=True)
    dev.PYTHON.write_text("half")
    command = [sys.executable, dev.ROOT / "dev", "bench", "all"]
    (dev.ROOT / "bench").mkdir()
    (dev.ROOT / "bench" / "nothing.py").write_text("")
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=170) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    said = "".join(out for out, _ in outputs)
    assert said.count("Making .venv") == said.count("Installing") == 1
    assert dev.is_current(dev.DEVELOPMENT)
    assert dev.is_current(dev.RUNTIME)
    assert stat.S_IMODE(dev.STATE.stat().st_mode) == 0o700


def test_the_locks_of_this_checkout_are_fresh(dev: ModuleType) -> None:
    name, said, _ = dev.locks_result()
    assert (name, said) == ("locks", "")


def test_a_changed_dependency_makes_the_locks_stale_and_other_changes_do_not(dev: ModuleType) -> None:
    project = dev.ROOT / "pyproject.toml"
    text = project.read_text()
    project.write_text(text.replace("line-length = 110", "line-length = 100"))
    assert dev.locks_result()[1] == ""
    project.write_text(text.replace('"flask>=', '"flask>'))
    assert "requirements.txt and requirements-dev.txt" in dev.locks_result()[1]


def test_a_benchmark_is_listed_by_its_name(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    (dev.ROOT / "bench").mkdir()
    (dev.ROOT / "bench" / "claim.py").write_text("")
    (dev.ROOT / "bench" / "_support.py").write_text("")
    assert dev.bench([]) == 0
    assert capsys.readouterr().out.split() == ["./dev", "bench", "NAME,", "or", "all:", "claim"]
    assert dev.bench(["clam"]) == 2
    assert "claim" in capsys.readouterr().err


@pytest.mark.processes
def test_all_benchmarks_are_those_that_measure_and_not_the_soak(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (dev.ROOT / "bench").mkdir()
    for name, source in {"claim": "", "soak": "raise SystemExit(3)", "support_world": "nonsense"}.items():
        (dev.ROOT / "bench" / f"{name}.py").write_text(source)
    pretend_installed(dev, dev.DEVELOPMENT)
    monkeypatch.chdir(dev.ROOT)
    assert dev.bench([]) == 0
    assert capsys.readouterr().out.split()[-2:] == ["claim", "soak"]
    assert dev.bench(["all"]) == 0
    (dev.ROOT / "bench" / "claim.py").write_text("raise SystemExit(3)")
    assert dev.bench(["all"]) == 1
    (dev.ROOT / "bench" / "soak.py").write_text("")
    assert dev.bench(["soak"]) == 0
    assert dev.bench(["support_world"]) == 2
