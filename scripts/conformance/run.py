#!/usr/bin/env python3
"""Checks a running node against its own OpenAPI document with schemathesis, without and with accounts.

    run.py PROGRAM SCHEMATHESIS

PROGRAM is the daemon, SCHEMATHESIS the program of that name. Prints the cases and findings of each run, and exits with 1 if there is a
finding. The environment: EXAMPLES (of each operation, default 30), MODES (default "plain accounts"), LIMIT_S (seconds of each run,
default 280).
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PASSWORD = "Root#Secret1"
# A run that takes longer is ended.
MOST_SECONDS = int(os.environ.get("LIMIT_S", "280"))
READY_SECONDS = 60
STOP_SECONDS = 20
# Characters of a line that are shown.
SHOWN = 2000


class Node:
    """A daemon with an embedded store in a folder of its own, on a free port."""

    def __init__(self, program, folder, accounts):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = None
        conf = folder / "conf"
        conf.mkdir()
        (conf / "app.conf").write_text(f"httpaddr = 127.0.0.1\nhttpport = {self.port}\n")
        environment = {**os.environ, "RUST_LOG": "warn"}
        command = [program]
        if accounts:
            subprocess.run([program, "keys", "--out", str(folder)], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            (conf / "app.yaml").write_text(
                "rbac:\n  enable: true\n  privateKeyFile: ./private.key\n  publicKeyFile: ./public.key\n"
            )
            environment["SC_INIT_ROOT_PASSWORD"] = PASSWORD
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=self.log, stderr=self.log)

    def send(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = response.read()
        return json.loads(answer) if answer else None

    def wait_ready(self):
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                self.send("GET", "/v4/default/registry/health/readiness")
                return
            except (urllib.error.URLError, ConnectionError):
                if self.process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"the node does not serve; its log is {self.log.name}")
                time.sleep(0.1)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def seed(node, accounts):
    """Registers what valid requests refer to; the values of their parameters."""
    registry = "/v4/default/registry"
    services = f"{registry}/microservices"
    key = {"appId": "default", "serviceName": "provider", "version": "1.0.0"}
    consumer = {**key, "serviceName": "consumer"}
    provider_id = node.send("POST", services, {"service": key, "tags": {"tag": "value"}})["serviceId"]
    consumer_id = node.send("POST", services, {"service": consumer})["serviceId"]
    check = {"mode": "push", "interval": 3600, "times": 3}
    instance = {"instanceId": "instance", "hostName": "host", "endpoints": ["rest://10.0.0.7:8080"], "healthCheck": check}
    node.send("POST", f"{services}/{provider_id}/instances", {"instance": instance})
    node.send("PUT", f"{services}/{provider_id}/schemas/schema", {"schema": "text", "summary": "s"})
    node.send("POST", f"{registry}/dependencies", {"dependencies": [{"consumer": consumer, "providers": [key]}]})
    path = {
        "project": "default",
        "serviceId": provider_id,
        "providerId": provider_id,
        "consumerId": consumer_id,
        "instanceId": "instance",
        "schemaId": "schema",
        "key": "tag",
    }
    if accounts:
        node.send("POST", "/v4/roles", {"name": "reader", "perms": [{"resources": [{"type": "service"}], "verbs": ["get"]}]})
        node.send("POST", "/v4/accounts", {"name": "tester", "password": "Tester#Pwd1", "roles": ["reader"]})
        path.update(name="tester", roleName="reader")
    return {
        "path": path,
        "query": {"appId": "default", "serviceName": "provider", "version": "1.0.0", "env": ""},
        "headers": {"X-Domain-Name": "default", "X-ConsumerId": consumer_id},
        "existence": {**key, "serviceId": provider_id, "schemaId": "schema"},
    }


def check(mode, program, schemathesis):
    """Runs all checks once. The number of findings and errors."""
    accounts = mode == "accounts"
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        folder = pathlib.Path(folder)
        node = Node(program, folder, accounts)
        try:
            node.wait_ready()
            if accounts:
                node.token = node.send("POST", "/v4/token", {"name": "root", "password": PASSWORD})["token"]
            environment = {**os.environ, "CONFORMANCE_SEED": json.dumps(seed(node, accounts))}
            environment.update(CONFORMANCE_TOKEN=node.token or "", SCHEMATHESIS_HOOKS=str(HERE / "hooks.py"))
            report, output, dropped = folder / "report.json", folder / "output", folder / "dropped.json"
            environment["CONFORMANCE_DROPPED"] = str(dropped)
            command = [
                schemathesis,
                "--config-file", str(HERE / f"{mode}.toml"),
                "run", f"{node.url}/openapi.json",
                "--max-examples", os.environ.get("EXAMPLES", "30"),
                "--max-time", str(MOST_SECONDS),
                "--report-json-path", str(report),
            ]
            with open(output, "wb") as out:
                subprocess.run(command, cwd=folder, env=environment, stdout=out, stderr=out, timeout=MOST_SECONDS + 60)
            return judge(mode, node, report, output, dropped)
        finally:
            node.stop()


def show(output):
    """Prints the output of schemathesis. A body may be hundreds of kilobytes long."""
    for line in output.read_text(errors="replace").splitlines():
        print(line if len(line) <= SHOWN else f"{line[:SHOWN]}…")


def judge(mode, node, report, output, dropped):
    if not report.exists():
        show(output)
        print(f"{mode}: schemathesis wrote no report")
        return 1
    result = json.loads(report.read_text())
    findings, errors = result["failures"], result["errors"]
    count = sum(group["count"] for group in findings) + sum(group["count"] for group in errors)
    if count:
        show(output)
    operations, cases = result["operations"], result["test_cases"]
    print(
        f"{mode}: {cases['generated']} cases of {operations['tested']} of {operations['total']} operations in "
        f"{result['running_time']:.0f} s, {count} findings (ended: {result['stop_reason']})"
    )
    for group in findings:
        print(f"  {group['count']:4} {group['title']}: {', '.join(group['operations'])}")
    for group in errors:
        print(f"  {group['count']:4} {group['title']}")
    print("  not counted (hooks.py):" if dropped.exists() else "  hooks.py wrote nothing")
    for why, number in json.loads(dropped.read_text()) if dropped.exists() else []:
        print(f"  {number:4} {why}")
    if node.process.poll() is not None:
        print(f"{mode}: the node ended on the way")
        count += 1
    if operations["tested"] < operations["total"]:
        print(f"{mode}: not all operations were tested")
        count += 1
    return count


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    program, schemathesis = (os.path.abspath(argument) for argument in sys.argv[1:])
    modes = os.environ.get("MODES", "plain accounts").split()
    findings = sum(check(mode, program, schemathesis) for mode in modes)
    print(f"conformance: {findings} findings")
    raise SystemExit(1 if findings else 0)


main()
