# SPDX-License-Identifier: MIT
"""Sends a bounded number of requests to examples/tornado_server.py over a few connections. Standard library only.

python examples/load.py http://127.0.0.1:8888 --requests 2000
"""

from __future__ import annotations

import argparse
import http.client
import threading
import time
import urllib.parse
from typing import List


def paths(first: int, count: int) -> List[str]:
    """The requests of one connection: pages of many users, pictures, a search now and then. The same every time."""
    result = []
    for number in range(first, first + count):
        if number % 4 == 3:
            result.append("/thumbnail/picture{}".format(number % 600))
        elif number % 10 == 0:
            result.append("/search")
        else:
            result.append("/user/user{}".format(number % 500))
    return result


def send(host: str, port: int, wanted: List[str], failures: List[str]) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        for path in wanted:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                failures.append("{}: status {}".format(path, response.status))
    except (OSError, http.client.HTTPException) as error:
        failures.append("connection to {}:{}: {}".format(host, port, error))
    finally:
        connection.close()


def load(url: str, requests: int, connections: int) -> List[str]:
    """Send `requests` requests to the server at `url`. Returns what went wrong."""
    address = urllib.parse.urlsplit(url)
    failures: List[str] = []
    share = requests // connections
    threads = [
        threading.Thread(
            target=send, args=(address.hostname, address.port, paths(number * share, share), failures), daemon=True
        )
        for number in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description="Load for the example server.")
    parser.add_argument("url", help="like http://127.0.0.1:8888")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=4)
    options = parser.parse_args()
    start = time.monotonic()
    failures = load(options.url, options.requests, options.connections)
    seconds = time.monotonic() - start
    print("{} requests in {:.1f} s, {} failed".format(options.requests, seconds, len(failures)))
    if failures:
        raise SystemExit(failures[0])


if __name__ == "__main__":
    main()
