"""A hook of the wheel's build that adds compiled kernels, so that what is installed need not compile them first.

Asked for by ``HATCH_BUILD_HOOK_ENABLE_CUSTOM=true``. See ``kernels.jit.cache`` for who uses them.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ESTIMATORS = """
import kernels
kernels.warmup(
    ("mlp_train_steps", "mlp_forward", "softmax"), dtypes="float64", sparse=False, rules=[kernels.adam()],
    losses=("softmax_cross_entropy", "logistic_cross_entropy", "squared_error"),
)
"""


class CompiledKernels(BuildHookInterface):
    """What ``fastmlp warmup`` keeps, and the estimators call by default, for every level that this machine can run."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from kernels.jit.cache import LEVELS, can_run

        self.cache = tempfile.TemporaryDirectory()
        if not (levels := [level for level in LEVELS if can_run(level)]):
            self.app.abort(
                f"kernels can be compiled only where they run, on one of {', '.join(LEVELS)}; this CPU is none"
            )
        for level in levels:
            self.app.display_info(f"Compiling kernels for {level}")
            target = {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": LEVELS[level], "FASTMLP_CACHE": self.cache.name}
            for what in (["-m", "fastmlp", "warmup"], ["-c", ESTIMATORS]):
                command = [sys.executable, *what]
                subprocess.run(command, cwd=self.root, env=os.environ | target, check=True, stdout=subprocess.DEVNULL)
        for lock in Path(self.cache.name).rglob("lock"):
            lock.unlink()
        build_data["force_include"][f"{self.cache.name}/kernels"] = "kernels/prebuilt"
        build_data.update(pure_python=False, infer_tag=True)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self.cache.cleanup()
