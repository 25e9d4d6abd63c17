"""How much memory a detector needs on a CPU: a process of its own runs it, and says its peak."""
# pyright: basic

import json
import os
import subprocess
import sys

RUNS = 3
TIMEOUT_SECONDS = 300
PACKAGE = os.path.dirname(os.path.abspath(__file__))


def peak_bytes():
    """The most memory that this process ever had resident; None where the system does not tell.

    Not ``getrusage``: what that says survives ``exec``, so a child would tell the peak of its parent.
    """
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    return None


def needed_mib(manifest, threads):
    """MiB that a detector takes beyond the bare interpreter: libraries, model, and a few pictures.

    None where it could not be found out.
    """
    place, name = os.path.split(PACKAGE)
    command = [sys.executable, "-m", name + ".memory", os.path.abspath(manifest.folder), str(threads)]
    content = json.dumps(manifest.content).encode("utf-8")
    try:
        ended = subprocess.run(
            command,
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=place,
            timeout=TIMEOUT_SECONDS,
        )
        return float(ended.stdout.split()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def main(folder, threads):
    """In the process of its own; the manifest comes by standard input."""
    before = peak_bytes()
    from .backends import open_backend  # not before the interpreter alone was looked at
    from .detector import Detector
    from .manifest import Manifest
    from .measuring import golden_or_noise

    manifest = Manifest(folder, json.load(sys.stdin))
    backend = open_backend(manifest, threads)
    detector, picture = Detector(manifest, backend), golden_or_noise(manifest)
    for _ in range(RUNS):
        detector.detect(picture)
    after = peak_bytes()
    backend.close()
    sys.stdout.write("" if before is None or after is None else f"{(after - before) / 2.0**20:.1f}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
