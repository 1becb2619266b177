#!/usr/bin/env python3
"""Stages faults on a cluster of this machine, so that the commands of docs/troubleshooting.md have something to find.

    troubles.py

Starts two nodes and etcd with scripts/cluster.sh (see there for SERVICE_CENTER, CLUSTER_NET and CLUSTER_DIR). The second node reaches etcd
through a relay of this script. Then it stages each fault, prints what the words in capitals on the page stand for, and waits. SIGUSR1 cuts
the second node off from etcd, and the next SIGUSR1 connects it again. It runs until Ctrl-C or SIGTERM, for an hour at most, and ends every
process that it has started.

What was staged, and when, also lies in troubles.json in CLUSTER_DIR.
"""

import base64
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NET = os.environ.get("CLUSTER_NET", "127.0.0")
FOLDER = pathlib.Path(os.environ.get("CLUSTER_DIR", ROOT / ".local" / "cluster"))
TARGET = ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target")
PROGRAM = os.environ.get("SERVICE_CENTER", str(TARGET / "quick" / "service-center"))
PORT = 30100
FIRST, SECOND, ETCD, RELAY, PROVIDERS, SOMEBODY = (f"{NET}.{last}" for last in (1, 2, 3, 4, 5, 9))
REGISTRY = "/v4/default/registry"

START_SECONDS = 120
STAGE_SECONDS = 120
STOP_SECONDS = 20
RUN_SECONDS = 3600
# A watcher that reads nothing accepts so little that some dozens of changes fill its connection.
NARROW_BUFFER = 4096
NARROW_SEGMENT = 536
MOST_CHANGES = 2000


