"""How often intervals hold the truth and tests claim too much, in simulated studies.

    python benchmarks/simulated_studies.py                    the whole table: minutes on two cores
    python benchmarks/simulated_studies.py --studies 100      a look
    python benchmarks/simulated_studies.py --only folds       one topic; --list names them all
    python benchmarks/simulated_studies.py --output simulated_studies.json

One table a topic: a row is a setting in which the truth is known, a column a method with what it
promises. A cell is, in percent with its standard error from the number of studies:
* of an interval, the studies in which it holds the truth;
* of a test, the studies in which it claims something that isn't so;
* of a correction by false discoveries, the mean share of false claims among the claims;
each of the studies that have an answer, with the share of those that have none behind it. What misses
its promise by more than 1.5 points is in bold: short or wide intervals, bold or careful tests. On which
side intervals miss is in the JSON file. A study's random numbers depend on its setting and number only,
not on processes or other rows.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import simulated_patients
import simulated_repeats
import statsmodels
from simulation import TOO_HIGH, TOO_LOW, Outcomes

from medtransfer.provenance import processor, software_versions
from medtransfer.seeds import derived_seed

SCENARIOS = [*simulated_repeats.SCENARIOS, *simulated_patients.SCENARIOS]
TOPICS = list(dict.fromkeys(scenario.topic for scenario in SCENARIOS))
PROMISED = {"95 % interval": 95.0, "90 % interval": 90.0, "5 % test": 5.0, "5 % false share": 5.0}
TOLERANCE = 1.5
# of a task that a process is given
STUDIES_AT_ONCE = 250


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="+", metavar="TOPIC", choices=TOPICS, default=TOPICS)
    add("--studies", type=int, help="of each setting; by default 2,000, or 4,000 where they are quick")
    add("--processes", type=int, default=os.cpu_count() or 1)
    add("--output", type=Path, help="JSON file, rewritten after each topic")
    add("--list", action="store_true", help="name the topics and stop")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.list:
        print(*TOPICS, sep="\n")
        return
    facts: dict[str, Any] = {**machine(), "rows": []}
    # statsmodels collects garbage at every correction: what was imported need not be looked through
    with ProcessPoolExecutor(arguments.processes, initializer=gc.freeze) as pool:
        for topic in arguments.only:
            found = list(rows(topic, arguments.studies, pool.map))
            print_table(topic, found)
            facts["rows"] += found
            if arguments.output:
                arguments.output.write_text(json.dumps(facts, indent=1) + "\n")
    print()
    print(*(f"{key}: {value}" for key, value in facts.items() if key != "rows"), sep="; ")


def rows(
    topic: str, studies: int | None, mapped: Callable[..., Iterable[Any]] = map
) -> Iterator[dict[str, Any]]:
    """Each method in each setting of a topic.

    Args:
        topic: one of TOPICS.
        studies: of each setting; None for as many as it has.
        mapped: as ``map``, perhaps over processes.
    """
    places = [place for place, scenario in enumerate(SCENARIOS) if scenario.topic == topic]
    counts = {place: studies or SCENARIOS[place].studies for place in places}
    tasks = [(place, *part) for place, count in counts.items() for part in _parts(count)]
    outcomes: dict[int, list[Outcomes]] = {place: [] for place in places}
    for (place, _, _), some in zip(tasks, mapped(simulated, tasks), strict=True):
        outcomes[place] += some
    for place in places:
        yield from summarised(place, outcomes[place])


def _parts(studies: int) -> list[tuple[int, int]]:
    starts = range(0, studies, STUDIES_AT_ONCE)
    return [(start, min(start + STUDIES_AT_ONCE, studies)) for start in starts]


def simulated(task: tuple[int, int, int]) -> list[Outcomes]:
    """Outcomes of some studies of a scenario: its place, the first and one after the last."""
    place, first, end = task
    scenario = SCENARIOS[place]
    seed = derived_seed(0, f"{scenario.topic}: {scenario.setting}")
    with np.errstate(all="ignore"):
        return [scenario.study(np.random.default_rng([seed, study])) for study in range(first, end)]


def summarised(place: int, outcomes: list[Outcomes]) -> Iterator[dict[str, Any]]:
    """A row for each method."""
    scenario = SCENARIOS[place]
    for method, first in outcomes[0].items():
        values = np.array([outcome[method].value for outcome in outcomes])
        yield {
            "topic": scenario.topic, "method": method, "setting": scenario.setting,
            "promised": first.kind, **shares(first.kind, values), "studies": len(values),
        }  # fmt: skip


def shares(kind: str, values: np.ndarray) -> dict[str, Any]:
    """What was found, in percent, and whether it misses what was promised."""
    known = values[~np.isnan(values)]
    undefined = 100 * float(np.mean(np.isnan(values)))
    if not len(known):
        return dict.fromkeys(("found", "se", "below", "above"), math.nan) | {
            "none": undefined,
            "so": "",
        }
    interval = "interval" in kind
    each = (known == 0).astype(float) if interval else known
    found = 100 * float(each.mean())
    return {
        "found": found,
        "se": 100 * float(each.std()) / math.sqrt(len(known)),
        "below": 100 * float(np.mean(known == TOO_LOW)) if interval else math.nan,
        "above": 100 * float(np.mean(known == TOO_HIGH)) if interval else math.nan,
        "none": undefined,
        "so": verdict(found - PROMISED[kind], interval),
    }


def verdict(off: float, interval: bool) -> str:
    if abs(off) <= TOLERANCE:
        return ""
    return ("wide" if off > 0 else "short") if interval else ("bold" if off > 0 else "careful")


def print_table(topic: str, found: list[dict[str, Any]]) -> None:
    """A row a setting, a column a method."""
    columns = list(dict.fromkeys((row["method"], row["promised"]) for row in found))
    cells = {(row["setting"], row["method"]): cell(row) for row in found}
    studies = {row["setting"]: row["studies"] for row in found}
    print(f"\n### {topic}\n")
    heads = [f"{method} ({promised.partition('%')[0]}%)" for method, promised in columns]
    print_line(["setting", *heads, "studies"])
    print_line(["---"] * (len(columns) + 2))
    for setting, count in studies.items():
        shown = [cells.get((setting, method), "") for method, _ in columns]
        print_line([setting, *shown, f"{count:,}"])


def cell(row: dict[str, Any]) -> str:
    if math.isnan(row["found"]):
        return "none"
    text = f"{row['found']:.1f} ± {row['se']:.1f}"
    text = f"**{text} {row['so']}**" if row["so"] else text
    return text + (f" ({row['none']:.1f} none)" if row["none"] else "")


def print_line(cells: Iterable[object]) -> None:
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def machine() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": processor(),
        **software_versions(),
        "scipy": scipy.__version__,
        "statsmodels": statsmodels.__version__,
        "resamples": simulated_patients.RESAMPLES,
    }


if __name__ == "__main__":
    main()
