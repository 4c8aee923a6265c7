#!/usr/bin/env python3
"""Ways to the database that can be disturbed: one listener for each pair of a node and a server.

    proxy.py

Commands come as lines of JSON on standard input and are answered by one line each:
    {"link": NAME, "to": PORT}            a new way; the answer is the port to use
    {"link": NAME, "do": "cut"}           ends its connections and refuses new ones
    {"link": NAME, "do": "hole"}          nothing passes, nothing is closed; what was under way arrives afterwards
    {"link": NAME, "do": "delay", "s": S} each piece passes S seconds later
    {"link": NAME, "do": "clear"}"""

from __future__ import annotations

import asyncio
import json
import socket
import sys

PIECE = 65_536


class Link:
    def __init__(self, to: int):
        self.to, self.state, self.delay_s = to, "clear", 0.0
        self.passable = asyncio.Event()
        self.passable.set()
        self.open: set[asyncio.StreamWriter] = set()

    def do(self, what: str, delay_s: float) -> None:
        self.state, self.delay_s = what, delay_s if what == "delay" else 0.0
        if what == "hole":
            self.passable.clear()
        else:
            self.passable.set()
        if what == "cut":
            for writer in self.open:
                writer.transport.abort()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.passable.wait()
        if self.state == "cut":
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, server_writer}
        self.open |= both
        for each in both:
            each.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            ways = [
                asyncio.create_task(self._pass_on(reader, server_writer)),
                asyncio.create_task(self._pass_on(server_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        finally:
            # Who was cut off hears of it as of a lost connection.
            self.open -= both
            for each in both:
                each.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(PIECE):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self.passable.wait()
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass


async def serve() -> None:
    loop = asyncio.get_running_loop()
    links: dict[str, Link] = {}
    servers = []
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        name = command["link"]
        if "to" in command:
            links[name] = Link(command["to"])
            servers.append(await asyncio.start_server(links[name].connected, "127.0.0.1", 0, limit=PIECE))
            print(servers[-1].sockets[0].getsockname()[1], flush=True)
        else:
            links[name].do(command["do"], command.get("s", 0.0))
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
