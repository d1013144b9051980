"""The demonstration: leads and shop customers into a warehouse, scored there, the scores written back, and undone.

It runs the commands that a user would run, each in a process of its own, in a Suiro home of its own and on the sandbox.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from suiro.app.connections import connection
from suiro.app.sandbox import Asked, Sandbox
from suiro.model.errors import InternalError, UserError

_WAREHOUSE: Final = "warehouse"  #: the embedded one
_LEADS: Final = "SELECT Id, FirstName, LastName, Email, LeadScore__c FROM Lead ORDER BY Id"
_SCORES: Final = """\
REPLICATE lead_reverse
SELECT l."Id",
       CAST(LEAST(100, 10 + 6 * COUNT(o.id) + SUM(CASE WHEN o.total_inc_tax >= 500 THEN 8 ELSE 0 END)) AS INTEGER)
         AS "LeadScore__c"
FROM leads l
JOIN shop_customers c ON LOWER(c.email) = LOWER(l."Email")
LEFT JOIN shop_orders o ON o.customer_id = c.id
GROUP BY l."Id"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What the demonstration is to be like."""

    home: Path  #: an empty folder for the metadata, the warehouse and the sandbox's records
    postgres: str | None = None  #: URI of a database that takes the embedded warehouse's place
    leads: int = 200
    customers: int = 150
    seed: int = 1
    json: bool = False  #: nothing is told but at the end, as one document


@dataclass(slots=True, kw_only=True)
class Step:
    """One command and what came of it; `seconds` from its start to its end, Python's own start included."""

    command: str
    seconds: float
    exit_code: int
    result: Any = None


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened. `before`, `after` and `undone`: the leads in Salesforce at these moments, by their ids."""

    steps: list[Step] = field(default_factory=list)
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    after: dict[str, dict[str, Any]] = field(default_factory=dict)
    undone: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def scored(self) -> list[dict[str, Any]]:
        """The leads that got a score, the best first."""
        changed = [now for id_, now in self.after.items() if now != self.before[id_]]
        return sorted(changed, key=lambda lead: (-int(lead["LeadScore__c"] or 0), lead["Id"]))


class Demonstration:
    """Tells the story once. UserError or InternalError says which command didn't do what it should."""

    def __init__(self, plot: Plot, tell: Callable[[str], None]) -> None:
        self._plot, self._tell = plot, tell
        self._environment = os.environ | {"SUIRO_HOME": str(plot.home)}
        self._environment.pop("SUIRO_METADATA_URL", None)
        self.story = Story()

    def run(self) -> Story:
        """From the sandbox's start to the undo."""
        plot, story = self._plot, self.story
        sizes = {"Lead": plot.leads, "customers": plot.customers}
        with ExitStack() as stack:
            served = stack.enter_context(
                Sandbox(
                    Asked(only=("salesforce", "bigcommerce"), folder=plot.home / "sandbox", seed=plot.seed, sizes=sizes)
                )
            )
            self._tell("Stand-ins of Salesforce and BigCommerce answer on this machine.")
            self._suiro("apply", str(self._write(served.services)))
            self._suiro("run", "crm_to_warehouse")
            self._suiro("run", "shop_to_warehouse")
            story.before = self._leads("The leads in Salesforce, not one of them scored:")
            self._suiro("run", "score_leads")
            planned = self._suiro("writeback", "plan", "scores_to_crm")
            self._suiro("writeback", "apply", _plan_in(planned))
            story.after = self._leads("The leads in Salesforce after the write-back:", changed=story.before)
            if not story.scored:
                raise InternalError("the write-back changed no lead")
            run = self._json("runs", "scores_to_crm")[0]["run"]
            self._suiro("writeback", "undo", run)
            story.undone = self._leads("And after the undo:", changed=story.after)
            if story.undone != story.before:
                raise InternalError("the undo didn't bring the leads back to what they were")
            self._tell(
                f"{len(story.scored)} of {len(story.after)} leads were scored, and all {len(story.undone)} are as they "
                "were again."
            )
        return story

    # -- commands ----------------------------------------------------------------------------------------------------

    def _suiro(self, *arguments: str) -> Any:
        """Run a command and tell what it said."""
        step = self._begun(arguments, as_json=self._plot.json)
        self.story.steps.append(step)
        if step.exit_code != 0:
            raise UserError(f"{step.command} ended with exit code {step.exit_code}", hint=str(step.result)[-2000:])
        return step.result

    def _json(self, *arguments: str) -> Any:
        """What a command says as data, untold."""
        step = self._begun(arguments, as_json=True, quiet=True)
        if step.exit_code != 0:
            raise UserError(f"{step.command} ended with exit code {step.exit_code}", hint=str(step.result)[-2000:])
        return step.result

    def _begun(self, arguments: Sequence[str], *, as_json: bool, quiet: bool = False) -> Step:
        command = shlex.join(["suiro", *(_short(argument) for argument in arguments)])
        if not quiet:
            self._tell(f"\n$ {command}")
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "suiro.cli.main", *arguments, *(["--json"] if as_json else [])],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if as_json else subprocess.STDOUT,
            text=True,
            check=False,
        )
        said = (done.stdout + (done.stderr or "")).strip()
        if not (quiet or as_json):
            self._tell(said)
        good = as_json and done.returncode == 0
        return Step(
            command=command,
            seconds=round(time.monotonic() - started, 3),
            exit_code=done.returncode,
            result=json.loads(done.stdout) if good else said,
        )

    def _leads(self, title: str, *, changed: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
        """The leads as Salesforce has them; some are told, those that changed first."""
        found = {lead["Id"]: lead for lead in self._json("sql", "crm", _LEADS)}
        told = sorted(found.values(), key=lambda lead: (changed is None or lead == changed[lead["Id"]], lead["Id"]))[:8]
        self._tell(f"\n{title}")
        for lead in told:
            score = "-" if lead["LeadScore__c"] is None else f"{lead['LeadScore__c']}"
            name = f"{lead['FirstName']} {lead['LastName']}"
            self._tell(f"  {lead['Id']}  {score:>4}  {lead['Email']:<36}{name}")
        if len(found) > len(told):
            self._tell(f"  ... {len(found):,} leads in all")
        return found

    # -- what is applied ---------------------------------------------------------------------------------------------

    def _write(self, services: Mapping[str, Any]) -> Path:
        """The connections and jobs, as a file."""
        from suiro.app.apply import as_yaml  # on use: it takes long to import

        warehouse = _WAREHOUSE if self._plot.postgres is None else "pg"
        connections = {
            name: next(iter(services[service]["connections"].values()))
            for name, service in (("crm", "salesforce"), ("shop", "bigcommerce"))
        }
        if self._plot.postgres is not None:
            connections["pg"] = _settings(self._plot.postgres)
        path = self._plot.home / "demo.yaml"
        path.touch(0o600)
        path.write_text(as_yaml({"connections": connections, "jobs": _jobs(warehouse)}), "utf-8")
        return path


def _jobs(warehouse: str) -> dict[str, Any]:
    merge = {"read": "incremental", "write": "merge"}
    return {
        "crm_to_warehouse": {
            "source": "crm",
            "destination": warehouse,
            "tasks": [{"stream": "Lead", "table": "leads", "key": ["Id"], "cursor": "SystemModstamp", **merge}],
        },
        "shop_to_warehouse": {
            "source": "shop",
            "destination": warehouse,
            "tasks": [
                {"stream": name, "table": f"shop_{name}", "key": ["id"], "cursor": "date_modified", **merge}
                for name in ("customers", "orders")
            ],
        },
        "score_leads": {"source": warehouse, "destination": warehouse, "tasks": [{"sql": _SCORES}]},
        "scores_to_crm": {
            "source": warehouse,
            "destination": "crm",
            "tasks": [{"stream": "lead_reverse", "table": "Lead", "write": "update", "key": ["Id"]}],
        },
    }


def _settings(uri: str) -> dict[str, Any]:
    """A connection's settings as YAML has them, secrets too."""
    found = connection(uri)
    given = found.config.model_dump(exclude_defaults=True)
    plain = {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in given.items()}
    return {"type": found.connector.name, **plain}


def _plan_in(said: Any) -> str:
    """The plan's id in what the command told, as prose or as data."""
    found = re.search(r"plan-[0-9a-zA-Z-]+", str(said))
    if found is None:
        raise InternalError("the plan has no id")
    return found[0]


def _short(argument: str) -> str:
    return Path(argument).name if os.sep in argument and Path(argument).exists() else argument