class Relay:
    """Carries connections to etcd, until they are cut."""

    def __init__(self):
        self.lock = threading.Lock()
        self.open = set()
        self.is_cut = False
        self.listener = socket.create_server((RELAY, 2379))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection((ETCD, 2379), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self.lock:
                if self.is_cut:
                    client.close()
                    server.close()
                    continue
                self.open |= {client, server}
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self.carry, args=ends, daemon=True).start()

    def carry(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            with self.lock:
                self.open.discard(end)

    def cut(self, is_cut):
        with self.lock:
            self.is_cut = is_cut
            ends = list(self.open) if is_cut else []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def send(method, path, body=None, node=FIRST, source=SOMEBODY, headers=()):
    """Sends a request. Returns the JSON of the answer, or None if there is no body."""
    connection = http.client.HTTPConnection(node, PORT, timeout=10, source_address=(source, 0))
    try:
        connection.request(method, path, None if body is None else json.dumps(body), dict(headers))
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{method} {node}{path}: {answer.status} {text.decode(errors='replace')}")
    return json.loads(text) if text else None


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def until(what, done):
    """Waits until a call returns something. What it raises counts as not done."""
    end, why = time.monotonic() + STAGE_SECONDS, None
    while time.monotonic() < end:
        try:
            if found := done():
                return found
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            why = error
        time.sleep(0.1)
    raise RuntimeError(f"not within {STAGE_SECONDS} s: {what}" + (f"; {why}" if why else ""))


def create_service(name, environment):
    service = {"appId": "shop", "serviceName": name, "version": "1.0.0", "environment": environment}
    return send("POST", f"{REGISTRY}/microservices", {"service": service})["serviceId"]


def register(service, name, interval=600, times=3, source=SOMEBODY):
    check = {"mode": "push", "interval": interval, "times": times}
    instance = {"instanceId": name, "hostName": f"{name}-host", "endpoints": [f"rest://{name}.example:8080"], "healthCheck": check}
    send("POST", f"{REGISTRY}/microservices/{service}/instances", {"instance": instance}, source=source)


def provide(service, interval, times, *names):
    """The main loop of a provider process: registers instances and sends their heartbeats until it is killed."""
    for name in names:
        register(service, name, int(interval), int(times), PROVIDERS)
    while True:
        for name in names:
            send("PUT", f"{REGISTRY}/microservices/{service}/instances/{name}/heartbeat", source=PROVIDERS)
        print("alive", flush=True)
        time.sleep(int(interval))


def open_watch(consumer, node, last, is_narrow):
    """Opens the watch of a consumer, from an address that ends in `last`."""
    watch = socket.socket()
    if is_narrow:
        watch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BUFFER)
        watch.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, NARROW_SEGMENT)
    watch.bind((f"{NET}.{last}", 0))
    watch.settimeout(10)
    watch.connect((node, PORT))
    key = base64.b64encode(os.urandom(16)).decode()
    watch.sendall(
        f"GET {REGISTRY}/microservices/{consumer}/watcher HTTP/1.1\r\nHost: {node}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (byte := watch.recv(1)):
            raise RuntimeError(f"the watch of {consumer} was refused")
        head += byte
    if b" 101 " not in head.splitlines()[0]:
        raise RuntimeError(f"the watch of {consumer} was refused: {head.decode()}")
    watch.settimeout(None)
    return watch


def read_all(watch):
    """Reads what the node sends, as a consumer that works. It looks at nothing."""
    with contextlib.suppress(OSError):
        while watch.recv(65536):
            pass


class Stage:
    """The cluster, and the faults on it."""

    def __init__(self):
        self.processes = []
        self.watches = []
        self.faults = {}
        self.values = {}
        self.cluster = None
        self.second = None
        self.relay = Relay()

    # The cluster

    def start(self):
        environment = {
            **os.environ,
            "CLUSTER_NET": NET,
            "CLUSTER_DIR": str(FOLDER),
            "SERVICE_CENTER": PROGRAM,
            "CLUSTER_ETCD_2": f"{RELAY}:2379",
            # Else the second node would learn the address of etcd, and need no relay.
            "REGISTRY_ETCD_AUTO_SYNC_INTERVAL": "0s",
            # A provider that dies is to expire soon.
            "REGISTRY_INSTANCE_MIN_INTERVAL": "1s",
            "REGISTRY_INSTANCE_MIN_TIMES": "1",
            "REGISTRY_INSTANCE_EXPIRY_GUARD_SERVICE_SHARE": "0.5",
        }
        self.environment = environment
        self.cluster = subprocess.Popen(
            [ROOT / "scripts" / "cluster.sh"], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        limit = threading.Timer(START_SECONDS, self.cluster.terminate)
        limit.start()
        for line in self.cluster.stdout:
            print(f"  {line.rstrip()}", flush=True)
            if line.rstrip().endswith(f"node {SECOND}"):
                self.second_id = int(line.split()[0])
            if line.startswith("Files and logs"):
                break
        else:
            raise RuntimeError("the cluster has not started")
        limit.cancel()
        threading.Thread(target=self.cluster.stdout.read, daemon=True).start()

    def stop(self):
        self.relay.cut(False)
        for watch in self.watches:
            watch.close()
        for process in self.processes:
            process.kill()
        for process in [*self.processes, self.second, self.cluster]:
            if process is None:
                continue
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(2 * STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # The faults

    @contextlib.contextmanager
    def fault(self, name, **facts):
        """Notes when a fault was staged."""
        print(f"- {name}", flush=True)
        began = now()
        yield
        self.faults[name] = {"began": began, "ended": now(), **facts}

    def provider(self, service, interval, times, *names):
        command = [sys.executable, __file__, "provide", service, str(interval), str(times), *names]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.processes.append(process)
        if process.stdout.readline() != "alive\n":
            raise RuntimeError(f"the provider of {names} has ended")
        return process

    def restart_second(self):
        both = lambda: len(send("GET", f"{REGISTRY}/health")["instances"]) == 2
        until("both nodes are listed", both)
        with self.fault("a node was restarted", node=f"{SECOND}:{PORT}"):
            os.kill(self.second_id, signal.SIGTERM)
            gone = lambda: not pathlib.Path(f"/proc/{self.second_id}").exists()
            until("the second node has ended", gone)
            folder = FOLDER / SECOND
            with open(folder / "output.log", "ab") as log:
                self.second = subprocess.Popen(
                    [PROGRAM], cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            until("the second node serves", lambda: send("GET", f"{REGISTRY}/health/readiness", node=SECOND) or True)
            until("both nodes are listed again", both)

    def consume(self, name, environment, provider, node, last, reads):
        """A consumer of a provider, with a watch."""
        consumer = create_service(name, environment)

        def depends():
            target = f"{REGISTRY}/instances?appId=shop&serviceName={provider}"
            send("GET", target, node=node, source=f"{NET}.{last}", headers={"X-ConsumerId": consumer}.items())
            return send("GET", f"{REGISTRY}/microservices/{consumer}/providers").get("providers")

        until(f"{name} depends on {provider}", depends)
        # A watch is accepted once the node shows its consumer.
        watch = until(f"{name} watches", lambda: open_watch(consumer, node, last, not reads))
        self.watches.append(watch)
        if reads:
            threading.Thread(target=read_all, args=(watch,), daemon=True).start()
        return consumer

    def stall(self, orders):
        """Changes an instance until a change waits for the consumer that reads nothing."""

        def watcher():
            listed = send("GET", f"/v4/default/govern/services/{orders}/watchers")["items"]
            return next(item for item in listed if item["consumer"]["serviceName"] == "mobile")

        seen = watcher()
        for number in range(MOST_CHANGES):
            properties = {"properties": {"round": str(number), "weight": "x" * 3000}}
            send("PUT", f"{REGISTRY}/microservices/{orders}/instances/orders-1/properties", properties)
            if number % 20 < 19:
                continue
            before, seen = seen, watcher()
            # A change may wait for a moment. Here none of the last 20 was sent.
            if seen.get("pending", 0) > 0 and seen.get("sent", 0) == before.get("sent", 0):
                return
        raise RuntimeError("the watch of mobile takes everything")

    def run(self):
        self.restart_second()
        orders, stock = create_service("orders", "development"), create_service("stock", "development")
        legacy = create_service("legacy", "development")
        died = self.provider(orders, 1, 9, "orders-2")
        crowd = self.provider(stock, 5, 3, *(f"stock-{number}" for number in range(1, 5)))
        for name in ("orders-1", "orders-3", "orders-4"):
            register(orders, name)
        register(legacy, "legacy-1")
        self.consume("web", "development", "orders", FIRST, 6, reads=True)
        self.consume("kiosk", "development", "orders", SECOND, 7, reads=True)
        self.consume("mobile", "development", "orders", FIRST, 8, reads=False)
        # A millisecond of its own, which no event shares.
        time.sleep(0.01)
        all_there = now()
        time.sleep(0.01)
        held_since = now()
        crowd.kill()
        with self.fault("a provider was killed", instance="orders-2"):
            died.kill()
            shown = f"/v4/default/govern/instances?serviceId={orders}&search=orders-2"
            until("orders-2 has expired", lambda: send("GET", shown)["total"] == 0)
        with self.fault("an instance was unregistered", instance="orders-3", client=SOMEBODY, request="clean-up-7"):
            headers = {"X-Request-Id": "clean-up-7"}.items()
            send("DELETE", f"{REGISTRY}/microservices/{orders}/instances/orders-3", headers=headers)
        with self.fault("an instance was taken out of service", instance="orders-4", client=SOMEBODY, request="maintenance-8"):
            headers = {"X-Request-Id": "maintenance-8"}.items()
            send("PUT", f"{REGISTRY}/microservices/{orders}/instances/orders-4/status?value=OUTOFSERVICE", headers=headers)
        with self.fault("a service was deleted", instance="legacy-1", client=SOMEBODY, request="tidy-9"):
            send("DELETE", f"{REGISTRY}/microservices/{legacy}?force=1", headers={"X-Request-Id": "tidy-9"}.items())
        with self.fault("a watcher stalls", consumer="mobile"):
            self.stall(orders)
        with self.fault("a consumer is in another environment", consumer="billing", provider="orders"):
            create_service("billing", "production")

        def held():
            items = [item for item in send("GET", "/v4/default/admin/expiries")["items"] if item["rule"] == "service"]
            # The four expire one after the other, and half of them may pass.
            return items if len(items) >= 2 else None

        with self.fault("expiries are held back"):
            rule = until("expiries of stock are held", held)
        self.faults["expiries are held back"].update(began=held_since, instances=[item["instanceId"] for item in rule])
        self.values = {
            "NODES": f"http://{FIRST}:{PORT},http://{SECOND}:{PORT}",
            "INSTANCE": "orders-1",
            "PROVIDER": "shop/orders",
            "CONSUMER": "production/shop/billing",
            "TIME": all_there,
        }

    def write(self):
        facts = {"values": self.values, "faults": self.faults}
        unfinished = FOLDER / "troubles.json.new"
        unfinished.write_text(json.dumps(facts, indent=2) + "\n")
        unfinished.rename(FOLDER / "troubles.json")

    def toggle(self):
        is_cut = not self.relay.is_cut
        name = "a node is cut off from etcd" if is_cut else "a node reaches etcd again"
        with self.fault(name, node=f"{SECOND}:{PORT}"):
            self.relay.cut(is_cut)
            kind = "store.lost" if is_cut else "store.back"
            since = self.faults.get("a node is cut off from etcd", {}).get("began") if not is_cut else now()
            events = f"/v4/default/admin/events?kind={kind}&since={since}"
            until(f"the second node records {kind}", lambda: send("GET", events, node=SECOND)["total"])
        self.write()
        print(f"{name.capitalize()}.", flush=True)


def main():
    # Blocked before any thread starts, so that all threads inherit it, and taken one by one below.
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}

    def ended(*_):
        raise SystemExit(0)

    for ending in signals - {signal.SIGUSR1}:
        signal.signal(ending, ended)
    # Only in this process: its children get all signals.
    wanted = threading.Semaphore(0)
    signal.signal(signal.SIGUSR1, lambda *_: wanted.release())
    stage = Stage()
    try:
        stage.start()
        print("Staging:", flush=True)
        stage.run()
        stage.write()
        print("\nStaged. Set HOSTING_SERVER_IP, and try the commands of docs/troubleshooting.md with these words:", flush=True)
        print(f"  export HOSTING_SERVER_IP={FIRST}")
        for word, value in stage.values.items():
            print(f"  {word:8} {value}")
        print(f"`kill -USR1 {os.getpid()}` cuts {SECOND} off from etcd, and connects it again. Running until Ctrl-C.", flush=True)
        end = time.monotonic() + RUN_SECONDS
        while (left := end - time.monotonic()) > 0:
            if wanted.acquire(timeout=min(left, 1)):
                stage.toggle()
    finally:
        for ending in signals:
            signal.signal(ending, signal.SIG_IGN)
        print("Stopping.", flush=True)
        stage.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["provide"]:
        provide(*sys.argv[2:])
    else:
        main()
