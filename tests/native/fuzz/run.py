"""`make fuzz`: all targets with libFuzzer, AddressSanitizer and UBSan, side by side, for FUZZ_SECONDS each.

What is found stays in `.venv/fuzz/TARGET/`, with the inputs that reach new code, from which the next run goes on.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.fuzz_targets import CORPUS, FUZZ, ROOT, SANITIZED, TARGETS, compile_target

WORK = ROOT / ".venv" / "fuzz"
SECONDS = int(os.environ.get("FUZZ_SECONDS") or 600)
MAX_BYTES = 2048
TIMEOUT_S = 10  # of one input
# A function's type is not what the target declares of it: structs of its own stand for those of shred.c.
FLAGS = ("-O2", *SANITIZED, "-fsanitize=fuzzer-no-link", "-fno-sanitize=function")


def main() -> int:
    """Fuzz; return 0 where nothing was found."""
    clang = os.environ.get("CLANG") or shutil.which("clang")
    if not clang:
        print("make fuzz needs clang with its sanitizers: `apt install clang`, or CLANG=/path/to/it", file=sys.stderr)
        return 2
    running = {target: _start(target, clang) for target in TARGETS}
    found = [target for target, process in running.items() if process.wait()]
    for target in TARGETS:
        print(
            f"{target}: {'FOUND' if target in found else 'nothing found'}; {WORK / target / 'log'} has the last figures"
        )
    return 1 if found else 0


def _start(target: str, clang: str) -> "subprocess.Popen[bytes]":
    work = WORK / target
    (work / "corpus").mkdir(parents=True, exist_ok=True)
    program = compile_target(target, work, clang, FLAGS, fuzzer=True)
    options = (
        f"-max_total_time={SECONDS}",
        f"-max_len={MAX_BYTES}",
        f"-timeout={TIMEOUT_S}",
        f"-dict={FUZZ / 'json.dict'}",
        f"-artifact_prefix={work}/found-",
        "-print_final_stats=1",
    )
    with (work / "log").open("wb") as log:
        command = [str(program), *options, str(work / "corpus"), str(CORPUS / target)]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=Path(work))


if __name__ == "__main__":
    sys.exit(main())
