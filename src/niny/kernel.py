"""`python -m niny.kernel`: IPython's kernel, which the system ends at once with the process that started it.

ipykernel looks for its parent every second. Within it, the kernel of a killed run would go on holding a run's lock.
"""

import ctypes
import os
import runpy
import signal

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int) -> None:
    """Have Linux kill this process when `parent`, which started it, ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we could ask
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent(int(os.environ["JPY_PARENT_PID"]))
    runpy.run_module("ipykernel_launcher", run_name="__main__")
