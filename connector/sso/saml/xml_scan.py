"""Reads hostile XML: one strict scan that refuses what SAML never needs, then a plain element tree.

Prohibition: no DTD, entity, comment, processing instruction or CDATA section ever reaches a reader behind this file.
Pure: no I/O here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn
from xml.etree.ElementTree import Element
from xml.parsers import expat

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring


class BadXml(ValueError):
    """``reason`` is a stable code: doctype, comment, instruction, cdata, too_many_elements, too_deep, namespace …"""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a document may hold."""

    characters: int
    elements: int
    depth: int = 64
    allow_comments: bool = False
    """Metadata written by hand has comments; a signed response never does."""


def read(data: bytes, limits: Limits) -> Element:
    """The root element; raises ``BadXml`` as soon as anything is refused, before anything is built."""
    if len(data) > limits.characters:
        raise BadXml("too_large", f"{len(data)} bytes")
    if data[:2] in {b"\xfe\xff", b"\xff\xfe"} or b"\x00" in data[:512]:
        raise BadXml("not_utf8")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadXml("not_utf8") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadXml("doctype")
    _scan(data, limits)
    try:
        root: Element = fromstring(data, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise BadXml("malformed", type(error).__name__) from error
    return root


def _scan(data: bytes, limits: Limits) -> None:
    """One pass without building anything: a bomb costs what its first refused byte costs."""
    parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
    count = depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count, depth
        count, depth = count + 1, depth + 1
        if count > limits.elements:
            raise BadXml("too_many_elements", f"more than {limits.elements}")
        if depth > limits.depth:
            raise BadXml("too_deep", f"more than {limits.depth}")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def namespace(prefix: str | None, uri: str | None) -> None:
        # a relative namespace makes some canonicalizers give up and hash nothing ("void canonicalization")
        if uri and ":" not in uri:
            raise BadXml("namespace", "relative namespace name")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartNamespaceDeclHandler = namespace
    parser.StartDoctypeDeclHandler = _refuse("doctype")
    parser.EntityDeclHandler = _refuse("doctype")
    parser.ProcessingInstructionHandler = _refuse("instruction")
    parser.XmlDeclHandler = _declaration
    if not limits.allow_comments:
        parser.CommentHandler = _refuse("comment")
        parser.StartCdataSectionHandler = _refuse("cdata")
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadXml("malformed", expat.ErrorString(error.code)) from error


def _declaration(version: str, encoding: str | None, standalone: int) -> None:
    if encoding and encoding.upper() not in {"UTF-8", "US-ASCII"}:
        raise BadXml("not_utf8", "another encoding is declared")


def _refuse(reason: str) -> Any:
    def handler(*_: object) -> NoReturn:
        raise BadXml(reason)

    return handler
