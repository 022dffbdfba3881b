"""The environment bootstrap: which interpreter it takes, and when it builds again.

Candidates are small shell scripts that answer the probe as an interpreter of some version would,
or fail as the launchers of version managers do. Nothing is installed.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make_env(tmp_path, monkeypatch):
    """The script as a module of its own, whose repository is an empty folder."""
    spec = importlib.util.spec_from_file_location("make_env", ROOT / "tools" / "make_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path / "repository")
    return module


@pytest.fixture
def machine(tmp_path):
    """Environment of a machine without any Python: an empty PATH folder and home."""
    for name in ("bin", "pyenv"):
        (tmp_path / name).mkdir()
    return {"PATH": str(tmp_path / "bin"), "PYENV_ROOT": str(tmp_path / "pyenv")}


def script(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body + "\n")
    path.chmod(0o755)
    return str(path)


def interpreter(path, version, implementation="CPython", free_threaded=False):
    """A script that answers the probe with these facts and its own path."""
    facts = json.dumps([implementation, list(version), free_threaded, str(path)])
    return script(path, f"echo '{facts}'")


def dead_shim(path):
    return script(path, "echo 'pyenv: command not found' >&2; exit 127")


# ------------------------------------------------------------------ one candidate


def test_probe_reads_the_interpreter_that_runs_these_tests(make_env):
    version, path, why = make_env.probe(sys.executable)
    assert version == sys.version_info[:2]
    assert Path(path).exists()
    assert why == ""


def test_probe_names_the_interpreter_behind_a_virtual_environment(make_env):
    # Otherwise an activated .venv would be asked to replace itself.
    assert make_env.probe(sys.executable)[1] == sys._base_executable


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (dead_shim, "does not run (pyenv: command not found)"),
        (lambda path: interpreter(path, (3, 11)), "is 3.11"),
        (lambda path: interpreter(path, (3, 15)), "is 3.15"),
        (lambda path: interpreter(path, (2, 7)), "is 2.7"),
        (lambda path: interpreter(path, (3, 12), "PyPy"), "is PyPy 3.12, not CPython"),
        (lambda path: interpreter(path, (3, 13), free_threaded=True), "is the free-threaded 3.13"),
        (lambda path: script(path, "echo hello"), "is not a Python"),
        (lambda path: script(path, ":"), "is not a Python"),
        (str, "does not run (No such file or directory)"),
    ],
)
def test_probe_says_why_a_candidate_will_not_do(make_env, tmp_path, make, why):
    assert make_env.probe(make(tmp_path / "python")) == (None, None, why)


def test_probe_gives_up_on_a_candidate_that_hangs(make_env, tmp_path):
    ok, _, why = make_env.run_quiet([script(tmp_path / "python", "exec sleep 30")], timeout=0.2)
    assert not ok
    assert why == "no answer within 0.2 s"


# ------------------------------------------------------------------ which one is taken


def test_a_dead_shim_and_an_old_python3_are_passed_over(make_env, machine, tmp_path):
    dead_shim(tmp_path / "bin" / "python3.13")
    interpreter(tmp_path / "bin" / "python3", (3, 11))
    wanted = interpreter(tmp_path / "pyenv" / "versions" / "3.12.1" / "bin" / "python3", (3, 12))
    tried = []
    assert make_env.find_python(machine, tried) == wanted
    assert len(tried) == 2


def test_a_dead_shim_does_not_hide_one_later_on_path(make_env, machine, tmp_path):
    dead_shim(tmp_path / "bin" / "python3.13")
    wanted = interpreter(tmp_path / "later" / "python3.13", (3, 13))
    machine["PATH"] += f":{tmp_path / 'later'}"
    assert make_env.find_python(machine, []) == wanted


def test_3_13_before_3_12_before_3_14(make_env, machine, tmp_path):
    found = {
        minor: interpreter(tmp_path / "bin" / f"python3.{minor}", (3, minor))
        for minor in (12, 13, 14)
    }
    for minor in (13, 12, 14):
        assert make_env.find_python(machine, []) == found[minor]
        Path(found[minor]).unlink()
    assert make_env.find_python(machine, []) is None


def test_the_newest_serves_only_when_no_preferred_one_is_anywhere(make_env, machine, tmp_path):
    newest = interpreter(tmp_path / "bin" / "python3", (3, 14))
    assert make_env.find_python(machine, []) == newest
    built = interpreter(tmp_path / "pyenv" / "versions" / "3.12.9" / "bin" / "python3", (3, 12))
    assert make_env.find_python(machine, []) == built


def test_the_named_interpreter_comes_first(make_env, machine, tmp_path):
    interpreter(tmp_path / "bin" / "python3.13", (3, 13))
    named = interpreter(tmp_path / "mine" / "python", (3, 14))
    machine["NSSI_META_PYTHON"] = named
    assert make_env.find_python(machine, []) == named


def test_a_named_interpreter_that_will_not_do_is_said_and_replaced(
    make_env, machine, tmp_path, capsys
):
    other = interpreter(tmp_path / "bin" / "python3.13", (3, 13))
    machine["NSSI_META_PYTHON"] = str(tmp_path / "nowhere" / "python3")
    assert make_env.find_python(machine, []) == other
    said = capsys.readouterr().out
    assert machine["NSSI_META_PYTHON"] in said
    assert "does not run" in said


def test_pyenv_versions_are_sorted_as_numbers(make_env, machine, tmp_path):
    for name in ("3.9.18", "3.12.1", "3.12.10", "3.13.0", "2.7.18"):
        (tmp_path / "pyenv" / "versions" / name).mkdir(parents=True)
    names = [Path(path).parts[-3] for path in make_env.pyenv_pythons(machine)]
    assert names == ["3.13.0", "3.12.10", "3.12.1"]


def test_uv_is_asked_when_nothing_else_is_found(make_env, machine, tmp_path):
    wanted = interpreter(tmp_path / "of-uv" / "python3", (3, 12))
    script(
        tmp_path / "bin" / "uv",
        f'case "$1 $2" in "python find") echo {wanted};; --version*) echo uv;; *) exit 1;; esac',
    )
    assert make_env.choose_python(machine) == wanted


def test_uv_downloads_one_as_the_last_resort(make_env, machine, tmp_path):
    wanted = tmp_path / "of-uv" / "python3"
    interpreter(tmp_path / "fetched", (3, 12))
    facts = json.dumps(["CPython", [3, 12], False, str(wanted)])
    (wanted.parent).mkdir()
    script(
        tmp_path / "bin" / "uv",
        f"""case "$1 $2" in
        --version*) echo uv;;
        "python find") test -x {wanted} && echo {wanted};;
        "python install") printf '#!/bin/sh\\necho '"'"'{facts}'"'" >{wanted}
            /bin/chmod +x {wanted};;
        esac""",
    )
    assert make_env.choose_python(machine) == str(wanted)


def test_without_any_the_message_says_where_it_looked_and_what_to_do(
    make_env, machine, tmp_path, monkeypatch
):
    old = interpreter(tmp_path / "bin" / "python3", (3, 11))
    monkeypatch.setattr(make_env, "find_uv", lambda environ, python: None)
    with pytest.raises(make_env.EnvError) as raised:
        make_env.choose_python(machine)
    message = str(raised.value)
    assert f"{old} is 3.11" in message
    for words in ("3.12 to 3.14", "PATH", "pyenv", "uv", "NSSI_META_PYTHON="):
        assert words in message


def test_the_script_fails_with_that_message_and_no_traceback(tmp_path):
    repository = tmp_path / "repository"
    (repository / "tools").mkdir(parents=True)
    for name in ("tools/make_env.py", "pyproject.toml", "constraints.txt"):
        (repository / name).write_bytes((ROOT / name).read_bytes())
    # Neither uv nor a way to install it: nothing is fetched, wherever the test runs.
    dead_shim(tmp_path / "bin" / "uv")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(repository / "tools" / "make_env.py")],
        env={
            "PATH": str(tmp_path / "bin"),
            "PYENV_ROOT": str(tmp_path),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("env: No CPython 3.12 to 3.14 was found")
    assert "Traceback" not in done.stderr
    assert not (repository / ".venv").exists()


# ------------------------------------------------------------------ installers


@pytest.mark.parametrize("key", ["index-url", "no-index", "proxy"])
def test_uv_is_left_out_where_it_would_bypass_pips_own_index(make_env, key):
    assert make_env.uv_environment({key: "x"}, {}) is None


def test_uv_trusts_the_certificates_that_pip_trusts(make_env):
    settings = {"cert": "/certificates.pem", "find-links": "/wheels"}
    assert make_env.uv_environment(settings, {}) == {"SSL_CERT_FILE": "/certificates.pem"}
    own = {"SSL_CERT_FILE": "/mine.pem"}
    assert make_env.uv_environment(settings, own) == own


def test_pip_settings_are_read_from_its_own_listing(make_env, tmp_path):
    listing = "global.cert='/a.pem'\n:env:.no-index='1'\n"
    python = script(tmp_path / "python", f"cat <<'END'\n{listing}END")
    assert make_env.pip_settings(python, {"PATH": "/usr/bin:/bin"}) == {
        "cert": "/a.pem",
        "no-index": "1",
    }


def test_pip_installs_when_uv_fails(make_env, tmp_path, monkeypatch, capsys):
    log = tmp_path / "log"
    uv = script(tmp_path / "uv", "echo 'no route' >&2; exit 2")
    python = script(tmp_path / "python", f'echo "$@" >>{log}')
    monkeypatch.setattr(make_env, "find_uv", lambda environ, python: uv)
    make_env.install(Path(python), {"PATH": "/usr/bin:/bin"})
    assert "uv could not (no route); trying pip" in capsys.readouterr().out
    installed = log.read_text().splitlines()[-1]
    assert installed.startswith("-m pip install")
    assert f"-c {make_env.ROOT / 'constraints.txt'} -e {make_env.ROOT}[dev]" in installed


# ------------------------------------------------------------------ when it builds


@pytest.fixture
def repository(make_env, tmp_path, monkeypatch):
    """A repository whose build steps are recorded instead of run."""
    root = make_env.ROOT
    root.mkdir()
    for name in make_env.INPUTS:
        (root / name).write_text(name)
    steps = []

    def create_venv(python, venv, environ):
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / make_env.STAMP).unlink(missing_ok=True)
        interpreter(venv / "bin" / "python", (3, 13))
        steps.append("venv")

    monkeypatch.setattr(make_env, "choose_python", lambda environ: "python3.13")
    monkeypatch.setattr(make_env, "create_venv", create_venv)
    monkeypatch.setattr(make_env, "install", lambda python, environ: steps.append("install"))
    return root, steps


def test_an_environment_is_built_once(make_env, repository):
    root, steps = repository
    assert make_env.build({}, root)
    assert not make_env.build({}, root)
    assert steps == ["venv", "install"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_it_is_built_again_when_what_it_depends_on_changes(make_env, repository, name):
    root, _ = repository
    make_env.build({}, root)
    (root / name).write_text("changed")
    assert make_env.build({}, root)


def test_it_is_built_again_when_its_python_is_gone(make_env, repository):
    root, _ = repository
    make_env.build({}, root)
    (root / ".venv" / "bin" / "python").unlink()
    assert make_env.build({}, root)


def test_it_is_built_again_in_a_folder_that_was_moved(make_env, repository, tmp_path):
    # An editable install and the scripts of a venv hold absolute paths.
    root, _ = repository
    make_env.build({}, root)
    moved = root.rename(tmp_path / "moved")
    assert make_env.build({}, moved)


def test_a_build_that_stopped_halfway_is_not_taken_for_good(make_env, repository, monkeypatch):
    root, _ = repository
    make_env.build({}, root)
    (root / "constraints.txt").write_text("changed")

    def stopped(python, environ):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(make_env, "install", stopped)
        with pytest.raises(KeyboardInterrupt):
            make_env.build({}, root)
    (root / "constraints.txt").write_text("constraints.txt")
    assert make_env.build({}, root)


def test_create_venv_takes_the_stamp_away_before_anything_else(make_env, tmp_path, monkeypatch):
    venv = tmp_path / ".venv"
    venv.mkdir()
    (venv / make_env.STAMP).write_text("old")
    monkeypatch.setattr(make_env, "find_uv", lambda environ, python: None)
    with pytest.raises(make_env.EnvError, match="could not make"):
        make_env.create_venv(dead_shim(tmp_path / "python"), venv, {})
    assert not (venv / make_env.STAMP).exists()


def test_the_script_compiles_on_old_pythons():
    # Whatever python3 a machine has starts it, so nothing newer than 3.8's grammar.
    import ast

    source = (ROOT / "tools" / "make_env.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 8))
