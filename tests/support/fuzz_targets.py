"""The fuzz targets of `tailrace.native`: compiled with a fuzzer, or with a program that runs them over files."""

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from tailrace.native import otlp, shredder
from tailrace.protocols.doors.otlp_fields import KINDS_OF_NAMES

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "src" / "tailrace" / "native"
FUZZ = ROOT / "tests" / "native" / "fuzz"
CORPUS = FUZZ / "corpus"
TARGETS = {"scan": ("scan",), "shred": ("scan", "shred"), "otlp": ("scan", "otlp", "decimal")}  # and what they call

# What is undefined or out of bounds ends the program.
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WARNINGS = ("-Wall", "-Wextra")
# The targets of these decide which of their allocations fails.
ALLOCATES = ("shred", "otlp")
ALLOCATION = tuple(f"-D{name}=fuzz_{name}" for name in ("malloc", "calloc", "realloc"))


def compile_target(target: str, directory: Path, compiler: str, flags: Sequence[str], *, fuzzer: bool) -> Path:
    """Return the program of a target, compiled into a directory; raise CalledProcessError where it cannot be."""
    (directory / "tables.h").write_text(_TABLES[target]())
    common = [compiler, "-std=c11", "-g", *WARNINGS, *flags, f"-I{directory}", f"-I{FUZZ}"]
    objects = []
    for name in TARGETS[target]:
        objects.append(directory / f"{name}.o")
        own = ALLOCATION if name in ALLOCATES else ()
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


def _no_tables() -> str:
    return ""


def _shred_tables() -> str:
    return _table("uint64_t POWERS_OF_FIVE", shredder._powers_of_five().tolist(), "u")


def _otlp_tables() -> str:
    names = _table("uint8_t NAMES", otlp._packed(KINDS_OF_NAMES), "")
    return names + _table("uint64_t POWERS_OF_TEN", otlp._powers_of_ten().tolist(), "u")


def _table(name: str, values: Iterable[int], suffix: str) -> str:
    return f"static const {name}[] = {{{', '.join(f'{value}{suffix}' for value in values)}}};\n"


_TABLES = {"scan": _no_tables, "shred": _shred_tables, "otlp": _otlp_tables}  # that a target is compiled with
