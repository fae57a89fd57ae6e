"""What happens in one schedule, made by chance from its seed: a list of acts, of which any may be left out.

Pure: values only; ``company`` does them, ``shrinking`` leaves out whatever a failure does not need.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

PEOPLE = tuple(f"p{number}" for number in range(6))
SEATS = len(PEOPLE) + 1
"""What is bought: two who are hired by hand want the last one."""
DAEMONS = ("daemon A", "daemon B")
LOOKS = 8.0
"""Seconds between two looks of a daemon for what is due."""
WEB, ADMIN = "web", "admin"
_TOLD = 0.25


@dataclass(frozen=True, slots=True)
class Act:
    """``at``: virtual seconds, or the step of the schedule for what befalls a process. ``who``: a person or a
    process."""

    what: str
    at: float
    who: str = ""
    more: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return " ".join(str(part) for part in (f"{self.at:g}", self.what, self.who, *self.more) if part != "")


@dataclass(frozen=True, slots=True)
class Script:
    """``pushed``: the company's directory is an inbox. ``busy``, ``lost``: chances of waiting too long for the lock,
    and of a commit whose answer is lost. ``looking``: readers stop behind their first look. ``told``: the daemons
    deliver what is in the outbox."""

    seed: int
    pushed: bool
    busy: float
    lost: float
    looking: bool
    acts: tuple[Act, ...]
    told: bool = False

    def of(self, what: str) -> tuple[Act, ...]:
        """The acts of one kind."""
        return tuple(act for act in self.acts if act.what == what)


def make(seed: int, *, hosts: bool = False) -> Script:
    """The script of a seed. ``hosts``: the processes may be on hosts whose clocks differ."""
    chance = random.Random(f"script {seed}")

    def happens(share: float) -> bool:
        return chance.random() < share

    def within(seconds: float) -> float:
        """Any time, or as the daemons look for work: what meets nobody finds nothing."""
        at = chance.random() * seconds
        return round(at / LOOKS) * LOOKS if happens(0.6) else round(at, 1)

    acts = [Act("job", within(40)) for _ in range(chance.choice((1, 1, 2, 3)))]
    if happens(0.6):
        acts += [Act("approves", within(4)) for _ in range(chance.randrange(1, 3))]
    if happens(0.2):
        acts.append(Act("approves by command", within(30)))
    if happens(0.3):
        acts.append(Act("undoes", within(30)))
    moved = chance.sample(PEOPLE, chance.randrange(1, 4))
    acts += [Act("turns", within(20), uid, (within(20) if happens(0.5) else None,)) for uid in moved]
    acts += [Act("signs in", within(40), uid) for uid in sorted({*moved, chance.choice(PEOPLE)})]
    if happens(0.3):
        acts.append(Act("restricts", within(10)))
    if happens(0.7):
        acts.append(Act("applies", within(40)))
    if happens(0.25):
        acts.append(Act("turns sign-on off", within(40), "", (within(30),)))
    if happens(0.25):
        acts.append(Act("reloads", within(40), chance.choice(DAEMONS), (chance.choice(("strict", "wide")),)))
    pushed = happens(0.3)
    if pushed:
        acts += [Act("leaves and comes back", within(20), uid) for uid in chance.sample(PEOPLE, 3)]
    for _ in range(chance.choice((0, 0, 0, 2, 3))):
        acts.append(Act("is hired by hand", within(40), chance.choice(("n0", "n1")), (chance.choice((WEB, ADMIN)),)))
    if happens(0.25):
        acts.append(Act("is given a reason", within(40), chance.choice(PEOPLE)))
    if happens(0.15):
        acts.append(Act("clocks step", within(40), "", (chance.choice((-200.0, -60.0, 60.0, 200.0)),)))
    if happens(0.04):
        acts += [Act("publishes", within(40)) for _ in range(2)]
    if happens(0.3):
        acts.append(Act("is killed", chance.randrange(5, 120), chance.choice((*DAEMONS, ADMIN))))
    for _ in range(chance.randrange(0, 3)):
        still = chance.choice((30.0, 90.0, 200.0))
        acts.append(Act("stands still", chance.randrange(5, 100), chance.choice((*DAEMONS, ADMIN, ADMIN)), (still,)))
    if hosts and happens(0.3):
        acts.append(Act("is off", chance.choice((-180.0, -90.0, 90.0, 180.0)), chance.choice(DAEMONS)))
    if happens(0.75):  # a few things at once find most of it, in a third of the time
        acts = [Act("job", within(10)), *chance.sample(acts, min(len(acts), 4))]
    acts += [Act("changes priorities", chance.randrange(1, 120)) for _ in range(3)]
    busy, lost = chance.choice([(0.0, 0.0), (0.02, 0.0), (0.0, 0.02)])
    told = random.Random(f"told {seed}").random() < _TOLD  # apart: what else happens stays as it is
    return Script(seed, pushed, busy, lost, happens(0.3), tuple(acts), told)
