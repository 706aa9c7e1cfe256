"""The control socket of a sway that can unplug outputs, which is newer than the one that tests run."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from pathlib import Path


class NewSway(threading.Thread):
    """What such a sway answers on its control socket; the outputs and input devices that it has.

    ``maps_inputs`` says whether it maps devices to outputs, ``tells_of_inputs`` whether it tells when one comes. With
    ``inputs`` of ``None`` it hangs up when it is asked for them.
    """

    def __init__(
        self,
        path: Path,
        *,
        inputs: list[str] | None = None,
        maps_inputs: bool = True,
        tells_of_inputs: bool = True,
    ) -> None:
        super().__init__(daemon=True)
        self.outputs = {"DP-1": (1920, 1080)}
        self.scales: dict[str, float] = {}
        self.modes_refused = False
        self.plugged_meanwhile: str | None = None
        """A monitor that is plugged in just when an output is made."""
        self.commands: list[str] = []
        self.answers = threading.Event()
        """Cleared, it hangs: what it was asked it does and answers once this is set."""
        self.answers.set()
        self._inputs, self._maps_inputs, self._tells = inputs, maps_inputs, tells_of_inputs
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self.start()

    def run(self) -> None:
        """Serve each client in a thread of its own: a desktop keeps one connection and opens others."""
        clients: list[threading.Thread] = []
        while True:
            try:
                end = self._listening.accept()[0]
            except OSError:
                break
            clients.append(threading.Thread(target=self._serve, args=[end], daemon=True))
            clients[-1].start()
        for client in clients:
            client.join()

    def close(self) -> None:
        """Wait until all clients have hung up."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self.join()
        self._listening.close()

    def _serve(self, end: socket.socket) -> None:
        header = struct.Struct("=6sII")
        # Who asked may have waited long enough, and hung up.
        with end, contextlib.suppress(ConnectionError):
            while request := end.recv(header.size):
                _, size, kind = header.unpack(request)
                text = end.recv(size).decode() if size else ""
                if kind == 100 and self._inputs is None:
                    return
                self.answers.wait()
                answer = json.dumps(self._answer(kind, text)).encode()
                end.sendall(header.pack(b"i3-ipc", len(answer), kind) + answer)

    def _answer(self, kind: int, text: str) -> object:
        match kind:
            case 2:
                return {"success": self._tells}
            case 3:
                modes = {name: {"width": w, "height": h} for name, (w, h) in self.outputs.items()}
                return [{"name": name, "current_mode": mode} for name, mode in modes.items()]
            case 7:
                return {"major": 1, "minor": 9}
            case 100:
                return [{"name": name} for name in self._inputs or ()]
        return [self._run(text)]

    def _run(self, text: str) -> dict[str, object]:
        self.commands.append(text)
        match text.split():
            case ["create_output"]:
                if self.plugged_meanwhile is not None:
                    self.outputs[self.plugged_meanwhile] = (1920, 1080)
                self.outputs[f"HEADLESS-{len(self.commands)}"] = (1920, 1080)
                refused = ""
            case ["focus", "output", name]:
                refused = "" if name in self.outputs else "no such output"
            case ["input", *_]:
                refused = "" if self._maps_inputs else "no such device"
            case ["output", name, "unplug"]:
                refused = "no such output" if self.outputs.pop(name, None) is None else ""
            case ["output", name, "scale", factor]:
                self.scales[name] = float(factor)
                refused = ""
            case ["output", name, "mode", "--custom", mode]:
                refused = "mode refused" if self.modes_refused else ""
                if not refused:
                    width, height = mode.partition("@")[0].split("x")
                    self.outputs[name] = (int(width), int(height))
            case _:
                refused = "unknown command"
        return {"success": not refused, "error": refused}
