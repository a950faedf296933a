"""An installation from the source archive, made into a wheel, in an environment that has nothing else of ours."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from hs_deploy.pages.described import PROGRAMS

pytestmark = pytest.mark.system

TOP = Path(__file__).parents[2]
ALIASES = {"hyper-shell": "hs"}
NAMES = ("hs", "hyper-shell", *PROGRAMS)


def run(*argv: str | Path, **more: str) -> str:
    """Return what a program prints; it must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=os.environ | more, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an environment with the wheel, and what it needs from the environment of the tests."""
    folder = tmp_path_factory.mktemp("installation")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, PYTHONPATH="", PWD=str(TOP))
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder)
    source = folder / archive.name.removesuffix(".tar.gz")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    environment = folder / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        environment / "bin" / "python",
        "install",
        "--no-deps",
        "--no-index",
        wheel,
    )
    # Only what stands in that folder is found: its .pth files, the one of our own sources too, are not read.
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def test_it_is_not_our_own_source_that_runs(installed: Path) -> None:
    """Else the rest would show nothing."""
    where = run(
        installed / "bin" / "python", "-c", "import hs_common, hs_deploy; print(hs_common.__file__, hs_deploy.__file__)"
    )
    assert all(path.startswith(str(installed)) for path in where.split())


@pytest.mark.parametrize("name", NAMES)
def test_every_program_has_a_man_page_and_completion(installed: Path, name: str) -> None:
    """Where man and the shells look for them."""
    assert run(installed / "bin" / name, "--help").startswith(f"Usage: {name} ")
    page = run("man", "--where", name, PATH=f"{installed}/bin:{os.environ['PATH']}", MANPATH="")
    assert page.strip() == str(installed / "share" / "man" / "man1" / f"{ALIASES.get(name, name)}.1")
    for path in (f"bash-completion/completions/{name}", f"fish/vendor_completions.d/{name}.fish"):
        assert (installed / "share" / path).read_text().startswith("# ")
    assert name in (installed / "share" / "zsh" / "site-functions" / "_hs").read_text().splitlines()[0]


@pytest.mark.parametrize(("shell", "path"), [("bash", "bash/hs"), ("zsh", "zsh/_hs"), ("fish", "fish/hs.fish")])
def test_hs_prints_what_is_installed(installed: Path, shell: str, path: str) -> None:
    """For whoever has it somewhere else."""
    assert (
        run(installed / "bin" / "hs", "completion", shell) == (TOP / "deploy/hs_deploy/completion" / path).read_text()
    )


def test_what_is_installed_completes(installed: Path) -> None:
    """By the program beside it, also where that is not on the PATH."""
    script = installed / "share" / "bash-completion" / "completions" / "hs-cluster"
    words = "COMP_WORDS=(hs-cluster --max-r) COMP_CWORD=1"
    asked = f"source {script}; {words}; _hs_complete {installed}/bin/hs-cluster --max-r; echo ${{COMPREPLY[@]}}"
    assert run("bash", "--norc", "-c", asked) == "--max-retries\n"


def test_a_run_needs_nothing_else(installed: Path, tmp_path: Path) -> None:
    """The daemons are found beside hs-cluster."""
    (tmp_path / "tasks").write_text("echo done\n")
    assert shutil.which("hs-broker", path=str(installed / "bin"))
    assert run(installed / "bin" / "hs-cluster", tmp_path / "tasks", HYPERSHELL_SITE=str(tmp_path / "site")) == "done\n"
