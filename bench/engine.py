"""What a step of the engine costs, alone: `python bench/engine.py` prints JSON.

A graph of async nodes that each set one small value runs in memory with the no-op observer
and a checkpoint of every step in a MemoryStore, beside 1 kB and beside 10 MB of state that no
node touches.
The target is at most 40 µs a step, and within 20 % whatever the size.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from workflows.engine import (
    CheckpointConfig,
    Graph,
    GraphConfig,
    MemoryStore,
    NoOpObserver,
    State,
    key,
)

STEPS = 2_000  # of one measured run
ROUNDS = 15  # measured runs of each size, taken in turn
TARGET = 40.0  # µs a step
SPREAD = 1.2  # between the large and the small state, at most

KILOBYTE = 1_000


async def count(state: State) -> State:
    """The node that is measured: reads one key and sets it."""
    return state.set(count=state.get("count", 0) + 1)


async def end(state: State) -> State:
    """The exit."""
    return state


def loop() -> Graph:
    """A node that repeats itself, saved after every step."""
    config = GraphConfig(
        name="bench",
        max_iterations=STEPS + 1,
        checkpoint=CheckpointConfig(interval=1, preserve=True),
    )
    graph = Graph("bench", config, NoOpObserver(), MemoryStore())
    graph.add_node("count", count)
    graph.add_node("end", end)
    graph.add_edge("count", "end", key("count").at_least(STEPS))
    graph.add_edge("count", "count")
    graph.set_entry_point("count")
    graph.set_exit_point("end")
    return graph


def ballast(size: int) -> State:
    """A state with that many bytes in texts of a kilobyte, in lists of a hundred."""
    texts = [f"{number:0>{KILOBYTE}}" for number in range(max(1, size // KILOBYTE))]
    lists = {f"pages_{i}": texts[i : i + 100] for i in range(0, len(texts), 100)}
    return State(ballast=lists, count=0)


async def micros_a_step(state: State) -> float:
    """How long a step took in one run."""
    graph = loop()
    start = time.perf_counter()
    await graph.execute(state)
    return (time.perf_counter() - start) / (STEPS + 1) * 1e6


def main() -> None:
    """Measure both sizes in turn and print the medians and the best."""
    sizes = {"1 kB": ballast(KILOBYTE), "10 MB": ballast(10_000 * KILOBYTE)}
    times: dict[str, list[float]] = {name: [] for name in sizes}
    for state in sizes.values():
        asyncio.run(micros_a_step(state))  # warm up
    for _ in range(ROUNDS):
        for name, state in sizes.items():
            times[name].append(asyncio.run(micros_a_step(state)))
    median = {name: statistics.median(values) for name, values in times.items()}
    ratio = median["10 MB"] / median["1 kB"]
    report = {
        "what": "one async node, one conditional and one plain edge, checkpoint in memory",
        "micros_a_step": {name: round(value, 2) for name, value in median.items()},
        "best_micros_a_step": {
            name: round(min(values), 2) for name, values in times.items()
        },
        "ratio_of_10_MB_to_1_kB": round(ratio, 3),
        "target_micros": TARGET,
        "target_ratio": SPREAD,
        "within_target": max(median.values()) <= TARGET and ratio <= SPREAD,
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
