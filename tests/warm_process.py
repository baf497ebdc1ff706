"""Processes without the seconds of imports: one that has imported what they need forks each.

    python tests/warm_process.py FD MODULE...

A request comes over the socket FD with its standard input, output and error and a pipe: a line of JSON with `code` for
Python, its `environment`, its folder `cwd` and how many `processes` are to run it. Each child runs the code as
`python -c` does, from its first line to the end of its interpreter; several are told what torchrun would tell them.
Their numbers come over the pipe, then the exit code of the first that failed, below 0 for the signal that ended it.
"""

import contextlib
import gc
import io
import json
import os
import signal
import socket
import sys
from importlib import import_module
from typing import Any


def serve(number: int, modules: list[str]) -> dict[str, Any] | None:
    """Answer requests until there are no more; in a child, what it was asked to run."""
    gc.disable()
    for name in modules:
        import_module(name)
    gc.freeze()  # what is looked over for garbage is copied into each child
    gc.enable()
    os.fsync = lambda number: None  # as in the tests: what they write need not outlive a power cut
    with socket.socket(fileno=number) as channel:
        while True:
            message, streams, _, _ = socket.recv_fds(channel, 1 << 20, 4)
            if not message:
                return None
            if not os.fork():
                break
            for given in streams:
                os.close(given)
            with contextlib.suppress(ChildProcessError):  # those that ended leave the table
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    request: dict[str, Any] = json.loads(message)
    place = fork(request["processes"], answers=streams.pop())
    for own, given in enumerate(streams):
        os.dup2(given, own)
        os.close(given)
    request["environment"] |= place
    return request


def fork(processes: int, answers: int) -> dict[str, str]:
    """In each of so many new processes, its variables among several; the one that forked them answers, and ends."""
    told, tell = os.pipe()
    children: list[int] = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            os.close(tell)
            os.close(answers)
            return place_of(rank, processes, told) if processes > 1 else {}
        children.append(child)
    os.write(answers, f"{' '.join(map(str, children))}\n".encode())
    meeting = meet(tell, processes) if processes > 1 else None
    os.write(answers, f"{code_of(children)}\n".encode())
    del meeting
    os._exit(0)


def meet(tell: int, processes: int) -> Any:
    """The store where processes find each other, at a port of the system's choice that is theirs from here on."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    os.write(tell, f"{store.port:05d}".encode() * processes)
    return store


def place_of(rank: int, processes: int, told: int) -> dict[str, str]:
    """What torchrun would tell one of its processes."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(int(os.read(told, 5))), "RANK": str(rank)}
    place |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    return place | {"TORCHELASTIC_USE_AGENT_STORE": "True"}


def code_of(children: list[int]) -> int:
    """The exit code of the first child that failed, else 0; as torchrun does, the others are then told to end."""
    code, left = 0, set(children)
    while left:
        child, status = os.wait()
        left.remove(child)
        if not code and (code := os.waitstatus_to_exitcode(status)):
            for other in left:
                os.kill(other, signal.SIGTERM)
    return code


def begin(request: dict[str, Any]) -> None:
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
