"""Plots of the results, as PNG and as SVG, by matplotlib, which only the baselines' environment has.

    .venv/bench/bin/python benchmarks/plots.py benchmarks/results

What stays true: a plot shows what the JSON beside it says and nothing else; one whose part was not measured
is not drawn; the machine stands below each.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

Result = dict[str, Any]
OWN, OTHERS = "#1b6ca8", ("#b0413e", "#8a8d91", "#d9a441", "#6a994e")
STORES = {
    "narrator": "slide-narrator",
    "langgraph": "LangGraph PostgresSaver",
    "agents": "Agents SDK SQLAlchemySession",
}


def main(folder: Path) -> None:
    """Draw whatever there are results of."""
    mpl.rcParams.update({
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.alpha": 0.3, "svg.hashsalt": "threadmill", "figure.constrained_layout.use": True,
    })  # fmt: skip
    for draw in (draw_stores, draw_ratios, draw_waiting, draw_models, draw_documents):
        name = draw.__name__.removeprefix("draw_")
        figure = draw(folder)
        if figure is None:
            continue
        for suffix in ("png", "svg"):
            metadata = {"Date": None} if suffix == "svg" else None
            figure.savefig(folder / f"{name}.{suffix}", dpi=150, metadata=metadata)
        plt.close(figure)


def load(folder: Path, part: str) -> Result | None:
    """The result of a part, its figures by their keys; None where it was not measured."""
    path = folder / f"{part}.json"
    if not path.exists():
        return None
    result: Result = json.loads(path.read_text())
    return {**result, "figures": {figure["key"]: figure for figure in result["figures"]}} if result["figures"] else None


def draw_stores(folder: Path) -> Figure | None:
    """Time and WAL of a turn by the length of its conversation."""
    if (result := load(folder, "stores")) is None:
        return None
    lengths = sorted({int(key.split("_")[1]) for key in result["figures"] if key.startswith("narrator_")})
    figure, (time_axes, wal_axes) = plt.subplots(1, 2, figsize=(9, 3.6))
    for axes, unit, label in ((time_axes, "ms", "milliseconds"), (wal_axes, "kb", "write-ahead log, kB")):
        for (store, title), color in zip(STORES.items(), OTHERS, strict=False):
            values = [result["figures"][f"{store}_{length}_{unit}"]["value"] for length in lengths]
            axes.plot(lengths, values, "o-", color=color, label=title)
        values = [result["figures"][f"own_narrator_{length}_{unit}"]["value"] for length in lengths]
        axes.plot(lengths, values, "o-", color=OWN, linewidth=2.5, label="Threadmill")
        axes.set(xscale="log", yscale="log", xlabel="messages in the conversation", ylabel=f"a turn, {label}")
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    time_axes.legend(frameon=False)
    return finish(figure, "One turn: the conversation read, question and answer stored", result)


def draw_ratios(folder: Path) -> Figure | None:
    """The rates of turns and sends against the least that each could be, and what was asked for."""
    lines = []
    for part in ("turns", "send"):
        result = load(folder, part)
        figures = result["figures"].values() if result else ()
        lines += [figure for figure in figures if figure["ratio"] is not None and figure["unit"] == "/s"]
    if not lines or result is None:
        return None
    figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.4 * len(lines)))
    names = [line["label"] for line in lines][::-1]
    axes.barh(names, [line["ratio"] for line in lines][::-1], color=OWN, height=0.6)
    for height, line in enumerate(lines[::-1]):
        if line["demand"] and " x " in line["demand"]:
            limit = float(line["demand"].rpartition(" ")[2])
            axes.plot([limit, limit], [height - 0.38, height + 0.38], color=OTHERS[0], linewidth=2)
        axes.annotate(f" {line['ratio']:.2f}", (line["ratio"], height), va="center")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("ratio to the baseline, which is 1; red: what was asked for")
    return finish(figure, "Against a bare Celery task, and one row inserted and committed", result)


def draw_waiting(folder: Path) -> Figure | None:
    """Turns that wait in one process: what each takes, and whether the loop keeps up."""
    if (result := load(folder, "waiting")) is None:
        return None
    counts = sorted(int(key.rpartition("_")[2]) for key in result["figures"] if key.startswith("memory_"))
    kinds = {"memory": "KiB, each", "lag_p99": "lag of the loop, p99, ms", "late_p99": "late to settle, p99, ms"}
    figure, all_axes = plt.subplots(1, len(kinds), figsize=(9, 2.8))
    for axes, (key, title) in zip(all_axes, kinds.items(), strict=True):
        lines = [result["figures"][f"{key}_{count}"] for count in counts]
        axes.bar([f"{count:,}" for count in counts], [line["value"] for line in lines], color=OWN, width=0.5)
        axes.axhline(float(lines[0]["demand"].rpartition(" ")[2]), color=OTHERS[0])
        axes.set(title=title, xlabel="turns that wait")
        axes.grid(visible=False, axis="x")
    return finish(figure, "Waiting turns in one process; red: what was asked for", result)


def draw_models(folder: Path) -> Figure | None:
    """The processor time of a model call on each road."""
    if (result := load(folder, "models")) is None:
        return None
    lines = list(result["figures"].values())[::-1]
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.4 * len(lines)))
    colors = [OWN if "Threadmill" in line["label"] else OTHERS[1] for line in lines]
    axes.barh([line["label"] for line in lines], [line["value"] for line in lines], color=colors, height=0.6)
    for height, line in enumerate(lines):
        axes.annotate(f" {line['value']:.3g}", (line["value"], height), va="center")
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("milliseconds of processor time")
    return finish(figure, "One call of a model, fifty in the air", result)


def draw_documents(folder: Path) -> Figure | None:
    """Time and memory of a document by its format."""
    if (result := load(folder, "documents")) is None:
        return None
    figures = result["figures"]
    names = [key.removesuffix("_ms") for key in figures if key.endswith("_ms") and not key.startswith("other_")]
    figure, all_axes = plt.subplots(1, 2, figsize=(9, 3.4))
    for axes, unit, label in zip(all_axes, ("ms", "MiB"), ("milliseconds of processor time", "MiB"), strict=True):
        places = range(len(names))
        for key, shift, color, title in (
            ("{}_{}", -0.2, OWN, "Threadmill"),
            ("other_{}_{}", 0.2, OTHERS[0], "markitdown"),
        ):
            lines = [figures.get(key.format(name, unit)) for name in names]
            values = [line["value"] if line else 0 for line in lines]
            axes.bar([place + shift for place in places], values, width=0.4, color=color, label=title)
        axes.set(ylabel=label)
        axes.set_xticks(places, [f".{name}" for name in names], rotation=45)
        axes.grid(visible=False, axis="x")
    all_axes[0].legend(frameon=False)
    return finish(figure, "One document, read by a process of its own; markitdown where it was asked", result)


def finish(figure: Figure, title: str, result: Result) -> Figure:
    """A title above, the machine below."""
    machine = result["machine"]
    processor = f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']}"
    words = f"{machine['date']}, {processor}, Python {machine['python']}"
    figure.suptitle(title, fontweight="bold")
    figure.supxlabel(words, fontsize=7, color="gray")
    return figure


if __name__ == "__main__":
    main(Path(sys.argv[1]))
