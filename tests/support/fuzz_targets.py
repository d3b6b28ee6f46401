"""The fuzz targets of `tailrace.native`: compiled with a fuzzer, or with a program that runs them over files."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tailrace.native import shredder

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "src" / "tailrace" / "native"
FUZZ = ROOT / "tests" / "native" / "fuzz"
CORPUS = FUZZ / "corpus"
TARGETS = {"scan": ("scan",), "shred": ("scan", "shred")}  # and what they call

# What is undefined or out of bounds ends the program.
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WARNINGS = ("-Wall", "-Wextra")
# The target of shred.c decides which of its allocations fails.
ALLOCATION = tuple(f"-D{name}=fuzz_{name}" for name in ("malloc", "calloc", "realloc"))


def compile_target(target: str, directory: Path, compiler: str, flags: Sequence[str], *, fuzzer: bool) -> Path:
    """Return the program of a target, compiled into a directory; raise CalledProcessError where it cannot be."""
    (directory / "powers.h").write_text(_powers())
    common = [compiler, "-std=c11", "-g", *WARNINGS, *flags, f"-I{directory}", f"-I{FUZZ}"]
    objects = []
    for name in TARGETS[target]:
        objects.append(directory / f"{name}.o")
        own = ALLOCATION if name == "shred" else ()
        subprocess.run([*common, *own, "-c", str(NATIVE / f"{name}.c"), "-o", str(objects[-1])], check=True)
    # Which way the target itself takes tells the fuzzer nothing, and costs time.
    unguided = [option for option in common if "fuzzer" not in option]
    objects.append(directory / f"{target}_target.o")
    subprocess.run([*unguided, "-c", str(FUZZ / f"{target}_target.c"), "-o", str(objects[-1])], check=True)
    entry = ["-fsanitize=fuzzer"] if fuzzer else [str(FUZZ / "replay.c")]
    program = directory / target
    subprocess.run([*common, *entry, *map(str, objects), "-o", str(program)], check=True)
    return program


def has_sanitizers(compiler: str, directory: Path) -> bool:
    """Return whether a compiler is there and makes programs with sanitizers that run."""
    if not shutil.which(compiler):
        return False
    program = directory / "probe"
    command = [compiler, *SANITIZED, "-x", "c", "-", "-o", str(program)]
    made = subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True, check=False)
    return made.returncode == 0 and subprocess.run([program], capture_output=True, check=False).returncode == 0


def inputs(target: str) -> list[Path]:
    """Return the files of the corpus that are for a target."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())


def _powers() -> str:
    words = ", ".join(f"{word}u" for word in shredder._powers_of_five().tolist())
    return f"static const uint64_t POWERS[] = {{{words}}};\n"
