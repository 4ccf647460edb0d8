"""Counts and times in Prometheus's text format (version 0.0.4)."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Thread-safe. Labels take few values: an endpoint's pattern, never a path that a client made up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._times: dict[str, dict[Labels, list[float]]] = defaultdict(dict)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counters[name][_key(labels)] += amount

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """Add to a histogram."""
        with self._lock:
            row = self._times[name].setdefault(_key(labels), [0.0] * (len(_BUCKETS) + 2))
            for place, limit in enumerate(_BUCKETS):
                row[place] += seconds <= limit
            row[-2] += 1
            row[-1] += seconds

    def text(self, gauges: Iterable[tuple[str, Mapping[str, str], float]]) -> str:
        """All of them, and gauges as they are now, as Prometheus reads them."""
        lines: list[str] = []
        with self._lock:
            for name, rows in sorted(self._counters.items()):
                lines.append(f"# TYPE {name} counter")
                lines += [f"{name}{_shown(labels)} {value:g}" for labels, value in sorted(rows.items())]
            for name, times in sorted(self._times.items()):
                lines.append(f"# TYPE {name} histogram")
                for labels, row in sorted(times.items()):
                    for limit, value in zip((*_BUCKETS, "+Inf"), (*row[:-2], row[-2]), strict=True):
                        lines.append(f"{name}_bucket{_shown((*labels, ('le', str(limit))))} {value:g}")
                    lines += [f"{name}_count{_shown(labels)} {row[-2]:g}", f"{name}_sum{_shown(labels)} {row[-1]:.6f}"]
        named = ""
        for name, given, value in gauges:
            if name != named:
                lines.append(f"# TYPE {name} gauge")
                named = name
            lines.append(f"{name}{_shown(_key(given))} {value:g}")
        return "\n".join(lines) + "\n"


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    quoted = (
        f'{name}="' + value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'
        for name, value in labels
    )
    return "{" + ",".join(quoted) + "}"
