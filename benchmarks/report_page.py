"""How long `raysafe report` takes for a large sweep, and how large its page is; the folder is made up, nothing is trained.

python benchmarks/report_page.py --trials 500
python benchmarks/report_page.py --trials 500 --rankings many   # a ranking a trial: the worst that can be
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from report.folders import a_sweep, combinations

from raysafe.cli import main


def trials_of(count: int, rankings: str) -> list[tuple[float, int, str, int]]:
    """(gamma, p, objective, seed): a grid of five seeds, or a gamma a trial."""
    if rankings == "many":
        return [(round(0.001 * (number + 1), 4), 80, "sft", 0) for number in range(count)]
    gammas = [round(0.05 * (number + 1), 2) for number in range(count // 100)]
    return combinations(gammas, (50, 60, 70, 80, 90), ("sft", "door", "wdoor", "npo"), range(5))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=500, help="in hundreds")
    parser.add_argument("--rankings", choices=["few", "many"], default="few")
    parser.add_argument("--rows", type=int, default=400, help="of D")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as storage:
        folder = Path(storage) / "large"
        a_sweep(folder, trials_of(arguments.trials, arguments.rankings), rows=arguments.rows)
        began = time.time()
        main(["report", str(folder)])
        page = (folder / "report.html").stat().st_size
        print(f"{arguments.trials} trials: {time.time() - began:.1f} s, page of {page / 1e6:.1f} MB")
