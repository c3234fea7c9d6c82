"""TLS over buffers in memory, so that encrypted streams are read, stamped and parsed like plain ones."""

from __future__ import annotations

import asyncio
import socket
import ssl

from swarm.context.render import Buffer
from swarm.errors import ConfigError

RECORD_BYTES = 64 * 1024


def client_context(ca_file: str | None, *, verify: bool) -> ssl.SSLContext:
    """Return a context that trusts the system's certificates, or those of a file; any without `verify`.

    Raises:
        ConfigError: The file cannot be read, or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as fault:
        raise ConfigError(f"target.ca_file: {ca_file} cannot be used: {fault.strerror or fault}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsLayer:
    """The encryption of one connection."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    async def handshake(self, sock: socket.socket) -> None:
        """Agree with the server; raises `ssl.SSLError` or `OSError`."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(sock, self._outgoing.read())
                data = await loop.sock_recv(sock, RECORD_BYTES)
                if not data:
                    raise ConnectionResetError(
                        "the server closed the connection during the handshake"
                    ) from None
                self._incoming.write(data)
            else:
                await loop.sock_sendall(sock, self._outgoing.read())
                return

    def encrypt(self, buffers: list[Buffer]) -> list[Buffer]:
        """Return the encrypted form of `buffers`."""
        for buffer in buffers:
            self._object.write(buffer)
        return [self._outgoing.read()]

    def decrypt(self, data: bytes) -> tuple[bytes, bool, str | None, bytes]:
        """Return (plain data, whether the server ended the stream, what went wrong, what to send back)."""
        self._incoming.write(data)
        plain, ended, problem = list[bytes](), False, None
        try:
            while True:
                part = self._object.read(RECORD_BYTES)
                if not part:
                    ended = True
                    break
                plain.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            problem = f"{error.reason or error}"
        return b"".join(plain), ended, problem, self._outgoing.read()
