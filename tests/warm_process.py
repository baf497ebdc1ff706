"""Processes without the seconds of imports: one that has imported what they need forks each.

    python tests/warm_process.py FD MODULE...

A request comes over the socket FD with its standard input, output and error: a line of JSON with `code` for Python,
its `environment` and its folder `cwd`. The child runs the code as `python -c` does, from its first line to the end of
its interpreter; the exit code goes back over the socket, below 0 for the signal that ended it.
"""

import gc
import io
import json
import os
import socket
import sys
from importlib import import_module


def serve(number: int, modules: list[str]) -> dict[str, str] | None:
    """Answer requests until there are no more; in a child, what it was asked to run."""
    gc.disable()
    for name in modules:
        import_module(name)
    gc.freeze()  # what is looked over for garbage is copied into each child
    gc.enable()
    with socket.socket(fileno=number) as channel:
        while True:
            message, streams, _, _ = socket.recv_fds(channel, 1 << 20, 3)
            if not message:
                return None
            child = os.fork()
            if not child:
                for own, given in enumerate(streams):
                    os.dup2(given, own)
                break
            for given in streams:
                os.close(given)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            channel.sendall(f"{code}\n".encode())
    for given in streams:
        os.close(given)
    return json.loads(message)


def begin(request: dict[str, str]) -> None:
    """Make environment, folder and streams those of a process that has just begun."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv = ["-c"]
    coding = request["environment"].get("PYTHONIOENCODING")
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), coding)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), coding)
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), coding, errors="backslashreplace", line_buffering=True
    )


if __name__ == "__main__":
    asked = serve(int(sys.argv[1]), sys.argv[2:])
    if asked is not None:
        begin(asked)
        exec(compile(asked["code"], "<string>", "exec"), {"__name__": "__main__"})
