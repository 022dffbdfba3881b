#!/usr/bin/env python3
"""Build .venv: find a CPython new enough, make the environment, install into it what is pinned.

Needs only the standard library of any Python from 3.8 on, since the `python3` of a machine is
often older than what the package needs. Run by `make env`; does nothing when .venv is up to date.

What decides, in this order:

1. An interpreter counts only when it was run and named its own version: launchers of version
   managers stay on PATH for versions that are not there, and fail only when called.
2. .venv counts as built only when its stamp, written last, names the pyproject.toml, the
   constraints.txt and the folder it was built from, and its python still runs. Anything else,
   a build that was interrupted included, is built again in place.
3. uv installs if it can be had, because it is ten times faster; else, or if it fails, pip.
"""

import glob
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "dev"
STAMP = ".nssi-meta-stamp"
OLDEST, NEWEST = (3, 12), (3, 14)
# The newest has wheels for all that is pinned, but is the least tried: used if nothing else is.
PREFERRED = ((3, 13), (3, 12))
INPUTS = ("pyproject.toml", "constraints.txt")
DOWNLOAD_TIMEOUT = 600  # seconds; uv gives up sooner by itself where its host is out of reach

# Run by each candidate, so written for any Python, 2 included.
PROBE = (
    "import sys, platform, sysconfig, json; "
    "print(json.dumps([platform.python_implementation(), list(sys.version_info[:2]), "
    "bool(sysconfig.get_config_var('Py_GIL_DISABLED')), "
    # The one behind a virtual environment: that may be the very .venv that is to be replaced.
    "getattr(sys, '_base_executable', None) or sys.executable]))"
)


class EnvError(Exception):
    """The environment cannot be built; the message says what to do."""


def say(text):
    """Tell the reader of the terminal, in one line, what is being done."""
    print("env: " + text, flush=True)


# ------------------------------------------------------------------ running things


