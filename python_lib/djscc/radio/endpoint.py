# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands after ``--sink`` and ``--source``: a kind, a colon, an address; or ``-``."""

from __future__ import annotations

from dataclasses import dataclass

from djscc.radio.errors import StreamError

HARDWARE = ("usrp", "pluto", "soapy")
KINDS = {
    "file": "file:NAME, a file of complex float32 samples",
    "sigmf": "sigmf:NAME, a SigMF recording",
    "zmq": "zmq:tcp://HOST:PORT",
    "-": "- for standard input or output",
    "usrp": "usrp:ARGS, such as usrp:type=b200",
    "pluto": "pluto:URI, such as pluto:ip:192.168.2.1 or pluto:usb:",
    "soapy": "soapy:ARGS, such as soapy:driver=lime",
}


@dataclass(frozen=True)
class Endpoint:
    """Where samples go to or come from. ``kind`` is a key of ``KINDS``, ``address`` may be empty for radios."""

    kind: str
    address: str

    @property
    def hardware(self) -> bool:
        """True for a radio, which is driven through GNU Radio and does not wait."""
        return self.kind in HARDWARE

    def at(self, address: str | None) -> Endpoint:
        """This end, a radio's at ``address`` where it names none itself."""
        return Endpoint(self.kind, address) if self.hardware and not self.address and address else self

    def __str__(self) -> str:
        return self.kind if self.kind == "-" else f"{self.kind}:{self.address}"


def parse_endpoint(text: str, option: str) -> Endpoint:
    """The endpoint in ``text``, which was given as ``option``; StreamError for what is none."""
    kind, colon, address = text.partition(":")
    if text == "-":
        return Endpoint("-", "")
    if kind not in KINDS or kind == "-" or not colon or (not address and kind not in HARDWARE):
        raise StreamError(f"{option} {text!r} is unknown; give {'; '.join(KINDS.values())}")
    return Endpoint(kind, address)
