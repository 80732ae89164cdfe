"""A network that loses an answer: what was asked is done, and nobody is told."""

from __future__ import annotations

import selectors
import socket
import threading
from typing import Self


class Proxy:
    """Stands between a client and a server that answers each request, and drops one answer.

    Attributes:
        port: Where it listens on 127.0.0.1.
        lost: How many answers were dropped.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lost = 0
        self._request = b""
        self._left = 0
        self._threads = [threading.Thread(target=self._accept)]

    def drop_answer(self, request: bytes, number: int = 1) -> None:
        """Drop the answer to the request with these bytes that comes as the n-th from now on."""
        self._request, self._left = request, number

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with (
            client,
            socket.create_connection(self._server) as server,
            selectors.DefaultSelector() as ready,
        ):
            other = {client: server, server: client}
            for each in other:
                ready.register(each, selectors.EVENT_READ)
            drops = False
            while True:
                for key, _ in ready.select():
                    source = client if key.fileobj is client else server
                    try:
                        sent = source.recv(1 << 16)
                    except OSError:
                        sent = b""
                    if drops and source is server:
                        self.lost += 1
                        return
                    if not sent:
                        return
                    drops = drops or (source is client and self._is_asked(sent))
                    other[source].sendall(sent)

    def _is_asked(self, sent: bytes) -> bool:
        """Count down the requests that are looked for."""
        if not self._left or self._request not in sent:
            return False
        self._left -= 1
        return not self._left