def run_quiet(command, timeout=60, env=None):
    """Run `command`; return (ok, stdout, last line of stderr). Never raises."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="replace",
            timeout=timeout,
            env=env,
        )
    except subprocess.TimeoutExpired:
        return False, "", "no answer within {} s".format(timeout)
    except OSError as error:
        return False, "", error.strerror or str(error)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    why = lines[-1].strip() if lines else "exit code {}".format(done.returncode)
    return done.returncode == 0, done.stdout.strip(), why


# ------------------------------------------------------------------ finding an interpreter


def probe(command):
    """Ask a candidate what it is: (version or None, its real path, why it will not do)."""
    ok, out, why = run_quiet([command, "-c", PROBE])
    if not ok:
        return None, None, "does not run ({})".format(why)
    try:
        name, version, free_threaded, path = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        return None, None, "is not a Python"
    version = tuple(version)
    dotted = ".".join(str(part) for part in version)
    if name != "CPython":
        return None, None, "is {} {}, not CPython".format(name, dotted)
    if free_threaded:
        return None, None, "is the free-threaded {}".format(dotted)
    if not OLDEST <= version <= NEWEST:
        return None, None, "is " + dotted
    return version, path, ""


def version_key(path):
    """Sort key for folders named by version (3.9 before 3.13)."""
    return [int(part) for part in Path(path).name.split(".") if part.isdigit()]


def pyenv_pythons(environ):
    """The interpreters that pyenv has built, newest first, whether or not its shims are on PATH."""
    root = environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
    folders = glob.glob(os.path.join(glob.escape(root), "versions", "3.1[2-9]*"))
    return [
        os.path.join(folder, "bin", "python3")
        for folder in sorted(folders, key=version_key, reverse=True)
    ]


def candidates(environ):
    """Yield (where it was looked for, command) in the order in which they are tried."""
    if environ.get("NSSI_META_PYTHON"):
        yield "NSSI_META_PYTHON", environ["NSSI_META_PYTHON"]
    path = environ.get("PATH", os.defpath)
    for name in ("python3.13", "python3.12", "python3.14", "python3", "python"):
        # Every one on PATH, not the first alone: a dead launcher may hide one that works.
        for folder in path.split(os.pathsep):
            found = shutil.which(name, path=folder) if folder else None
            if found:
                yield "PATH", found
    for python in pyenv_pythons(environ):
        yield "pyenv's versions", python


def find_python(environ, tried):
    """First candidate of a preferred version, else the first that will do, else None.

    Appends to `tried` one line for each candidate that will not do.
    """
    spare = None
    for where, command in candidates(environ):
        version, path, why = probe(command)
        if version is None:
            tried.append("{} {}".format(command, why))
            if where == "NSSI_META_PYTHON":
                say("NSSI_META_PYTHON={} {}; looking for another".format(command, why))
        elif version in PREFERRED or where == "NSSI_META_PYTHON":
            return path
        elif spare is None:
            spare = path
    return spare


def python_from_uv(uv, environ, tried):
    """An interpreter that uv knows of, else one that it downloads; None if neither works."""
    env = dict(environ, UV_PYTHON_INSTALL_DIR=str(ROOT / ".tools" / "python"))
    wanted = ">={}.{},<{}.{}".format(OLDEST[0], OLDEST[1], NEWEST[0], NEWEST[1] + 1)
    find = [uv, "python", "find", "--no-project", "--system", "--no-python-downloads", wanted]
    ok, out, _ = run_quiet(find, env=env)
    if not ok:
        say("no Python {} to {} here; asking uv to download one".format(*dotted_range()))
        fetch = [uv, "python", "install", "--no-bin", "{}.{}".format(*OLDEST)]
        ok, _, why = run_quiet(fetch, timeout=DOWNLOAD_TIMEOUT, env=env)
        if not ok:
            tried.append("uv python install: " + why)
            return None
        ok, out, _ = run_quiet(find, env=env)
    version, path, why = probe(out) if ok and out else (None, None, "found none")
    if version is None:
        tried.append("uv python find: " + why)
    return path


def dotted_range():
    """The oldest and the newest version that will do, as text."""
    return ["{}.{}".format(*OLDEST), "{}.{}".format(*NEWEST)]


def choose_python(environ):
    """Path of the interpreter to build with; EnvError that says where was looked if none."""
    tried = []
    python = find_python(environ, tried)
    if python is None:
        uv = find_uv(environ, sys.executable)
        if uv is None:
            tried.append("uv is not on PATH and pip could not install it")
        else:
            python = python_from_uv(uv, environ, tried)
    if python is None:
        raise EnvError(
            "No CPython {} to {} was found in NSSI_META_PYTHON, on PATH, among pyenv's versions "
            "or through uv; install one and run again, or name one with "
            "'make env NSSI_META_PYTHON=/path/to/python3'. Tried: {}.".format(
                *dotted_range(), "; ".join(dict.fromkeys(tried)) or "nothing to try"
            )
        )
    return python


# ------------------------------------------------------------------ installers


def find_uv(environ, python):
    """Path of a uv that runs: on PATH, in .tools, or put there by pip; None if there is none."""
    tools = ROOT / ".tools" / "uv"
    on_path = shutil.which("uv", path=environ.get("PATH", os.defpath))
    for uv in (on_path, str(tools / "bin" / "uv")):
        if uv and run_quiet([uv, "--version"])[0]:
            return uv
    shutil.rmtree(str(tools), ignore_errors=True)
    install = [python, "-m", "pip", "install", "--quiet", "--target", tools, "uv"]
    ok, _, _ = run_quiet(install, timeout=DOWNLOAD_TIMEOUT, env=dict(environ))
    uv = str(tools / "bin" / "uv")
    return uv if ok and run_quiet([uv, "--version"])[0] else None


def pip_settings(python, environ):
    """What pip is configured with on this machine, {"cert": ..., "index-url": ...}."""
    ok, out, _ = run_quiet([python, "-m", "pip", "config", "list"], env=dict(environ))
    settings = {}
    for line in out.splitlines() if ok else []:
        key, _, value = line.partition("=")
        settings[key.rpartition(".")[2]] = value.strip().strip("'\"")
    return settings


def uv_environment(settings, environ):
    """Environment under which uv trusts what pip trusts; None where uv would bypass pip's setup.

    uv does not read pip's configuration. Where that names an index or proxy of its own, only
    pip goes where it should.
    """
    if any(settings.get(key) for key in ("index-url", "no-index", "proxy")):
        return None
    env = dict(environ)
    if settings.get("cert") and not env.get("SSL_CERT_FILE"):
        env["SSL_CERT_FILE"] = settings["cert"]
    return env


def install_commands(uv, python):
    """The two ways to install the package, editable, with its extras and pinned versions."""
    what = ["-c", str(ROOT / "constraints.txt"), "-e", "{}[{}]".format(ROOT, EXTRAS)]
    # Compiled now, by all cores, and not by the first program that imports it (or by every one,
    # where PYTHONDONTWRITEBYTECODE is set).
    by_uv = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *what]
    by_pip = [str(python), "-m", "pip", "install", "-qq", "--no-input", *what]
    return by_uv if uv else None, by_pip


def install(python, environ):
    """Install into the environment of `python`: by uv, else by pip. EnvError if both fail."""
    env = uv_environment(pip_settings(python, environ), environ)
    uv = find_uv(environ, python) if env is not None else None
    by_uv, by_pip = install_commands(uv, python)
    if by_uv:
        say("installing the pinned packages with uv")
        ok, _, why = run_quiet(by_uv, timeout=3600, env=env)
        if ok:
            return
        say("uv could not ({}); trying pip".format(why))
    say("installing the pinned packages with pip (some minutes)")
    # pip's errors go to the terminal: they are what a reader needs when it fails.
    if subprocess.call(by_pip, stdin=subprocess.DEVNULL, env=dict(environ)) != 0:
        raise EnvError(
            "pip could not install the pinned packages (its message is above); to see more of it "
            "run: " + " ".join(shlex.quote(word) for word in by_pip if word != "-qq")
        )


# ------------------------------------------------------------------ the environment


def fingerprint(root):
    """What an environment is built from: the inputs' bytes and the folder it points back to."""
    digest = hashlib.sha256(str(root).encode())
    for name in INPUTS:
        digest.update(b"\0" + (Path(root) / name).read_bytes())
    return digest.hexdigest()


