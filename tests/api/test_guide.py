"""The guides hold what works: the curl example, every operation, every option."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from served import Api, Served

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
ORDERS = {"source": "shop", "destination": "warehouse", "tasks": [{"stream": "public.orders"}]}


def test_the_curl_example_begins_a_run_once(server: Served, api: Api, shop: dict[str, Any]) -> None:
    api("PUT", "/connections/shop", shop)
    api("PUT", "/jobs/nightly", {"document": ORDERS})
    text = (GUIDE / "api.md").read_text("utf-8")
    (example,) = re.findall(r"```\n(TOKEN=.*?)```", text, flags=re.DOTALL)
    assert "http://localhost:8181/" in example
    example = example.replace("http://localhost:8181", server.url)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**server.environment, "PATH": path, "NO_PROXY": "localhost"}
    command = ["bash", "-euo", "pipefail", "-c", example]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    begun = json.loads(said.stdout)
    assert begun["job"] == "nightly" and api.follow(begun["run"])["status"] == "succeeded"


def test_the_guide_names_every_operation(lone_server: Served) -> None:
    text = (GUIDE / "api.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if re.match(r"\| `(GET|PUT|PATCH|POST|DELETE)", line)]
    said = " ".join(rows)
    document = httpx2.get(f"{lone_server.url}/api/openapi.json", trust_env=False).json()
    for path, methods in document["paths"].items():
        short = path.removeprefix("/api/v1")
        if short == path:
            continue
        named = short in said or ("/" + short.split("/", 3)[-1]) in said
        assert named and all(method.upper() in said for method in methods), path


def test_the_guide_names_every_option(lone_server: Served) -> None:
    text = (GUIDE / "server.md").read_text("utf-8")
    options = set(re.findall(r"--[a-z-]+", lone_server.suiro("up", "--help").stdout)) - {"--help"}
    assert len(options) > 7 and [option for option in options if option not in text] == []
