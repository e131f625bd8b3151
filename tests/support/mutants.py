"""Mutate the core line by line, and see whether the tests of the same module notice.

`python -m tests.support.mutants [--sample N] [MODULE ...]` works on a copy of the files that git tracks, and prints the
share of mutants that are killed, by module: of all mutants, or of N of each module. The mutants that survive are in
`build/mutants/survivors.diff`. A run that was interrupted goes on where it ended. It needs the extra `mutants`.

Cosmic Ray makes the mutants. The tests of each run in a fork of this process, which has imported the libraries.
"""

import argparse
import ast
import contextlib
import difflib
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import hypothesis
import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutants"
TREE = BUILD / "tree"
PROGRAMS = ("bench", "export", "ingest", "serve", "ui")
PARTS = (
    "cbir/filters",
    "cbir/index",
    "cbir/stores",
    "cbir/search",
    "cbir/records.py",
    "cbir/pipeline/journal.py",
)
USED = re.compile(
    "AddNot|Replace(True|False|And|Or|Break|Continue)With.*|ExceptionReplacer|NumberReplacer|RemoveDecorator|ZeroIteration.*"
    "|ReplaceUnaryOperator_Delete_.*|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is)"
    "|ReplaceComparisonOperator_(Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt)"
    "|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|Pow_Mul|LShift_RShift|RShift_LShift)"
    "|ReplaceBinaryOperator_(BitOr_BitAnd|BitAnd_BitOr|BitXor_BitAnd)"
)
"""One opposite and one neighbour of each operator: the tests that notice these notice the others too."""


class _Behaviour(ast.NodeTransformer):
    """Removes what changes no result: annotations, the decorators of classes, and `strict` of `zip`."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "strict"]
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = []
        return self.generic_visit(node)


def modules(parts: Iterable[str]) -> Iterator[str]:
    """Yield the modules among files and folders that have tests of their own."""
    for part in parts:
        path = TREE / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            module = file.relative_to(TREE).as_posix()
            if (TREE / tests_of(module)).exists():
                yield module


def tests_of(module: str) -> str:
    """Return the path of a module's tests."""
    folder, _, name = module.rpartition("/")
    return f"{folder.replace('cbir', 'tests/core', 1)}/test_{name}"


def copy_tree() -> None:
    """Copy the tracked files, with the programs where they are installed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()  # noqa: S607
    shutil.rmtree(TREE, ignore_errors=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, TREE / name)
    for name in PROGRAMS:
        (TREE / "cbir" / name).symlink_to(TREE / name)


def behaviour(source: str) -> str:
    """Return what two sources have in common that behave the same in a run."""
    return ast.dump(_Behaviour().visit(ast.parse(source)))


def mutants_of(source: str) -> list[str]:
    """Return the mutants of a module's source."""
    found = {behaviour(source): source}
    for name in operator_names():
        if USED.fullmatch(name.partition("/")[2]):
            for mutant in _mutants(source, get_operator(name)()):
                with contextlib.suppress(SyntaxError):  # the stars of f(*values) are taken for operators
                    found.setdefault(behaviour(mutant), mutant)
    return list(found.values())[1:]


def _mutants(source: str, operator: Operator) -> Iterator[str]:
    for number in count():
        with contextlib.suppress(AttributeError):  # a dotted name in a tuple of exceptions cannot be replaced
            mutant = mutate_code(source, operator, number)
            if mutant is None:
                return
            yield mutant


def run_tests(tests: str, seconds: float | None = None, loaded: Path | None = None) -> bool:
    """Return whether the tests pass within a time, in a fork; write the names of the modules loaded to a file."""
    child = os.fork()
    if not child:
        os.setsid()
        sys.dont_write_bytecode = loaded is None  # or one mutant could be taken for another of the same size
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1" if sys.dont_write_bytecode else ""
        with Path(BUILD / "output.txt").open("wb") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        options = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        failed = pytest.main([*options, "--hypothesis-profile=mutants", f"--basetemp={BUILD / 'temporary'}", tests])
        if loaded:
            loaded.write_text("\n".join(sorted(sys.modules)))
        os._exit(int(failed))
    give_up = time.monotonic() + (seconds or 3600)
    ended = status = 0
    while not ended and time.monotonic() < give_up:
        time.sleep(0.02)
        ended, status = os.waitpid(child, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
    return bool(ended) and status == 0


def prepare(module: str) -> float:
    """Run the tests of a module without a mutant; import the libraries that they use, and return the time they take."""
    loaded = BUILD / "loaded.txt"
    start = time.monotonic()
    if not run_tests(tests_of(module), loaded=loaded):
        raise SystemExit(f"The tests of {module} fail without any mutant: see {BUILD / 'output.txt'}")
    seconds = time.monotonic() - start
    for name in loaded.read_text().split("\n"):
        if name.partition(".")[0] not in ("cbir", "conftest", "tests"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    return seconds


def mutate(module: str, sample: int) -> list[tuple[bool, str]]:
    """Return whether each mutant of a module is killed, and its diff. A change of module or tests starts anew."""
    path, source = TREE / module, (ROOT / module).read_text()
    contents = hashlib.sha256(
        source.encode() + (ROOT / tests_of(module)).read_bytes()
    ).hexdigest()  # a change starts anew
    results = BUILD / f"{module.removesuffix('.py').replace('/', '.')}-{contents[:12]}.jsonl"
    done = dict(map(json.loads, results.read_text().splitlines())) if results.exists() else {}
    mutants = mutants_of(source)
    random.Random(0).shuffle(mutants)
    diffs = {mutant: diff(source, mutant, module) for mutant in mutants[:sample]}
    seconds = prepare(module) if diffs.values() - done.keys() else 0
    for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        cached.unlink()
    with results.open("a") as file:
        for mutant, change in diffs.items():
            if change not in done:
                path.write_text(mutant)
                done[change] = not run_tests(tests_of(module), 30 + 4 * seconds)
                print(json.dumps([change, done[change]]), file=file, flush=True)
    path.write_text(source)
    return [(done[change], change) for change in diffs.values()]


def diff(source: str, mutant: str, module: str) -> str:
    """Return the change of a mutant."""
    before, after = source.splitlines(keepends=True), mutant.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"a/{module}", f"b/{module}"))


def main() -> None:
    """Mutate modules, print a line for each, and write the diffs of the survivors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int, default=sys.maxsize)
    parser.add_argument("parts", nargs="*", default=PARTS)
    arguments = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    copy_tree()
    os.chdir(TREE)
    sys.path[:] = [str(TREE), *(entry for entry in sys.path if entry not in ("", str(ROOT)))]
    for name in ("tests.support", "tests"):
        del sys.modules[name]  # to be imported from the copy
    os.environ["PYTHONPATH"] = str(TREE)  # also for the processes that tests start
    phases = [phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.shrink]
    hypothesis.settings.register_profile("mutants", deadline=None, derandomize=True, phases=phases)
    survivors: list[str] = []
    killed = total = 0
    for module in modules(arguments.parts):
        outcomes = mutate(module, arguments.sample)
        survived = [change for is_killed, change in outcomes if not is_killed]
        survivors += survived
        total += len(outcomes)
        killed += len(outcomes) - len(survived)
        share = 1 - len(survived) / max(1, len(outcomes))
        print(f"{module:45} {len(outcomes):5} mutants, {len(survived):4} survive, {share:7.1%} killed", flush=True)  # noqa: T201
        (BUILD / "survivors.diff").write_text("\n".join(survivors))
    print(f"{killed:,} of {total:,} mutants are killed: {killed / max(1, total):.1%}")  # noqa: T201


if __name__ == "__main__":
    main()
