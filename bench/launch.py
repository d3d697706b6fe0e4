"""Run a command; print its seconds, peak memory in bytes and exit code as JSON.

python bench/launch.py COMMAND...

It is a small process of its own, since the peak that Linux reports for a child is at least its parent's size.
"""

import json
import os
import subprocess
import sys
import time

if __name__ == "__main__":
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
    peak = None
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    code = process.wait()
    print(json.dumps({"seconds": time.perf_counter() - start, "peak": peak, "code": code}))
