"""`make bench`: run the benchmarks, print one table, write build/bench.json.

Each module of this folder named bench_*.py has a `run() -> list[Row]` and a NAMES tuple of the rows it yields.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from bench.rows import Row, table  # noqa: E402 - the tests folder is no package root


def main() -> None:
    """Run all benchmarks or those named; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="row names, comma separated; empty runs all")
    only = {name for name in parser.parse_args().only.split(",") if name}
    modules = [load(path) for path in sorted(FOLDER.glob("bench_*.py"))]
    known = {name for module in modules for name in module.NAMES}
    if unknown := only - known:
        sys.exit(f"no benchmark named {', '.join(sorted(unknown))}; there are: {', '.join(sorted(known))}")
    rows: list[Row] = []
    for module in modules:
        if not only or only & set(module.NAMES):
            print(f"running {', '.join(module.NAMES)}", file=sys.stderr, flush=True)
            rows += module.run()
    build = FOLDER.parent.parent / "build"
    build.mkdir(exist_ok=True)
    (build / "bench.json").write_text(json.dumps([row.as_dict() for row in rows], indent=2) + "\n")
    print(table(rows))
    sys.exit(0 if all(row.ok for row in rows) else 1)


def load(path: Path) -> ModuleType:
    """Import a benchmark by its file."""
    spec = importlib.util.spec_from_file_location(f"bench.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
