#!/usr/bin/env python3
"""Attack an operator's TCP listener with slow clients, and time scrapes beside them.

    scripts/slow-clients.py [HOST:PORT] [--connections N] [--token TOKEN]

For each kind of hostile connection it opens N of them (1000 by default), keeps them open, and prints how many the
operator still keeps and how long GET /metrics takes. Attacker and scraper have the same address. Kinds that need a token
are skipped without one (a token of role runner shows all of them). Exits with 1 when a scrape fails or takes longer than
a second. Standard library only.
"""

import argparse
import http.client
import resource
import socket
import sys
import time

BASE = "/apis/chanop.dev/v1alpha1"
SCRAPES = 5
LIMIT_SECONDS = 1.0


def request(method, path, headers=""):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}"


def kinds(token):
    """(name, bytes to send on each connection)."""
    post = "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"half\": "
    yield "silent", ""
    yield "half a header", "GET /metrics HTTP/1.1\r\nHost: loc"
    yield "idle HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
    yield "pipelined scrapes, never read", (request("GET", "/metrics") + "\r\n") * 200
    yield "half-sent bodies, no token", request("POST", BASE + "/runs", post)
    yield "wrong tokens", request("GET", BASE + "/channels", "Authorization: Bearer wrong\r\n") + "\r\n"
    if token:
        bearer = f"Authorization: Bearer {token}\r\n"
        yield "half-sent bodies, with token", request("POST", BASE + "/runs", bearer + post)
        yield "idle keep-alive", request("GET", BASE + "/channels", bearer) + "\r\n"
        yield "watch streams, never read", request("GET", BASE + "/channels?watch=1", bearer) + "\r\n"
        yield "pipelined lists, never read", (request("GET", BASE + "/channels", bearer) + "\r\n") * 200


def attack(address, count, payload):
    connections = []
    for _ in range(count):
        connection = socket.create_connection(address, timeout=5)
        connection.setblocking(False)
        try:
            connection.send(payload.encode("latin-1"))
        except OSError:
            pass  # Refused already, or its buffer is full: both are what an attacker gets.
        connections.append(connection)
    return connections


def kept(connections):
    """How many the operator has not closed. Reads what it has answered."""
    return sum(not is_closed(connection) for connection in connections)


def is_closed(connection):
    try:
        while connection.recv(1 << 20):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def scrape(address, token):
    began = time.monotonic()
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200 or b"chanop_" not in body:
        raise OSError(f"the scrape was answered with {response.status}")
    return time.monotonic() - began


def measure(address, token):
    """The slowest of a few scrapes; None when one failed."""
    slowest = 0.0
    for _ in range(SCRAPES):
        try:
            slowest = max(slowest, scrape(address, token))
        except (OSError, http.client.HTTPException) as error:
            print(f"  failed to scrape: {error}")
            return None
    return slowest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", nargs="?", default="127.0.0.1:9841")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--token", help="a bearer token, for the kinds that need one and for the scrape")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    address = (host, int(port))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = arguments.connections + 64
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))

    ok = True
    print(f"{'kind':<32} {'kept':>6} {'slowest scrape':>15}")
    idle = measure(address, arguments.token)
    print(f"{'none':<32} {'-':>6} {'failed' if idle is None else f'{idle * 1000:.0f} ms':>15}")
    for name, payload in kinds(arguments.token):
        connections = attack(address, arguments.connections, payload)
        slowest = measure(address, arguments.token)
        passed = slowest is not None and slowest <= LIMIT_SECONDS
        shown = "failed" if slowest is None else f"{slowest * 1000:.0f} ms"
        print(f"{name:<32} {kept(connections):>6} {shown:>15}{'' if passed else '  <- too slow'}")
        ok = ok and passed
        for connection in connections:
            connection.close()
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
