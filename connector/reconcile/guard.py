"""The guard: splits a plan into what may be applied and what must wait for a named approval (G1, G2, G4, G7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from connector.reconcile.plan import Bundle, count_kinds, digest_of


@dataclass(frozen=True, slots=True)
class Trip:
    """One limit that was exceeded: in ``scope`` (organization, Team or mapping, by name), ``harm`` would touch
    ``people`` of ``population`` people, counting ``before`` touched earlier in the ``window``; ``limit`` allows fewer."""

    scope: str
    harm: str
    window: str
    people: int
    before: int
    limit: int
    population: int

    @property
    def text(self) -> str:
        """In words."""
        if self.window == "zero":
            return f"{self.scope}: {self.harm} of {self.people} would leave nobody (R8)"
        earlier = f" and {self.before} earlier" if self.before else ""
        return f"{self.scope}: {self.harm} of {self.people}{earlier} in {self.window} exceeds {self.limit} of {self.population}"


@dataclass(frozen=True)
class Guarded:
    """What goes and what waits. ``approved`` counts people whose harm an approval let through."""

    policy_hash: str
    allowed: tuple[Bundle, ...]
    held: tuple[Bundle, ...]
    trips: tuple[Trip, ...] = ()
    approved: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def held_digest(self) -> str:
        """SHA-256 that names exactly the held changes; empty when nothing is held."""
        if not self.held:
            return ""
        return digest_of((change for bundle in self.held for change in bundle.changes), "held:" + self.policy_hash)

    @property
    def held_counts(self) -> Mapping[str, int]:
        """Held changes by kind."""
        return count_kinds(self.held)
