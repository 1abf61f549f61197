"""How long do people and agents wait for the coordinator while hundreds of agents report to it, on one core?"""

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.report import Spread, print_table
from fedward_core.processes.launching import Child, end_child, start_child
from fedward_server.sites.versions import our_versions

AGENTS, MANY_AGENTS = 200, 1000
WARM_UP_S, MEASURE_S, REPEATS = 6.0, 20.0, 3
READERS_EVERY_S = 0.1
CONNECTIONS = 50
CLASSES = ("heartbeat", "GET /health", "GET /sites/{name}", "GET /runs")

SERVE = """
import os, sys
from pathlib import Path
from fedward_server.api.app import create_app
from fedward_server.api.serving import listening, serve
from fedward_server.home import Home

class NoSuperLink:
    keys = Path("/nowhere")
    def ensure(self): return "127.0.0.1:9"
    def end(self): pass

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
home = Home(Path(sys.argv[1]))
def tell(key): (home.path / "admin.key").write_text(key)
with listening("127.0.0.1", 0) as listener, home.claimed():
    (home.path / "port").write_text(str(listener.getsockname()[1]))
    serve(create_app(home, keeper=NoSuperLink(), tell_key=tell), listener)
"""

Waits = dict[str, list[float]]


def main(num_agents: int) -> None:
    """Measure every repeat against a coordinator of its own, and print the table."""
    repeats = [asyncio.run(measure(num_agents)) for _ in range(REPEATS)]
    rows = []
    for kind in CLASSES:
        median = Spread(tuple(percentile(waits[kind], 0.50) for waits in repeats))
        late = Spread(tuple(percentile(waits[kind], 0.99) for waits in repeats))
        rows.append((kind, sum(len(waits[kind]) for waits in repeats), median, late))
    note = (
        f"{num_agents} agents report every 5 s, and somebody asks each question every {READERS_EVERY_S:g} s; "
        f"{MEASURE_S:.0f} s, {REPEATS} repeats with a coordinator of their own on SQLite, which has one core. The "
        "agents share this process, whose own delay is in the figures."
    )
    print_table(f"REST with {num_agents} agents", ("request", "requests", "p50, ms", "p99, ms"), rows, note)


async def measure(num_agents: int) -> Waits:
    """How long each request took, by its kind, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        child = start_child([sys.executable, "-c", SERVE, folder], log=home / "log")
        try:
            async with AsyncExitStack() as stack:
                limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
                client = await stack.enter_async_context(
                    httpx.AsyncClient(base_url=await address(home, child), limits=limits, timeout=60, trust_env=False)
                )
                return await observe(client, (home / "admin.key").read_text(encoding="utf-8"), num_agents)
        finally:
            end_child(child)


async def observe(client: httpx.AsyncClient, admin: str, num_agents: int) -> Waits:
    """Enrol the agents, let all of them report, and then ask as people do."""
    keys = [await enrol(client, admin, f"site-{index:04d}") for index in range(num_agents)]
    waits: Waits = defaultdict(list)
    begin = time.monotonic() + WARM_UP_S
    end = begin + MEASURE_S

    async def ask(kind: str, method: str, path: str, key: str, **more: Any) -> Any:
        start = time.perf_counter()
        answer = await client.request(method, path, headers={"Authorization": f"Bearer {key}"}, **more)
        if time.monotonic() > begin:
            waits[kind].append(1000 * (time.perf_counter() - start))
        return answer.raise_for_status().json()

    async def agent(index: int, key: str) -> None:
        await asyncio.sleep(5 * index / num_agents)
        while time.monotonic() < end:
            told = time.monotonic()
            body = heartbeat()
            reply = await ask("heartbeat", "POST", "/api/v1/fleet/heartbeats", key, json=body)
            await asyncio.sleep(max(0.0, told + reply["interval_s"] - time.monotonic()))

    async def person(kind: str) -> None:
        for number in count():
            if time.monotonic() > end:
                return
            path = kind.removeprefix("GET ").format(name=f"site-{number % num_agents:04d}")
            await ask(kind, "GET", f"/api/v1{path}", admin)
            await asyncio.sleep(READERS_EVERY_S)

    async with asyncio.TaskGroup() as tasks:
        for index, key in enumerate(keys):
            tasks.create_task(agent(index, key))
        for kind in CLASSES[1:]:
            tasks.create_task(person(kind))
    return waits


async def address(home: Path, child: Child) -> str:
    """Where the coordinator answers, once it does; if it ends instead, this process ends with what it said."""
    while not (home / "admin.key").exists():
        if child.poll() is not None:
            sys.exit((home / "log").read_text(encoding="utf-8"))
        await asyncio.sleep(0.1)
    return f"http://127.0.0.1:{(home / 'port').read_text(encoding='utf-8')}"


async def enrol(client: httpx.AsyncClient, admin: str, site: str) -> str:
    """Make a site, and give the key of its agent."""
    headers = {"Authorization": f"Bearer {admin}"}
    invitation = await client.post("/api/v1/sites/invitations", headers=headers, json={"site": site})
    body = {"token": invitation.json()["token"], "public_key": PUBLIC_KEY, "versions": our_versions().model_dump()}
    answer = await client.post("/api/v1/fleet/enrolments", json=body)
    return str(answer.raise_for_status().json()["key"])


def heartbeat() -> dict[str, Any]:
    """What an agent of a hospital with two GPUs reports."""
    return {
        "versions": our_versions().model_dump(),
        "free_disk_bytes": 10**12,
        "gpus": ["NVIDIA H100", "NVIDIA H100"],
        "clock_s": time.time(),
        "approved": ["f" * 64],
    }


def percentile(values: list[float], part: float) -> float:
    """The value below which a part of all values lies; no interpolation."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def _public_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


PUBLIC_KEY = _public_key()

if __name__ == "__main__":
    main(MANY_AGENTS if sys.argv[1:] == ["--many"] else AGENTS)
