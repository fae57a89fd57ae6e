"""``rosterd init`` without a terminal: options, one more customer, what is missing, git, what the system refuses."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rosterd.settings_docs import schemas
from tests.parts.installation import Answer, Installation, run

ROOT = Path(__file__).resolve().parents[3]
GROUP = "cn=design,ou=Groups,dc=acme,dc=example"
LDAP = ("--directory", "openldap", "--server", "ldaps://one.acme.example", "--server", "ldaps://two.acme.example",
        "--bind-dn", "cn=reader,dc=acme,dc=example", "--bind-password", "env:ACME_LDAP_PASSWORD",
        "--people-base", "ou=People,dc=acme,dc=example", "--groups-base", "ou=Groups,dc=acme,dc=example")  # fmt: skip


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file that somebody may have edited; the stores' own logs come and go."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm")))
    return {str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes()) for path in files}


def customer(folder: Path, name: str = "acme") -> dict[str, Any]:
    return tomllib.loads((folder / "organizations" / f"{name}.toml").read_text(encoding="utf-8"))


def pasted(command: str, cwd: Path, *, typed: str = "", under: Mapping[str, str] | None = None) -> Answer:
    """A command as a shell takes it, with the ``rosterd`` of this installation on its way."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ROSTERD_")}
    ours |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "EDITOR": "true", **(under or {})}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env=ours,
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def steps(answer: Answer) -> list[str]:
    return [line.removeprefix("  → ") for line in answer.out.splitlines() if line.startswith("  → ")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "etc"
    assert run("init", str(folder)).code == 0
    return folder


@pytest.fixture
def etc(made: Path, tmp_path: Path) -> Path:
    """A copy of a first configuration, modes included."""
    shutil.copytree(made, tmp_path / "my etc")
    return tmp_path / "my etc"


def test_every_answer_has_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_LDAP_PASSWORD", "x")
    answer = run("init", str(tmp_path), "-o", "acme", "--name", "Acme", "--domain", "acme.example", *LDAP,
                 "--map", f"{GROUP}=Design:CAD,RENDER", "--map", "interns=:", "--map", "Interns=Juniors")  # fmt: skip
    assert answer.code == 0, answer.err
    found = customer(tmp_path)
    assert found["organization"]["name"] == "Acme"
    [directory] = found["directories"]
    assert directory["servers"] == ["ldaps://one.acme.example", "ldaps://two.acme.example"]
    shown = [(item["id"], item["group"], item["team"], item["offerings"]) for item in found["mappings"]]
    assert shown == [("design", GROUP, "Design", ["CAD", "RENDER"]), ("interns", "interns", "interns", []),
                     ("interns-2", "Interns", "Juniors", [])]  # fmt: skip
    assert [team["name"] for team in found["teams"]] == ["Design", "interns", "Juniors"]
    assert run("-c", str(tmp_path / "rosterd.toml"), "check").code == 0


@pytest.mark.parametrize(
    ("options", "tables"),
    [
        (("--directory", "scim-push"), {"id": "corp", "kind": "scim_inbox"}),
        (("--directory", "scim-pull", "--server", "https://idp.acme.example/scim/v2", "--bind-password", "env:T"),
         {"id": "corp", "kind": "scim", "url": "https://idp.acme.example/scim/v2", "token": "env:T"}),
        (("--directory", "ldif", "--server", "/srv/people.ldif"),
         {"id": "corp", "kind": "ldif", "file": "/srv/people.ldif"}),
        (("--directory", "active-directory", "--server", "ldaps://dc1.acme.example", "--bind-dn", "anonymous",
          "--people-base", "dc=acme,dc=example"),
         {"id": "corp", "kind": "active_directory", "servers": ["ldaps://dc1.acme.example"], "bind": "anonymous",
          "people_base": "dc=acme,dc=example"}),
        (("--directory", "openldap", "--server", "ldapi://%2Frun%2Fslapd", "--bind-dn", "external", "--tls-ca", "/ca",
          "--people-base", "dc=x"),
         {"id": "corp", "kind": "ldap", "servers": ["ldapi://%2Frun%2Fslapd"], "bind": "external", "tls_ca": "/ca",
          "people_base": "dc=x"}),
    ],
)  # fmt: skip
def test_every_kind_of_directory(etc: Path, options: tuple[str, ...], tables: dict[str, Any]) -> None:
    answer = run("init", str(etc), "-o", "beta", *options)
    assert answer.code == 0, answer.err
    assert customer(etc, "beta")["directories"] == [tables]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--directory", "openldap"), ("--server: openldap needs it", "--bind-dn", "--people-base")),
        ((*LDAP, "--server", "three"), ("--server: 'three' is not a server",)),
        ((*LDAP, "--bind-password", "hunter2"), ("--bind-password: a secret is given by reference",)),
        ((*LDAP, "--people-base", "People"), ("--people-base",)),
        ((*LDAP, "--map", GROUP), ("--map", "is not GROUP=TEAM:OFFERING", "for example --map '")),
        (("--server", "ldaps://one.acme.example"), ("--server: it is about a directory, and none is named",)),
        (("--directory", "ldap"), ("--directory",)),
        (("--directory", "ldif", "--server", "a", "--server", "b"), ("--server: ldif has one address",)),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_written(
    tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    answer = run("init", str(tmp_path / "new"), *options)
    assert answer.code == 2
    assert [word for word in words if word not in answer.err] == [], answer.err
    assert "hunter2" not in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_new_customer_is_added_and_nothing_else_is_touched(etc: Path) -> None:
    before = content(etc)
    answer = run("init", str(etc), "--organization", "beta")
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"written: {etc / 'organizations' / 'beta.toml'}\nbeta is added beside acme;")
    after = content(etc)
    assert after.pop("organizations/beta.toml")[0] & 0o777 == 0o644
    assert after == before
    assert "--organization beta" in steps(answer)[2]


def test_a_domain_of_another_customer_is_refused_and_leaves_nothing(etc: Path) -> None:
    before = content(etc)
    answer = run("init", str(etc), "--organization", "beta", "--domain", "acme.example")
    assert answer.code == 2
    assert "domain acme.example is also claimed by" in answer.err
    assert content(etc) == before


def test_a_file_of_that_name_stays_as_it_is(etc: Path) -> None:
    (etc / "organizations" / "beta.toml").write_text(
        (etc / "organizations" / "acme.toml").read_text(encoding="utf-8").replace("acme", "gamma"), encoding="utf-8"
    )
    before = content(etc)
    answer = run("init", str(etc), "--organization", "beta")
    assert answer.code == 2
    assert "beta.toml: is there already; nothing was written" in answer.err
    assert content(etc) == before


def test_a_pattern_that_would_not_find_the_file_is_said(etc: Path) -> None:
    Installation(etc).edit("rosterd.toml", "organizations/*.toml", "organizations/a*.toml")
    answer = run("init", str(etc), "--organization", "beta")
    assert answer.code == 2
    assert 'organizations = "organizations/a*.toml" would not find a file beta.toml' in answer.err


def test_a_customer_that_is_there_says_what_it_lacks(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("init", str(etc), "-o", "acme").out.splitlines()[0].endswith("nothing is missing")
    assert run("init", str(etc)).code == 0
    assert run("init", str(etc), "-o", "beta", *LDAP[:-4], *LDAP[-4:]).code == 0
    for name in ("secrets/pepper", "var/ledger.db"):
        (etc / name).unlink()
    (etc / "secrets" / "pseudonym-key").chmod(0o640)
    (etc / "secrets" / "saml-key.pem").chmod(0o604)
    answer = run("init", str(etc), "-o", "beta", "--json")
    assert answer.code == 2
    lacks = {item["what"].partition(" (")[0]: item["command"] for item in answer.document["missing"]["beta"]}
    assert list(lacks) == [
        f"the key of tokens is not there: {etc / 'secrets' / 'pepper'}",
        f"{etc / 'secrets' / 'pseudonym-key'} can be read by others",
        f"{etc / 'secrets' / 'saml-key.pem'} can be read by others",
        "the secret env:ACME_LDAP_PASSWORD is not set",
        f"there is no ledger: {etc / 'var' / 'ledger.db'}",
    ]
    *mended, secret, ledger = lacks.values()
    for command in mended:
        assert pasted(command, etc.parent).code == 0, command
    assert pasted(f"{secret} && printenv ACME_LDAP_PASSWORD", etc, typed="s3cret\n").out == "s3cret\n"
    assert shlex.split(ledger) == ["rosterd", "-c", str(etc / "rosterd.toml"), "serve"]
    monkeypatch.setenv("ACME_LDAP_PASSWORD", "x")
    left = run("init", str(etc), "-o", "beta", "--json").document["missing"]["beta"]
    assert [item["what"].partition(":")[0] for item in left] == ["there is no ledger"]
    assert stat.S_IMODE((etc / "secrets" / "pepper").stat().st_mode) == 0o600


def test_a_password_file_that_is_not_there_is_asked_for(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(etc)
    words = [word.replace("env:ACME_LDAP_PASSWORD", "file:secrets/beta's password") for word in LDAP]
    answer = run("init", ".", "-o", "beta", *words)
    assert answer.code == 0, answer.err
    assert customer(etc, "beta")["directories"][0]["bind_password"] == "file:../secrets/beta's password"
    assert pasted(steps(answer)[0], etc, typed="s3cret\n").code == 0
    file = etc / "secrets" / "beta's password"
    assert (file.read_text("utf-8"), stat.S_IMODE(file.stat().st_mode)) == ("s3cret", 0o600)
    assert run("init", ".", "-o", "beta").code == 0


@pytest.mark.parametrize(("name", "mode"), [("pepper", 0o644), ("pseudonym-key", 0o640), ("saml-key.pem", 0o604)])
def test_a_key_that_others_may_read_is_refused_by_name(tmp_path: Path, name: str, mode: int) -> None:
    key = tmp_path / "my etc" / "secrets" / name
    key.parent.mkdir(parents=True)
    key.write_text("k" * 43, encoding="utf-8")
    key.chmod(mode)
    answer = run("init", str(tmp_path / "my etc"))
    assert answer.code == 2
    assert f"{key} can be read by others (mode {mode:o})" in answer.err
    assert f"→ chmod 600 '{key}'" in answer.err
    assert content(tmp_path / "my etc").keys() == {f"secrets/{name}"}


def test_a_key_of_another_user_is_refused_by_name(etc: Path) -> None:
    os.chown(etc / "secrets" / "pepper", 65534, -1)
    answer = run("init", str(etc))
    assert answer.code == 2
    assert "secrets/pepper belongs to another user (uid 65534)" in answer.out
    assert f"→ chown 0 '{etc / 'secrets' / 'pepper'}'" in answer.out
    os.chown(etc / "secrets", 65534, -1)
    assert "pepper" not in run("init", str(etc)).out, "root sets up for whoever owns the folder"


def test_the_next_commands_work_as_pasted(etc: Path) -> None:
    answer = run("init", str(etc), "--organization", "beta")
    assert len(steps(answer)) == 3
    for command in steps(answer):
        done = pasted(command, etc.parent.parent)
        assert done.code == 0, (command, done)


def test_the_next_commands_of_an_inbox_work_as_pasted(tmp_path: Path) -> None:
    answer = run("init", str(tmp_path / "my etc"), "--directory", "scim-push")
    assert [pasted(command, tmp_path).code for command in steps(answer)] == [0, 0, 0]
    assert "token create" in steps(answer)[1]


@pytest.mark.parametrize("kept", [None, "*.pyc\n"], ids=["no .gitignore", "its own .gitignore"])
def test_git_sees_no_key_and_no_ledger(tmp_path: Path, kept: str | None) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    if kept is not None:
        (tmp_path / ".gitignore").write_text(kept, encoding="utf-8")
    assert run("init", str(tmp_path)).code == 0
    (tmp_path / "organizations" / ".acme.toml.new").touch()
    shown = subprocess.run(
        ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    listed = {line[3:] for line in shown.splitlines()} - {"organizations/.acme.toml.new"}
    assert listed == {".gitignore", "rosterd.toml", "organizations/acme.toml", ".schema/rosterd.schema.json",
                      ".schema/organization.schema.json"}  # fmt: skip
    if kept is not None:
        assert (tmp_path / ".gitignore").read_text(encoding="utf-8") == kept


def test_a_clone_shows_nothing_of_it(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    assert run("init", str(tmp_path)).code == 0
    command = ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "?? .gitignore\n"


def test_the_first_line_leads_to_the_schema_of_this_rosterd(etc: Path) -> None:
    assert run("init", str(etc), "-o", "beta", *LDAP).code == 0
    for file in (etc / "rosterd.toml", *(etc / "organizations").iterdir()):
        text = file.read_text(encoding="utf-8")
        mark, _, place = text.partition("\n")[0].partition(" ")
        assert mark == "#:schema"
        schema = json.loads((file.parent / place).read_text(encoding="utf-8"))
        assert schema == json.loads(schemas()[Path(place).name])
        assert unknown(schema, schema, tomllib.loads(text)) == []
    assert unknown(schema, schema, {"organisation": {}, "teams": [{"nam": "x"}]}) == ["organisation", "nam"]


def unknown(schema: dict[str, Any], node: dict[str, Any], value: Any) -> list[str]:
    """Keys of a file that its schema has no place for."""
    node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node
    kinds = [schema["$defs"][item["$ref"].rsplit("/", 1)[-1]] for item in node.get("oneOf", ()) if "$ref" in item]
    if kinds:
        node = next(kind for kind in kinds if kind["properties"]["kind"]["const"] == value["kind"])
    if isinstance(value, list):
        return [key for item in value for key in unknown(schema, node.get("items", {}), item)]
    if not isinstance(value, dict):
        return []
    found = []
    for key, inner in value.items():
        known = node.get("properties", {}).get(key)
        found += [key] if known is None else unknown(schema, known, inner)
    return found


def test_a_schema_of_an_older_rosterd_is_renewed(etc: Path) -> None:
    (etc / ".schema" / "organization.schema.json").write_text("{}", encoding="utf-8")
    assert run("init", str(etc), "-o", "beta").code == 0
    assert (etc / ".schema" / "organization.schema.json").read_text("utf-8") == schemas()["organization.schema.json"]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for place in ("file", "file/below"):
        answer = run("init", str(tmp_path / place), "--organization", "beta")
        assert answer.code == 2
        assert f"{tmp_path / 'file'}: is no folder; nothing was written" in answer.err
        assert '→ name another folder: rosterd init "$HOME/rosterd" --organization beta' in answer.err
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


MOUNTED = (
    """mount -t tmpfs -o size={size}{option} none "$1" && rosterd init "$1/my etc"; code=$?; ls -A "$1"; exit $code"""
)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "disk").mkdir()
    yield tmp_path / "disk"
    assert list((tmp_path / "disk").iterdir()) == []


def on_a_disk(folder: Path, size: str, option: str = "") -> Answer:
    script = MOUNTED.format(size=size, option=option)
    return pasted(f"unshare -rm sh -c {shlex.quote(script)} sh {shlex.quote(str(folder))}", folder.parent)


@pytest.mark.parametrize("size", ["4k", "40k", "120k", "400k", "1m"])
def test_a_full_disk_is_said_and_nothing_is_left(mounted: Path, size: str) -> None:
    answer = on_a_disk(mounted, size)
    assert answer.code == 2, answer
    assert "there is no space left; nothing was written" in answer.err
    assert f"run it again: rosterd init '{mounted / 'my etc'}'" in answer.err
    assert answer.out == ""


def test_a_read_only_folder_is_said(mounted: Path) -> None:
    answer = on_a_disk(mounted, "1m", ",ro")
    assert answer.code == 2, answer
    assert f"rosterd: {mounted / 'my etc'}: cannot be written: Read-only file system; nothing was written" in answer.err
    assert '→ name a folder of your own: rosterd init "$HOME/rosterd"' in answer.err
    assert answer.out == ""


@pytest.mark.parametrize("url", ["postgresql://rosterd@127.0.0.1:1/rosterd", "sqlite:///{elsewhere}"])
def test_a_ledger_that_the_environment_puts_elsewhere_is_left_to_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ROSTERD_DATABASE_URL", url.format(elsewhere=tmp_path / "data"))
    assert run("init", str(tmp_path / "etc")).code == 0
    assert not (tmp_path / "etc" / "var").exists()
    assert not (tmp_path / "data").exists()
