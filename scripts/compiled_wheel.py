"""Build hook of the wheel: the path of a simulated request compiled (mypyc), where there is a C compiler.

`pip install .` takes half a minute longer and simulations half the CPU or less; their rows are the same to
the byte. Plain stay an editable install, whose sources are edited; a machine without a C compiler or Python's
headers; and `HATCH_BUILD_NO_HOOKS=true pip install .`. `swarm --version` says which it is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SETUP = """
import os
from mypyc.build import mypycify
from setuptools import setup
MYPY = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
libraries = mypycify(MYPY + {modules!r}, opt_level="3", debug_level="0")
for library in libraries:
    if os.name == "posix":
        # Nothing but their start is called from outside: calls among them are direct, small ones inlined.
        library.extra_compile_args.append("-fvisibility=hidden")
setup(name="swarm", ext_modules=libraries)
"""
TIMEOUT_S = 1_200
SHOWN_LINES = 20
"""Of what a failed compilation printed."""


class CompiledWheel(BuildHookInterface):
    """Adds the libraries of `modules` (the hook's option in pyproject.toml) to the wheel."""

    _copy: Path | None = None

    def dependencies(self) -> list[str]:
        """Return what the build needs: nothing where nothing will be compiled."""
        return [] if _missing() else ["mypy>=2.1", "setuptools>=70"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile in a copy: libraries beside the sources would be used in their place, edited or not."""
        if version == "editable":
            return
        missing = _missing()
        if missing:
            self.app.display_warning(f"swarm: not compiled, {missing}; simulations take twice the CPU")
            return
        self._copy = Path(tempfile.mkdtemp(prefix="swarm-compiled-"))
        shutil.copytree(Path(self.root) / "swarm", self._copy / "swarm")
        # The door for Python names every room, for type checkers; the modules to compile need few of them.
        (self._copy / "swarm" / "__init__.py").write_text("")
        (self._copy / "setup.py").write_text(SETUP.format(modules=self.config["modules"]))
        self.app.display_info("swarm: compiling, about half a minute")
        done = subprocess.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
            cwd=self._copy,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
        )
        if done.returncode:
            said = "\n".join(done.stdout.splitlines()[-SHOWN_LINES:])
            self.app.display_warning(
                f"swarm: not compiled; simulations take twice the CPU. What failed:\n{said}"
            )
            return
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        for library in [*self._copy.glob(f"*{suffix}"), *(self._copy / "swarm").rglob(f"*{suffix}")]:
            build_data["force_include"][str(library)] = library.relative_to(self._copy).as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copy, when the wheel is written."""
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)


def _missing() -> str | None:
    """Return what compiling would need and is not here."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"as the C compiler {compiler} is not here"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return None if header.exists() else f"as Python's headers are not here ({header})"
