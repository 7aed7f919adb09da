"""How near the model's frames come to the reference render, on held-out rooms, casts and seeds.

    CUTSCENE_ASSETS=/path/to/packs python benchmarks/quality.py --sheet out/quality.png --json

Needs the training extra and the art packs, since the reference is rendered anew.
"""

from __future__ import annotations

import argparse
import sys

from cutscene_model.training.evaluation_command import add_arguments, run_evaluation


def main() -> int:
    """Parses the command line and scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    return run_evaluation(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
