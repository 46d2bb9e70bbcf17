"""Where in its file a scenario says a thing: the line of a threshold, of an expected violation, of its name."""

from __future__ import annotations

from dataclasses import dataclass

from tem_sim.scenario.errors import Spot
from tem_sim.scenario.tree import Entry, Items, Leaf, Table, Tree


@dataclass(frozen=True, slots=True)
class Places:
    """The places in a scenario's tree; what its base says is at its place in the base."""

    tree: Table

    @property
    def name(self) -> Spot:
        """The place of the scenario as a whole: the key that names it."""
        entry = self.tree.entries.get("scenario")
        return self.tree.spot if entry is None else entry.key

    def threshold(self, metric: str, index: int = 0) -> Spot:
        """The place of a metric's threshold, by its number among those of this metric."""
        entry = self._entry("thresholds", metric)
        if entry is None:
            return self.name
        if isinstance(entry.tree, Items):
            return entry.tree.items[index].spot if index < len(entry.tree.items) else entry.key
        return entry.key

    def violation(self, check: str) -> Spot:
        """The place where a check is expected to be broken; of the others, that of the scenario."""
        entry = self._entry("expect", "violations")
        listed = entry.tree.items if entry is not None and isinstance(entry.tree, Items) else ()
        return next((item.spot for item in listed if isinstance(item, Leaf) and item.value == check), self.name)

    def fault(self, index: int, *keys: str) -> Spot:
        """The place of a fault, or of a setting of it; the fault itself where that is left out."""
        held = self.tree.entries.get("faults")
        if held is None or not isinstance(held.tree, Items) or index >= len(held.tree.items):
            return self.name
        item = held.tree.items[index]
        entry = item.entries.get(keys[0]) if keys and isinstance(item, Table) else None
        return item.spot if entry is None else entry.tree.spot

    def _entry(self, section: str, key: str) -> Entry | None:
        held = self.tree.entries.get(section)
        table: Tree | None = None if held is None else held.tree
        return table.entries.get(key) if isinstance(table, Table) else None
