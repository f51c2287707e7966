# SPDX-License-Identifier: GPL-3.0-or-later
"""Key folders: the CURVE key pair of one end of a link, and the public keys of those whom it trusts.

``own.key_secret``  this end's pair (mode 600); it never leaves the machine, unless to the one machine that it was made for
``own.key``         its public key, for the other ends
``peers/NAME.key``  public keys of the other ends: who may connect here, and whom this end connects to
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq.auth

from djscc.errors import DjsccError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}\Z")


class KeysError(DjsccError):
    """Keys that cannot be made or used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Keys:
    """One end's keys. ``peers`` are (name, public key) of those whom it trusts."""

    folder: Path
    public: bytes
    secret: bytes
    peers: tuple[tuple[str, bytes], ...]

    def server(self, host: str) -> bytes:
        """The public key of the end at ``host``: the peer of that name, or the only one that there is."""
        named = dict(self.peers)
        if host in named:
            return named[host]
        if len(named) == 1:
            return next(iter(named.values()))
        raise KeysError(
            f"{self.folder}/peers holds {len(named)} keys and none named {host}.key: put the public key (own.key) of the end "
            f"at {host} there under that name"
        )


def make_keys(folders: Sequence[str | Path], trusted: Sequence[str | Path] = ()) -> list[Keys]:
    """Make a key folder for each end, where there is none yet; each trusts the others, and all trust the key files ``trusted``.

    A pair that is there already is kept.
    """
    ends = [Path(folder) for folder in folders]
    names = [end.resolve().name for end in ends]
    for end, name in zip(ends, names, strict=True):
        if not SAFE_NAME.match(name) or names.count(name) > 1:
            raise KeysError(f"{end}: the folder's name names the end: give each its own, of letters, digits, - and _")
        _make_pair(end)
    for end in ends:
        for other, name in zip(ends, names, strict=True):
            if other != end:
                _trust(end, other / "own.key", name)
        for file in map(Path, trusted):
            _trust(end, file, file.stem if file.stem != "own" else file.resolve().parent.name)
    return [load_keys(end, peers_needed=False) for end in ends]


def load_keys(folder: str | Path, peers_needed: bool = True) -> Keys:
    """Read a key folder; KeysError where something is missing, or the secret key can be read by others."""
    folder = Path(folder)
    file = folder / "own.key_secret"
    if not file.is_file():
        raise KeysError(f"{folder}: no keys there (own.key_secret is missing); make them: djscc keys {folder}")
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise KeysError(f"{file}: others on this machine may read it; chmod 600 {file}")
    public, secret = _load(file)
    if secret is None:
        raise KeysError(f"{file}: holds no secret key; make the pair again: djscc keys {folder}")
    peers = tuple((path.stem, _load(path)[0]) for path in sorted((folder / "peers").glob("*.key")))
    if peers_needed and not peers:
        raise KeysError(
            f"{folder}/peers is empty, so nobody is trusted: add the other end's public key, "
            f"djscc keys {folder} --trust OTHER.key"
        )
    return Keys(folder, public, secret, peers)


def _make_pair(folder: Path) -> None:
    try:
        (folder / "peers").mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if (folder / "own.key_secret").exists():
            return
        before = os.umask(0o077)  # the file must not be readable for a moment
        try:
            zmq.auth.create_certificates(folder, "own")
        finally:
            os.umask(before)
        (folder / "own.key_secret").chmod(0o600)
        (folder / "own.key").chmod(0o644)
    except OSError as error:
        raise KeysError(f"{folder}: keys cannot be written ({error.strerror}); choose another folder") from error


def _trust(folder: Path, file: Path, name: str) -> None:
    public, _ = _load(file)
    if not SAFE_NAME.match(name):
        raise KeysError(f"{file}: {name!r} is no name of an end; rename the file with letters, digits, - and _")
    # written anew instead of copied: a secret key given by mistake does not spread
    (folder / "peers" / f"{name}.key").write_text(f'curve\n    public-key = "{public.decode()}"\n')


def _load(file: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(file)
    except (OSError, ValueError) as error:
        raise KeysError(f"{file}: not a key file ({error}); give one that `djscc keys` made") from error
