"""``rosterd serve``, the real process over real HTTP: health, metrics, admin API, SIGTERM drains, SIGHUP reloads."""

from __future__ import annotations

import gzip
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.installation import Daemon, Installation
from tests.parts.ports import free_port


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation.make(tmp_path_factory.mktemp("daemon") / "etc")
    made.edit("rosterd.toml", "[database]", '[schedule]\nreconcile_every = "0"\npublish_every = "0"\n\n[database]')
    return made


@pytest.fixture(scope="module")
def daemon(acme: Installation) -> Iterator[Daemon]:
    with acme.serving() as running:
        yield running


@pytest.fixture(scope="module")
def admin(acme: Installation) -> str:
    made = acme.rosterd("token", "create", "anna", "--role", "primary_admin", "--scope", "runs:approve",
                        "--scope", "settings:write", "--json")  # fmt: skip
    return str(made.document["token"])


@pytest.fixture(scope="module")
def reader(acme: Installation) -> str:
    return str(acme.rosterd("token", "create", "power bi", "--json").document["token"])


def own(daemon: Daemon, path: str) -> tuple[int, Any, dict[str, str]]:
    """As ``ask``, at the operator's listener."""
    return ask(daemon, daemon.operator_url + path)


def ask(daemon: Daemon, path: str, token: str = "", body: Any = None) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON (or text) and headers of one request; ``path`` may be a whole address."""
    data = None if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    url = path if path.startswith("http") else daemon.url + path
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310 - our own daemon
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            status, text, headers = answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        status, text, headers = error.code, error.read().decode(), dict(error.headers)
    return status, json.loads(text) if "json" in headers.get("Content-Type", "") else text, headers


def test_health_says_live_and_ready(daemon: Daemon) -> None:
    assert ask(daemon, "/health/live")[:2] == (200, {"status": "live"})
    assert ask(daemon, "/health/ready")[:2] == (200, {"status": "ready"})
    status, why, _ = own(daemon, "/health/ready")
    assert (status, why["status"], why["organizations"]) == (200, "ready", 1)
    assert (why["pid"], list(why["files"])) == (daemon.process.pid, ["acme"])


def test_metrics_are_prometheus_text_for_the_operator_alone(daemon: Daemon) -> None:
    ask(daemon, "/health/live")
    assert ask(daemon, "/metrics")[0] == 404
    status, text, headers = own(daemon, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert 'rosterd_requests_total{face="health",status="200"}' in text
    assert "rosterd_loop_lag_seconds" in text


def test_the_live_check_is_the_health_check(acme: Installation, daemon: Daemon) -> None:
    answer = acme.rosterd("check", "--live", "--daemon")
    assert answer.code == 0, answer.out
    assert f"daemon at {daemon.url}/health/ready answers 200" in answer.out


def test_every_face_is_mounted(daemon: Daemon, reader: str) -> None:
    assert ask(daemon, "/v1/teams", reader)[0] == 200
    assert ask(daemon, "/openapi.json")[0] == 200
    assert ask(daemon, "/v1/teams")[0] == 401
    assert ask(daemon, "/ingest/v1/usage-events", body={})[0] == 401
    assert ask(daemon, "/nothing")[0] == 404


def test_a_coded_body_is_read_whole_where_it_is_read_at_all(acme: Installation, daemon: Daemon, admin: str) -> None:
    made = acme.rosterd("token", "create", "cad", "--role", "service", "--scope", "usage:write", "--json")
    packed = gzip.compress(b'{"event_id": "1"}\n' * 100)

    def post(path: str, token: str, kind: str, body: bytes) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": kind, "Content-Encoding": "gzip"}
        request = urllib.request.Request(daemon.url + path, data=body, headers=headers)  # noqa: S310 - our own daemon
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    events, kind, sender = "/ingest/v1/usage-events", "application/x-ndjson", made.document["token"]
    status, report = post(events, sender, kind, packed)
    assert (status, report["rows"], report["dropped"]) == (200, 100, {"no_legal_basis": 100})
    status, problem = post(events, sender, kind, packed[:-5])
    assert (status, problem["detail"]) == (400, "the gzip body is damaged: it is cut off")
    status, problem = post("/admin/v1/approvals", admin, "application/json", gzip.compress(b"{}"))
    assert (status, {one["where"] for one in problem["errors"]}) == (400, {"digest", "reason"})
    status, problem = post("/admin/v1/approvals", admin, "application/json", gzip.compress(b"{}")[:-5])
    assert (status, problem["detail"]) == (400, "the gzip body is cut off")


def test_an_expired_or_garbled_token_is_refused_without_saying_why(daemon: Daemon) -> None:
    for token in ("rpt_nonsense", "x" * 200):
        status, problem, headers = ask(daemon, "/admin/v1/status", token)
        assert status == 401
        assert problem["type"].endswith("unauthenticated")
        assert headers["WWW-Authenticate"].startswith("Bearer")


def test_the_admin_api_answers_whoever_holds_the_right(daemon: Daemon, admin: str, reader: str) -> None:
    status, document, _ = ask(daemon, "/admin/v1/status", admin)
    assert status == 200
    assert document["organizations"] == ["acme"]
    assert ask(daemon, "/admin/v1/held", admin)[1] == {"held": []}
    status, problem, _ = ask(daemon, "/admin/v1/status", reader)
    assert status == 403
    assert "runs:approve" in problem["detail"]


def test_approving_what_is_not_held_is_not_found(daemon: Daemon, admin: str) -> None:
    body = {"digest": "0123456789abcdef", "reason": "planned"}
    assert ask(daemon, "/admin/v1/approvals", admin, body)[0] == 404
    assert ask(daemon, "/admin/v1/approvals", admin, {"digest": "x"})[0] == 400
    assert ask(daemon, "/admin/v1/jobs/none", admin)[0] == 404


def test_a_reload_takes_over_changes_and_a_bad_file_keeps_the_old_one(
    acme: Installation, daemon: Daemon, admin: str
) -> None:
    other = acme.folder / "organizations" / "zeta.toml"
    other.write_text('[organization]\nid = "zeta"\nname = "Zeta"\n', encoding="utf-8")
    daemon.signal(signal.SIGHUP)
    assert "zeta" in daemon.wait_for("reload.done")
    assert own(daemon, "/health/ready")[1]["organizations"] == 2

    before = acme.organization.read_text(encoding="utf-8")
    other.write_text('[organization]\nid = "zeta"\nnam = "Zeta"\n', encoding="utf-8")
    acme.append('[sync]\nfresh_within = "3h"\n')
    daemon.signal(signal.SIGHUP)
    assert "organization=zeta" in daemon.wait_for("reload.refused")
    assert any("unknown key 'nam'" in line and "zeta.toml:3" in line for line in daemon.lines)
    assert "acme" in daemon.wait_for("reload.done")
    assert own(daemon, "/health/ready")[1]["organizations"] == 2

    assert ask(daemon, "/admin/v1/reload", admin, {})[:2] == (200, {"reloaded": True}), "acme's own file is good"
    acme.append("[limitss]\n")
    status, problem, _ = ask(daemon, "/admin/v1/reload", admin, {})
    assert status == 400
    assert ["limitss" in fault["what"] for fault in problem["errors"]] == [True]
    assert "zeta" not in json.dumps(problem)
    assert own(daemon, "/health/ready")[1]["organizations"] == 2
    acme.organization.write_text(before, encoding="utf-8")
    other.unlink()
    assert ask(daemon, "/admin/v1/reload", admin, {})[:2] == (200, {"reloaded": True})
    assert own(daemon, "/health/ready")[1]["organizations"] == 1


def test_a_key_that_cannot_change_while_running_is_refused(acme: Installation, daemon: Daemon) -> None:
    before = acme.file.read_text(encoding="utf-8")
    acme.edit("rosterd.toml", "sqlite:///var", "sqlite:///elsewhere")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("database.url cannot change while running")
    acme.file.write_text(before, encoding="utf-8")


def test_nothing_is_applied_by_a_file_that_the_daemon_does_not_go_by_yet(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    acme.edit("rosterd.toml", 'operator_listen = "127.0.0.1:0"', f'operator_listen = "127.0.0.1:{free_port()}"')
    acme.edit("rosterd.toml", "[database]", '[schedule]\nreconcile_every = "0"\n\n[database]')
    other = Installation.make(tmp_path / "other")
    with acme.serving("--only", "connector"):
        unread = f"the running daemon has not read {acme.organization.name} since it was changed"
        step = "→ rosterd reload"
        assert unread not in acme.rosterd("plan").out
        acme.append("# a comment changes nothing\n")
        assert unread not in acme.rosterd("plan").out
        acme.append('[sync]\nfresh_within = "3h"\n')
        assert f"{unread} {step}" in acme.rosterd("plan").out
        refused = acme.rosterd("apply", "--auto")
        assert (refused.code, unread in refused.err, step in refused.err) == (3, True, True), refused
        checked = acme.rosterd("check", "--live")
        assert (unread in checked.out, step in checked.out) == (True, True), checked
        own_port = acme.file.read_text(encoding="utf-8").partition("operator_listen = ")[2].splitlines()[0]
        other.edit("rosterd.toml", 'operator_listen = "127.0.0.1:0"', f"operator_listen = {own_port}")
        other.append('[sync]\nfresh_within = "5h"\n')
        assert "has not read" not in other.rosterd("apply", "--auto").err, "the daemon of another installation"
        assert acme.rosterd("reload", "--json").document == {"reloaded": ["acme"]}
        assert "has not read" not in acme.rosterd("plan").out + acme.rosterd("apply", "--auto").err
        kept = acme.file.read_text(encoding="utf-8")
        acme.edit("rosterd.toml", "[database]", '[saml]\nsigning_key = "file:secrets/other.pem"\n\n[database]')
        assert acme.rosterd("reload").code == 3, "a key that only counts at the start"
        acme.file.write_text(kept, encoding="utf-8")
    assert acme.rosterd("reload").code == 4, "nobody is there"
    acme.append("[limits]\nday_floor = 4\n")
    assert "has not read" not in acme.rosterd("apply", "--auto").err, "no daemon runs"


def test_sigterm_drains_and_exits_0(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    with acme.serving("--only", "api") as running:
        assert ask(running, "/health/live")[0] == 200
        assert ask(running, "/admin/v1/status")[0] == 404
        assert running.stop() == 0
    assert "serve.draining" in "".join(running.lines)
    assert "serve.stopped" in running.lines[-1]


def test_a_job_is_done_by_a_worker_process_and_does_nothing_while_sync_is_off_r5(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    with acme.serving("--only", "connector") as running:
        started = running.wait_for("kind=reconcile")
        assert f"worker={running.process.pid}" not in started
        assert "sync is off" in running.wait_for("kind=reconcile organization=acme outcome")
        assert ask(running, "/v1/teams")[0] == 404
        assert running.stop() == 0
    assert acme.rosterd("report", "runs", "--json").document["runs"] == []


def test_a_port_that_is_taken_is_a_clear_error(acme: Installation, daemon: Daemon) -> None:
    answer = acme.rosterd("serve")
    assert answer.code == 2
    assert "cannot listen on" in answer.err
