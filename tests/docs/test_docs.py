"""What the built site promises. Built before: ``sphinx-build docs docs/_build/html``, as ``tox run -e docs`` does."""

from __future__ import annotations

import ast
import importlib
import inspect
import ipaddress
import json
import re
import shlex
import socket
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from rdzv._command import main
from rdzv._ports import Taken
from rdzv_hostmatch import MatchRule
from rdzv_scheduler import _sources

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITE = DOCS / "_build" / "html"
DISTRIBUTIONS = ["rdzv", "rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_scheduler", "rdzv_timer", "rdzv_torchrun"]
SOURCES = sorted(source for source in DOCS.rglob("*.md") if "_build" not in source.parts)


def fences(language: str) -> list[Any]:
    """Every block of a language in the pages, with the name of its page."""
    return [
        pytest.param(code, id=f"{source.relative_to(DOCS).with_suffix('')}-{number}")
        for source in SOURCES
        for number, code in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```", source.read_text(encoding="utf-8"), re.S | re.M)
        )
    ]


# --- the machine of the examples


NAMES = {
    "localhost": "127.0.0.1",
    "node0": "127.0.1.1",
    "node0-ib": "10.1.0.10",
    "head.jobs": "10.0.0.11",
    "train-0.train": "10.0.0.11",
}
ADDRESSES = ("192.0.2.2", "10.1.0.10")
TAKEN = {29402: Taken(by=("python3 (process 4711)",))}


def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[Any, ...]]:
    """What its resolver knows."""
    try:
        return [(None, None, 0, "", (str(ipaddress.ip_address(host)), 0))]
    except ValueError:
        pass
    if host not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [(None, None, 0, "", (NAMES[host], 0))]


def source_address(address: str) -> str | None:
    """What its kernel says."""
    if address[:4] == "127.":
        return None
    return address if address in ADDRESSES else ADDRESSES[0]


@pytest.fixture
def node0() -> Iterator[None]:
    """The machine on which the pages were written."""
    with (
        mock.patch("socket.gethostname", return_value="node0"),
        mock.patch("socket.getaddrinfo", getaddrinfo),
        mock.patch("rdzv_hostmatch._match.is_own", lambda ip, patience: str(ip) in ADDRESSES),
        mock.patch("rdzv_hostmatch._probe.probe", return_value=None),
        mock.patch("rdzv._advice.source_address", source_address),
        mock.patch("rdzv._addresses.of_this_machine", return_value=ADDRESSES),
        mock.patch("rdzv._ports.state_of", lambda port: TAKEN.get(port)),
        mock.patch("rdzv._resolver._read", lambda path: "nameserver 192.0.2.53" if "resolv" in path else ""),
    ):
        yield


@pytest.mark.parametrize("code", fences("python"))
def test_an_example_of_a_page_runs(code: str) -> None:
    """As it stands, on its own, on any machine."""
    exec(compile(code, "page", "exec"), {"__name__": "__main__"})


@pytest.mark.usefixtures("node0")
@pytest.mark.parametrize("session", fences("console"))
def test_a_shown_command_prints_what_stands_below_it(
    session: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each `rdzv check` and `rdzv env` of a page; a command with nothing below it has to be one that can be given."""
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.M):
        words = shlex.split(command.partition(" && ")[0])
        while "=" in words[0]:
            monkeypatch.setenv(*words.pop(0).split("=", 1))
        if words[:2] not in (["rdzv", "check"], ["rdzv", "env"]):
            continue
        main(words[1:])
        printed = capsys.readouterr()
        if expected:
            assert re.sub(r'("elapsed": ).*', r"\g<1>0.0", printed.out + printed.err) == expected


# --- the index


def inventory() -> dict[str, str]:
    """Every name that the site explains, with its address, as other projects' documentation would read it."""
    *head, body = (SITE / "objects.inv").read_bytes().split(b"\n", 4)
    assert head[0] == b"# Sphinx inventory version 2"
    lines = re.findall(r"^(\S+) py:\S+ \S+ (\S+) ", zlib.decompress(body).decode(), re.M)
    return {name: address.replace("$", name) for name, address in lines}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_public_name_is_in_the_index_and_leads_to_its_explanation(distribution: str) -> None:
    """`__all__`, the inventory, the index that people read, and the page of keywords agree."""
    names = importlib.import_module(distribution).__all__
    explained = inventory()
    index = (SITE / "genindex.html").read_text(encoding="utf-8")
    keywords = (SITE / "keywords.html").read_text(encoding="utf-8")
    for name in names:
        full_name = f"{distribution}.{name}"
        page, _, anchor = explained[full_name].partition("#")
        assert f'id="{anchor}"' in (SITE / page).read_text(encoding="utf-8")
        assert f'#{full_name}"' in index
        assert f">{name}<" in keywords


def test_the_original_names_are_in_the_index() -> None:
    """Private ones, which PyTorch's users import all the same."""
    explained = inventory()
    originals = ["_PeriodicTimer", "_delay", "_matches_machine_hostname", "_parse_rendezvous_config", "_try_parse_port"]
    assert {f"rdzv.utils.{name}" for name in [*originals, "parse_rendezvous_endpoint"]} <= set(explained)


def public_functions() -> Iterator[tuple[str, Any]]:
    """Every exported function, and every public method of an exported class."""
    for distribution in DISTRIBUTIONS:
        module = importlib.import_module(distribution)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                yield name, value
            elif inspect.isclass(value):
                methods = inspect.getmembers(value, inspect.isfunction)
                yield from ((f"{name}.{method}", function) for method, function in methods if method[0] != "_")


def test_every_parameter_is_in_both_indexes() -> None:
    """With the function that it belongs to."""
    index = (SITE / "genindex.html").read_text(encoding="utf-8")
    keywords = (SITE / "keywords.html").read_text(encoding="utf-8")
    for full_name, function in public_functions():
        parameters = [name for name in inspect.signature(function).parameters if name != "self"]
        # A word that stands in several places is written once, with the places below it.
        assert index.count(f"(parameter of {full_name})") == len(parameters)
        assert all(re.search(rf">{name}( |<)", index) and f">{name}<" in keywords for name in parameters)


def test_every_warning_is_explained() -> None:
    """Each code that a source has is a term of the page of warnings, and the page has no other; so has the schema."""
    sources = [
        *(ROOT / "packages" / "rdzv" / "src" / "rdzv" / f"_{name}.py" for name in ("advice", "options", "resolver")),
        ROOT / "packages" / "rdzv-hostmatch" / "src" / "rdzv_hostmatch" / "_warnings.py",
    ]
    trees = [ast.parse(source.read_text(encoding="utf-8")) for source in sources]
    tuples = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Tuple)]
    words = {str(item.value) for node in tuples for item in node.elts if isinstance(item, ast.Constant)}
    codes = {word for word in words if re.fullmatch("[a-z]+(-[a-z]+)+|loopback|wildcard", word)}
    page = (SITE / "reference" / "warnings.html").read_text(encoding="utf-8")
    assert set(re.findall(r'id="term-([a-z-]+)"', page)) == codes
    assert set(schema()["$defs"]["findings"]["items"]["properties"]["code"]["examples"]) == codes


def test_every_option_of_the_command_is_explained() -> None:
    """The page of the command has what `--help` has."""
    page = (SITE / "reference" / "command.html").read_text(encoding="utf-8")
    source = (ROOT / "packages" / "rdzv" / "src" / "rdzv" / "_command.py").read_text(encoding="utf-8")
    options = re.findall(r' (?:add_argument|add)\("(--[a-z-]+)"', source)
    assert options
    assert all(f">{option}<" in page for option in options)


def test_every_scheduler_is_in_the_table() -> None:
    """In the order in which they are tried, and no other."""
    page = (DOCS / "howto" / "scheduler.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.M) == [name for name, *_ in _sources.SOURCES]


def test_every_threat_has_a_test() -> None:
    """That is there, under the name that the page gives."""
    page = (ROOT / "docs" / "explanation" / "threats.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", page)
    rows = [line for line in page.splitlines() if line.startswith("| ") and "tried by" not in line]
    assert all("::test_" in row for row in rows)
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


# --- the pages


class Page(HTMLParser):
    """What a page links to, and what it can be linked at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.anchors.add(value)
            elif (tag, name) in {("a", "href"), ("link", "href"), ("script", "src"), ("img", "src")}:
                self.links.append(value)


def test_every_internal_link_leads_somewhere() -> None:
    """To a file of the site, and to an anchor in it; nothing but links is fetched from elsewhere."""
    pages = {path.resolve(): Page(path) for path in SITE.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (parts.fragment and target in pages and parts.fragment not in pages[target].anchors):
                broken.append(f"{path.relative_to(SITE.resolve())}: {link}")
    assert len(pages) > len(SOURCES)
    assert broken == []


def test_no_page_needs_the_network() -> None:
    """Styles, scripts and the search come from the site itself."""
    for path in SITE.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|link)\b[^>]*?(?:src|href)="(https?:[^"]*)"', text)
        assert fetched == []


def test_the_search_knows_the_names() -> None:
    """Its index is a file of the site, with every distribution in it."""
    index = (SITE / "searchindex.js").read_text(encoding="utf-8")
    assert (SITE / "search.html").exists()
    assert all(distribution in index for distribution in DISTRIBUTIONS)
    assert "match_host" in index


@pytest.mark.parametrize("word", ["master_addr", "60000ms", "gaierror", "eaddrinus", "rendezvousconnectionerror"])
def test_the_search_finds_what_torchrun_prints(word: str) -> None:
    """As the search keeps it: in lower case, without an ending."""
    text = (SITE / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    pages = index["terms"][word]
    assert index["docnames"].index("troubleshooting") in (pages if isinstance(pages, list) else [pages])


# --- the schema of `rdzv check --json`


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DOCS / "check.schema.json").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.usefixtures("node0")
@pytest.mark.parametrize("endpoint", ["node0:29400", "203.0.113.7", "unknown.example:1", "[fe80::1%eth0]:0", "0.0.0.0"])
def test_the_schema_fits_what_the_command_prints(endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Yes, no and undecided; and no field is without its line in the schema and on its page."""
    main(["check", endpoint, "--json"])
    report = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(report, schema(), cls=jsonschema.Draft202012Validator)
    assert list(report) == list(schema()["properties"]) == schema()["required"]
    page = (DOCS / "reference" / "check-json.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.M) == list(report)


def test_the_schema_knows_every_rule() -> None:
    """In the order in which they are tried."""
    assert schema()["properties"]["rule"]["examples"] == [rule.name for rule in MatchRule]
