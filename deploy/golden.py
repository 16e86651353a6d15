"""`make golden` and `make check`: every golden file, written anew or compared.

python -m deploy.golden [--check]
"""

import argparse
import subprocess
import sys

GENERATORS = (
    "prelabel_contract.golden",
    "prelabel_all_in_one.openapi",
    "deploy.pages",
)
"""Modules that write their golden files, and with --check compare them."""


def main() -> int:
    """Run all generators. Exit code 1 if one finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m deploy.golden", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = ["--check"] if parser.parse_args().check else []
    codes = [subprocess.run([sys.executable, "-m", module, *check], check=False).returncode for module in GENERATORS]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