def is_current(venv, wanted):
    """True if `venv` was built to the end from what `wanted` stands for, and its python runs."""
    try:
        stamp = (venv / STAMP).read_text().strip()
    except OSError:
        return False
    return stamp == wanted and probe(venv / "bin" / "python")[0] is not None


def create_venv(python, venv, environ):
    """Make an empty environment at `venv`, replacing what is there. EnvError if that fails."""
    # Without the stamp, what a build leaves when it is stopped halfway is never taken for good.
    if (venv / STAMP).exists():
        (venv / STAMP).unlink()
    ok, _, why = run_quiet([python, "-m", "venv", "--clear", venv], timeout=600)
    if ok:
        return
    # Distributions ship Pythons whose venv cannot install pip; uv needs neither.
    uv = find_uv(environ, sys.executable)
    if uv:
        make = [uv, "venv", "--quiet", "--clear", "--seed", "--python", python, venv]
        ok, _, why = run_quiet(make, timeout=600, env=dict(environ))
    if not ok:
        raise EnvError("{} could not make {}: {}".format(python, venv, why))


def build(environ, root=ROOT):
    """Bring root/.venv up to date; return True if it had to be built."""
    venv = Path(root) / ".venv"
    wanted = fingerprint(root)
    if is_current(venv, wanted):
        return False
    start = time.time()
    python = choose_python(environ)
    say("making .venv with " + python)
    create_venv(python, venv, environ)
    install(venv / "bin" / "python", environ)
    run_quiet([venv / "bin" / "python", "-m", "compileall", "-q", ROOT / "src"])
    (venv / STAMP).write_text(wanted + "\n")
    say("ready in {:.0f} s".format(time.time() - start))
    return True


def main():
    """Build if need be; exit code 0, or 1 with the reason on stderr."""
    try:
        build(dict(os.environ))
    except EnvError as error:
        print("env: " + str(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("env: stopped; run it again to build .venv anew", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
