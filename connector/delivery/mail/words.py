"""The words of a mail: templates of ours and an organization's own above them, filled for one mail (L7).

A template is written in a small part of Jinja2, so that whoever may write one cannot stop the daemon with it: blocks,
``if``, ``for``, comparisons and the filters below. There are no calls, macros, imports, variables or lists of its own,
arithmetic but subtraction, or functions such as ``range``. What is bounded: 64 KiB and 1,000 parts a file, 20 loops,
of which two may stand in each other, 100 turns of a loop, 256 KiB of text that comes out; and the work of a part of a
mail, which is counted while it is done (``_Work``). What a message says is cut: 2,000 characters of each text, 100 of
each list.

Prohibition: reads nothing but templates, sends nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from jinja2 import (
    BaseLoader,
    Environment,
    StrictUndefined,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    nodes,
    pass_context,
    pass_environment,
)
from jinja2.filters import FILTERS
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.tests import TESTS
from markupsafe import Markup

from connector.delivery.mail.characters import DIRECTIONS, is_control, name, one_line
from connector.delivery.mail.kinds import KINDS, MailKind, Readers
from connector.delivery.mail.labels import CHANGES, REASONS, counted, plural
from ledger.errors import BadInput
from ledger.instant import require_aware, to_minute
from ledger.settings import Language

MOST_ITEMS: Final = 100
"""Messages that one mail lists; ``Letter.more`` says how many there are beyond them."""
SUBJECT_LIMIT: Final = 200
"""Characters of a subject."""
FILE_LIMIT: Final = 64 * 1024
"""Octets of a template."""

_LANGUAGES: tuple[Language, ...] = get_args(Language)
_BUILT_IN = Path(__file__).parent / "templates"
_OURS = "rosterd/"
"""Before the name of a template: ours, whatever the organization has of that name."""
_FRAME = "frame"
_PART, _PARTS = "part", ("subject", "text", "html")
"""Which part of the mail a template is asked for, as the frame knows it; also the names of the blocks."""
_NAMED = "named"
_CODE = Markup('<code style="font-size: 15px">{}</code>')
_OPTION = Markup('<span style="white-space: nowrap">{}</span>')
_TEXT_LIMIT, _OUTPUT_LIMIT = 2000, 256 * 1024
_MOST_NODES, _MOST_LOOPS, _DEEPEST_LOOP = 1000, 20, 2
_MOST_WORK, _CALL = 500_000, 10
"""Units of work for one part of a mail, well under a second · of a filter, a comparison or a printed value, beside the
length of what it is given."""
_WORK = " work"
"""Under which a mail's values hold its ``_Work``; no template can write this name."""
_MOST_FILES = 300
"""Files and folders that a check of an organization's folder looks at."""
_UNSEEN = re.compile(
    r"<!--.*?(?:--!?>|\Z)|<(head|title|style|script|template)\b.*?(?:</\1|\Z)", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<[^<>]*>")
_SIGNATURE = "-- "
"""The line before a foot: mail programs know it by the space."""
_FILTERS = ("default", "length", "first", "last", "sort", "upper", "lower", "trim", "truncate", "dictsort", "e")
_TESTS = ("defined", "none", "eq", "ne", "in", "odd", "even", "string", "number")
_NODES = (
    nodes.Template, nodes.Extends, nodes.Block, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const,
    nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.If, nodes.For, nodes.CondExpr, nodes.And, nodes.Or, nodes.Not,
    nodes.Compare, nodes.Operand, nodes.Filter, nodes.Test, nodes.Keyword, nodes.Tuple, nodes.Sub, nodes.Call,
)  # fmt: skip
_WHOLE = ("join", "sort", "dictsort")
"""Filters that look at all that is in a list; the others only at its length."""
_BREAKS = (TemplateError, SyntaxError, RecursionError, MemoryError, ArithmeticError, ValueError, TypeError, LookupError,
           AttributeError, AssertionError, OSError)  # fmt: skip
"""What a broken template raises when it is read, compiled or filled."""


@dataclass(frozen=True, slots=True)
class Item:
    """One message of the outbox in a mail: its payload, when it was written, and the name of whom or what it is about
    as the book has it now (empty: not known)."""

    payload: Mapping[str, Any]
    at: datetime
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a template is filled with. Templates know it by the names in ``docs/mail.md``.

    ``organization``: its name. ``items``: the messages, oldest first, one unless the kind is a digest; at most 100.
    ``more``: messages beyond them. ``person``: name of who is written to. ``teams``: names of the Teams a person is
    invited to, as far as known. ``link``: the page to go to, without authority of its own (N7). ``expires_at``: until
    when it stands; None: for ever. ``public_url``: address of this installation, for the foot. ``named``: id of the
    organization, where commands have to name it; empty: there is one only. Raises ``ValueError`` for what no mail may
    hold.
    """

    organization: str
    items: Sequence[Item]
    more: int = 0
    person: str = ""
    teams: Sequence[str] = ()
    link: str = ""
    expires_at: datetime | None = None
    public_url: str = ""
    named: str = ""

    def __post_init__(self) -> None:
        """A mail is about something, and its links are addresses of pages."""
        if not 1 <= len(self.items) <= MOST_ITEMS:
            raise ValueError(f"a mail is about 1 to {MOST_ITEMS} messages, not {len(self.items)}")
        for link in (self.link, self.public_url):
            if link and not _is_page(link):
                raise ValueError("a link in a mail is the address of a page, https://…")

    def values(self) -> dict[str, Any]:
        """By the names that templates use."""
        items = [
            {**_kept(item.payload), "at": require_aware(item.at), "about": name(item.about)} for item in self.items
        ]
        return {
            "organization": name(self.organization),
            "person": name(self.person),
            "teams": [name(team) for team in self.teams[:MOST_ITEMS]],
            "link": self.link,
            "expires_at": self.expires_at,
            "public_url": self.public_url,
            _NAMED: self.named,
            "items": items,
            "item": items[0],
            "more": self.more,
            "count": len(items) + self.more,
        }


@dataclass(frozen=True, slots=True)
class Rendered:
    """One mail in words: ``subject`` on one line, ``text`` for every reader, ``html`` a whole page."""

    subject: str
    text: str
    html: str


class Templates:
    """The templates of an organization: its own where it has one, else ours. Files are looked at each time, so that a
    corrected one counts at once."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: the organization's own (``[mail] templates``), with ``en/KIND.j2`` and ``pl/KIND.j2``."""
        self._folder = folder
        self._files = {language: _Files(folder, language) for language in _LANGUAGES}
        self._plain = {language: _environment(self._files[language], language, html=False) for language in _LANGUAGES}
        self._pages = {language: _environment(self._files[language], language, html=True) for language in _LANGUAGES}

    def render(self, kind: MailKind, language: Language, letter: Letter) -> Rendered:
        """The mail in words. Raises ``BadInput`` that names file and line of a broken template, ``ValueError`` for an
        invite without a link."""
        return self._render(kind, language, letter, _MOST_WORK)

    def _render(self, kind: MailKind, language: Language, letter: Letter, most_work: int) -> Rendered:
        person = kind.readers is Readers.PERSON
        if person and not letter.link:
            raise ValueError(f"{kind.name} needs a link")
        values, origin = letter.values(), self._origin(kind.name, language)
        plain, pages = self._plain[language], self._pages[language]
        try:
            subject = one_line(_filled(plain, kind.name, "subject", values, most_work), SUBJECT_LIMIT)
            text = _tidy(_filled(plain, kind.name, "text", values, most_work))
            html = _filled(pages, kind.name, "html", values, most_work).strip() + "\n"
        except _BREAKS as error:
            raise self._broken(error, origin) from error
        if not subject or not text.strip():
            raise _fault("the subject or the text of the mail is empty", origin)
        if person and not (letter.link in text and _is_seen(letter.link, html)):
            what = "the mail has lost its link: write {{ link }} in the blocks text and html, as text or <a href>"
            raise _fault(what, origin)
        return Rendered(subject, text, html)

    def check(self) -> tuple[BadInput, ...]:
        """Every fault of the organization's own templates, each with its file; empty when there are none."""
        if self._folder is None:
            return ()
        if not self._folder.is_dir():
            return (_fault("there is no such folder", str(self._folder), "correct [mail] templates"),)
        files = [*islice(_files_in(self._folder), _MOST_FILES + 1)]
        if len(files) > _MOST_FILES:
            what = f"the folder holds more than {_MOST_FILES} files: it is not one of templates"
            return (_fault(what, str(self._folder), "correct [mail] templates"),)
        found: dict[str, BadInput] = {}
        for path in sorted(path for path in files if not path.is_dir() or path.suffix == ".j2"):
            for fault in self._faults(path):
                found.setdefault(str(fault), fault)
        return tuple(found.values())

    def _faults(self, path: Path) -> Iterator[BadInput]:
        """Of one file."""
        own = path.relative_to(self._folder or path).parts
        stem = own[-1].removesuffix(".j2")
        language = next((one for one in _LANGUAGES if own[:-1] == (one,)), None)
        if language is None or own[-1] == stem or stem not in {_FRAME, *KINDS}:
            hint = f"name it en/KIND.j2 or pl/KIND.j2, where KIND is {_FRAME}, {', '.join(KINDS)}"
            yield _fault("this file is no template of a mail", str(path), hint)
            return
        try:
            environment = self._plain[language]
            source, file, _ = self._files[language].get_source(environment, f"{stem}.j2")
            unknown = find_undeclared_variables(environment.parse(source, f"{stem}.j2", file)) - _KNOWN
        except BadInput as unread:
            yield unread
            return
        except _BREAKS as error:
            yield self._broken(error, str(path))
            return
        if unknown:
            what = f"there is no variable {', '.join(sorted(unknown))}; there are {', '.join(sorted(_KNOWN - {_PART}))}"
            lines = source.splitlines()
            line = next((n for n, text in enumerate(lines, 1) if any(name in text for name in unknown)), 1)
            yield _fault(what, f"{path}:{line}")
            return
        for kind in KINDS.values() if stem == _FRAME else (KINDS[stem],):
            fault = next(self._faults_of(kind, language), None)
            if fault is not None and fault.where.startswith(str(_BUILT_IN)):
                fault = _fault(f"{kind.name} in this frame: {fault.what}", str(path))
            yield from () if fault is None else (fault,)

    def _faults_of(self, kind: MailKind, language: Language) -> Iterator[BadInput]:
        """Of one kind of mail, filled with its example, with as little as may be known, with much, and as a digest.

        With half of the work that a mail may take: what people write is longer than an example.
        """
        for letter in (example(kind), *_variants(kind)):
            try:
                self._render(kind, language, letter, _MOST_WORK // 2)
                subject = _filled(self._plain[language], kind.name, "subject", letter.values(), _MOST_WORK)
            except BadInput as fault:
                yield fault
                continue
            if len(letter.teams) < MOST_ITEMS and len(" ".join(subject.split())) > SUBJECT_LIMIT:
                what = f"the subject is longer than {SUBJECT_LIMIT} characters"
                yield _fault(what, self._origin(kind.name, language))

    def _origin(self, kind: str, language: Language) -> str:
        """The file that a kind of mail is written in."""
        own = self._folder / language / f"{kind}.j2" if self._folder else None
        return str(own if own and os.path.lexists(own) else _BUILT_IN / language / f"{kind}.j2")

    def _broken(self, error: BaseException, origin: str) -> BadInput:
        """The fault with file and line, as far as Jinja2 knows them."""
        what = str(getattr(error, "message", "") or error or type(error).__name__)
        if isinstance(error, TemplateSyntaxError):
            file = error.filename if error.filename and error.filename.endswith(".j2") else origin
            return _fault(what, f"{file}:{error.lineno}")
        homes = [str(_BUILT_IN), *([str(self._folder)] if self._folder else [])]
        places = [(frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)]
        lines = [place for place in places if place[0].endswith(".j2") and place[0].startswith(tuple(homes))]
        return _fault(what, ":".join(map(str, lines[-1])) if lines else origin)


def example(kind: MailKind) -> Letter:
    """A letter of the kind with the example of the catalogue, for previews and for checks of templates."""
    at = datetime(2026, 7, 23, 14, 5, tzinfo=UTC)
    person = kind.readers is Readers.PERSON
    return Letter(
        organization="Acme Sp. z o.o.",
        items=(Item(kind.example, at, "Jane Doe"),),
        person="Jane Doe" if person else "",
        teams=("Design",) if person else (),
        link="https://accounts.vendor.example/login?organization=acme&invite=1" if person else "",
        expires_at=datetime(2026, 8, 22, 14, 5, tzinfo=UTC) if person else None,
        public_url="https://accounts.vendor.example",
    )


def _variants(kind: MailKind) -> Iterator[Letter]:
    """The example with little known, with many Teams, as a digest of a few and as the longest one."""
    whole = example(kind)
    [item] = whole.items
    if whole.teams:
        yield replace(whole, teams=[*whole.teams] * MOST_ITEMS)
    yield Letter(organization=whole.organization, items=(Item(item.payload, item.at),), link=whole.link)
    if kind.digest:
        for number in (3, MOST_ITEMS):
            yield Letter(organization=whole.organization, items=(item,) * number, more=2, public_url=whole.public_url)


class _Language(SandboxedEnvironment):
    """Jinja2 without what could take long or much; see the top of this file."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A value of a message by its name; never a method of a dictionary."""
        if isinstance(obj, dict):
            return self.getitem(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """As ``getattr``; a position in a list."""
        if isinstance(obj, dict):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        refuse = partial(_refuse, name=name, filename=filename)
        _check_tree(tree, refuse, (name or "").removeprefix(_OURS))
        _count_work(tree)
        tree.set_environment(self)
        return tree


@dataclass(slots=True)
class _Work:
    """What filling one part of a mail may still cost: about one unit a step of a template or a character. Every turn
    of a loop costs what stands in the loop; every filter, comparison and printed value, the length of its values."""

    left: int

    def take(self, units: int) -> None:
        """Raises ``ValueError`` when it is too much."""
        self.left -= units
        if self.left < 0:
            raise ValueError("the template does too much: its loops, filters and comparisons take too long together")

    def weigh(self, value: Any, *, whole: bool = False) -> None:
        """Take what a step costs that looks at ``value``; ``whole``: at all that is in it, too."""
        self.take(_CALL)
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if not isinstance(one, str | list | tuple | dict):
                continue
            self.take(len(one))
            if whole and isinstance(one, dict):
                waiting += [*one, *one.values()]
            elif whole and not isinstance(one, str):
                waiting += one


def _count_work(tree: nodes.Template) -> None:
    """Let each loop, filter and comparison of a template say what it is about to do before it does it."""
    loops = [(loop, _size(loop)) for loop in tree.find_all(nodes.For)]
    filters, tests = [*tree.find_all(nodes.Filter)], [*tree.find_all(nodes.Test)]
    for filtered in filters:
        filtered.node = filtered.node and _call(filtered.node, "weighed", filtered.name in _WHOLE)
    for test in tests:
        test.node = _call(test.node, "weighed", True)
        test.args = [_call(given, "weighed", True) for given in test.args]
    for compared in [*tree.find_all(nodes.Compare)]:
        compared.expr = _call(compared.expr, "weighed", True)
        for operand in compared.ops:
            operand.expr = _call(operand.expr, "weighed", True)
    for loop, size in loops:
        loop.iter = _call(loop.iter, "turns", size)


def _call(value: nodes.Node, named: str, given: int) -> nodes.Filter:
    lineno = value.lineno
    return nodes.Filter(value, named, [nodes.Const(given, lineno=lineno)], [], None, None, lineno=lineno)


def _size(node: nodes.Node) -> int:
    """The parts of a piece of a template, and the characters that are written out in it."""
    texts = (getattr(one, "value", None) or getattr(one, "data", None) for one in node.find_all(nodes.Literal))
    return sum(1 for _ in node.find_all(nodes.Node)) + sum(len(text) for text in texts if isinstance(text, str))


class _Files(BaseLoader):
    """``KIND.j2``: the organization's own file, else ours; ``rosterd/KIND.j2``: ours.

    What is there of an organization's own and cannot be read is a ``BadInput``: ours never stand in for it, and no
    link leads out of its folder.
    """

    def __init__(self, folder: Path | None, language: Language) -> None:
        self._folder, self._language = folder, language
        self._ours = _BUILT_IN / language

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """The text, its file, and whether both are still so."""
        path = self._path(template)
        if not path.is_file():
            raise TemplateNotFound(template)
        refuse = partial(_refuse, name=template, filename=str(path))
        # a pipe that was put there meanwhile would wait for its other end
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            read = file.read(FILE_LIMIT + 1)
        changed = path.stat().st_mtime_ns
        if len(read) > FILE_LIMIT:
            raise refuse(f"the file is larger than {FILE_LIMIT // 1024} KiB", 1)
        try:
            text = read.decode("utf-8")
        except UnicodeDecodeError as error:
            raise refuse("the file is not UTF-8", read[: error.start].count(b"\n") + 1) from error
        return text, str(path), lambda: self._path(template) == path and path.stat().st_mtime_ns == changed

    def _path(self, template: str) -> Path:
        bare = template.removeprefix(_OURS)
        if self._folder is None or bare != template:
            return self._ours / bare
        if not self._folder.is_dir():
            raise _fault("there is no such folder", str(self._folder), "correct [mail] templates")
        language = self._folder / self._language
        if os.path.lexists(language) and not language.is_dir():
            raise _fault("this is no folder", str(language), "make it a folder, or remove it")
        own = language / bare
        if not os.path.lexists(own):
            return self._ours / bare
        try:
            regular = stat.S_ISREG(own.stat().st_mode)
        except OSError as error:
            raise _fault(f"the file cannot be read: {error.strerror}", str(own)) from error
        if not regular:
            raise _fault("this is no file", str(own))
        if not own.resolve().is_relative_to(self._folder.resolve()):
            raise _fault("the file lies outside of the folder of templates: a link leads there", str(own))
        return own


def _files_in(folder: Path) -> Iterator[Path]:
    """What is in a folder and below it, but for names that begin with a dot; links to folders are gone into only where
    templates of a language may stand."""
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        with os.scandir(parent) as entries:
            for entry in entries:
                path = parent / entry.name
                if entry.name[:1] == ".":
                    continue
                yield path
                linked = parent == folder and entry.name in _LANGUAGES
                if entry.is_dir(follow_symlinks=linked):
                    waiting.append(path)


def _environment(files: BaseLoader, language: Language, *, html: bool) -> Environment:
    environment = _Language(
        loader=files,
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
    )
    environment.globals.clear()
    environment.filters = {named: FILTERS[named] for named in _FILTERS} | {
        "counted": counted,
        "plural": plural,
        "moment": _moment,
        "day": _day,
        "join": _joined,
        "command": _command_page if html else _command,
        "change": partial(_label, CHANGES[language]),
        "reason": partial(_label, REASONS[language]),
        "sort": _sorted,
        "turns": _turns,
        "weighed": _weighed,
    }
    environment.tests = {named: TESTS[named] for named in _TESTS}
    return environment


def _check_tree(tree: nodes.Template, refuse: Callable[[str, int], TemplateSyntaxError], own: str) -> None:
    """Raise for what is not part of the language of templates."""
    count = 0
    parents = {f"{_FRAME}.j2", f"{_OURS}{own}"} - {own}
    waiting: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while waiting:
        node, loops = waiting.pop()
        count += 1
        line = getattr(node, "lineno", None) or 1
        if not isinstance(node, _NODES):
            raise refuse(f"a template of a mail may not use {type(node).__name__}", line)
        if isinstance(node, nodes.Call) and not (_is_super(node) and not loops):
            raise refuse("a template of a mail calls nothing but super(), and that in no loop", line)
        if isinstance(node, nodes.Block) and (loops or (node.name not in _PARTS)):
            raise refuse(f"block {node.name}: the blocks are {', '.join(_PARTS)}, and none stands in a loop", line)
        if isinstance(node, nodes.Tuple) and node.ctx != "store":
            raise refuse("a template of a mail writes no lists of its own", line)
        if isinstance(node, nodes.Extends) and getattr(node.template, "value", None) not in parents:
            raise refuse(f"a template extends {' or '.join(sorted(parents))}", line)
        if isinstance(node, nodes.Filter) and not _written_out(node):
            raise refuse("what is given to a filter is written out: a text or a number", line)
        if isinstance(node, nodes.For):
            loops += 1
            if loops > _DEEPEST_LOOP or node.recursive:
                raise refuse("loops stand at most two in each other, and are not recursive", line)
        waiting += [(child, loops) for child in node.iter_child_nodes()]
    if count > _MOST_NODES:
        raise refuse(f"the template has more than {_MOST_NODES} parts", 1)
    if sum(1 for _ in tree.find_all(nodes.For)) > _MOST_LOOPS:
        raise refuse(f"the template has more than {_MOST_LOOPS} loops", 1)
    if own != f"{_FRAME}.j2" and not tree.find(nodes.Extends):
        raise refuse(f'a template of a mail begins with {{% extends "{_FRAME}.j2" %}}', 1)


def _is_super(node: nodes.Call) -> bool:
    given = (node.args, node.kwargs, node.dyn_args, node.dyn_kwargs)
    return isinstance(node.node, nodes.Name) and node.node.name == "super" and not any(given)


def _written_out(node: nodes.Filter) -> bool:
    given = [*node.args, *(keyword.value for keyword in node.kwargs)]
    return all(isinstance(one, nodes.Const) for one in given) and not (node.dyn_args or node.dyn_kwargs)


def _refuse(what: str, line: int, *, name: str | None, filename: str | None) -> TemplateSyntaxError:
    return TemplateSyntaxError(what, line, name, filename)


def _fault(what: str, where: str, next_step: str = "") -> BadInput:
    usual = "correct the file, or remove it: then the built-in template is used"
    return BadInput(one_line(what, 500), where=where, next_step=next_step or usual)


def _filled(environment: Environment, kind: str, part: str, values: Mapping[str, Any], most_work: int) -> str:
    """One part of a mail, as the template has it."""
    values = {**values, _PART: part, _WORK: _Work(most_work)}
    pieces, size = [], 0
    for piece in environment.get_template(f"{kind}.j2").generate(values):
        size += len(piece)
        if size > _OUTPUT_LIMIT:
            raise ValueError(f"the mail would be larger than {_OUTPUT_LIMIT // 1024} KiB")
        pieces.append(piece)
    return "".join(pieces)


def _is_seen(link: str, html: str) -> bool:
    """Whether a reader of the page can follow the link or read it: not in a comment, not in its head."""
    shown, written = _UNSEEN.sub("", html), str(FILTERS["e"](link))
    # behind an address comes its quote, or what ends an attribute without one
    followed = re.search(rf"<a\b[^<>]*\shref\s*=\s*[\"']?{re.escape(written)}[\"'\s>]", shown, re.IGNORECASE)
    return bool(followed) or written in _TAG.sub(" ", shown)


def _tidy(text: str) -> str:
    """No spaces at the end of lines but of the one before a foot, no two empty lines in a row, one line break at the
    end."""
    lines: list[str] = []
    for line in (one if one == _SIGNATURE else one.rstrip() for one in text.strip().split("\n")):
        if line or (lines and lines[-1]):
            lines.append("".join(" " if is_control(one) else one for one in line if one not in DIRECTIONS))
    return "\n".join(lines) + "\n"


def _kept(value: Any) -> Any:
    """A payload as templates see it: texts on one line, of bounded length; lists of bounded length."""
    if isinstance(value, str):
        return one_line(value, _TEXT_LIMIT)
    if isinstance(value, Mapping):
        return {one_line(str(key), _TEXT_LIMIT): _kept(part) for key, part in list(value.items())[:MOST_ITEMS]}
    if isinstance(value, list | tuple):
        return [_kept(part) for part in value[:MOST_ITEMS]]
    return value


def _is_page(link: str) -> bool:
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    odd = any(one.isspace() or is_control(one) or one in DIRECTIONS or one in '<>"' for one in link)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not odd


def _printable(value: Any) -> Any:
    """What a template prints is a text or a number: a list or nothing is a mistake in the template."""
    if value is None or isinstance(value, list | tuple | dict):
        what = "nothing" if value is None else "a list"
        raise TypeError(f"{what} cannot be written into a mail: use if, for or join")
    return _moment(value) if isinstance(value, datetime) else value


@pass_context
def _printed(context: Context, value: Any) -> Any:
    """The same, counted."""
    value = _printable(value)
    context[_WORK].weigh(value)
    return value


@pass_context
def _weighed(context: Context, value: Any, whole: bool) -> Any:
    """The value; that a step looks at it is counted."""
    context[_WORK].weigh(value, whole=whole)
    return value


def _moment(value: datetime | str) -> str:
    """``2026-07-23 14:05 UTC``, of an instant or of its RFC 3339 text."""
    return to_minute(datetime.fromisoformat(value) if isinstance(value, str) else value)


def _day(value: datetime | str) -> str:
    """``2026-07-23``, of a day or of an instant."""
    return date.fromisoformat(value).isoformat() if isinstance(value, str) and len(value) == 10 else _moment(value)[:10]


def _joined(values: Any, between: str = ", ") -> str:
    return between.join(str(_printable(value)) for value in _listed(values))


@pass_environment
def _sorted(environment: Environment, values: Any, **given: Any) -> Sequence[Any]:
    sort: Callable[..., list[Any]] = FILTERS["sort"]
    return sort(environment, _listed(values), **given)


@pass_context
def _turns(context: Context, values: Any, size: int) -> Sequence[Any]:
    """What a loop goes over; ``size``: what stands in the loop, which is done in every turn."""
    found = _listed(values)
    context[_WORK].take(_CALL + len(found) * size)
    return found


def _listed(values: Any) -> Sequence[Any]:
    """A list, or the keys of a mapping; never the characters of a text."""
    if not isinstance(values, list | tuple | dict):
        raise TypeError(f"a loop or a filter goes over a list, not over {type(values).__name__}")
    return list(values)[:MOST_ITEMS]


@pass_context
def _command(context: Context, value: Any, form: str = "{}") -> str:
    """A command as it is typed: ``form`` with the value in the place of ``{}``, quoted where a shell needs it; and the
    organization, where there are several."""
    said = form.replace("{}", str(value) if form == "{}" else shlex.quote(str(value)), 1)
    named = context.get(_NAMED)
    return f"{said} -o {named}" if named else said


@pass_context
def _command_page(context: Context, value: Any, form: str = "{}") -> Markup:
    """The same for the HTML part: an option is never broken behind its hyphens."""
    words = _command(context, value, form).split(" ")
    return _CODE.format(Markup(" ").join(_OPTION.format(word) if word[:1] == "-" else word for word in words))


def _label(labels: Mapping[str, str], code: str) -> str:
    return labels.get(code, code)


_KNOWN = frozenset({*example(KINDS["invite.mail"]).values(), _PART})
