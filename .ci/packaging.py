"""Check that every way to install Torua gives a working ``twist torua-node``."""

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLUGIN = "twisted/plugins/torua_plugin.py"


def run(*command: str | Path) -> str:
    """Run a command in the project's root; return what it printed."""
    done = subprocess.run(  # noqa: S603
        [str(part) for part in command], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    return done.stdout.decode()


def check_wheel(wheel: Path) -> None:
    """Check that the wheel brings one file into Twisted's package, and no other."""
    names = [name for name in zipfile.ZipFile(wheel).namelist() if "twisted/" in name]
    assert names == [PLUGIN], names


def check_install(scratch: Path, *what: str | Path) -> None:
    """Check an installation in an environment of its own.

    Args:
        scratch: where the environment goes.
        what: the arguments of ``pip install``.
    """
    venv.create(scratch, with_pip=True)
    run(scratch / "bin/pip", "install", "-q", *what)
    assert "torua-node" in run(scratch / "bin/twist", "--help")
    assert "--bootstrap-expect" in run(scratch / "bin/twist", "torua-node", "--help")
    assert "Torua" in run(scratch / "bin/torua", "--help")


def main() -> None:
    """Build the wheel, and install it in three ways."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        run(sys.executable, "-m", "build", "-q", "--wheel", "--outdir", scratch, ROOT)
        (wheel,) = scratch.glob("*.whl")
        check_wheel(wheel)
        check_install(scratch / "wheel", wheel)
        check_install(scratch / "plain", ".")
        check_install(scratch / "editable", "-e", ".")
    print("packaging: 4 passed, 0 failed")


if __name__ == "__main__":
    main()
