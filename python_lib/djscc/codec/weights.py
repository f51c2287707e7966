# SPDX-License-Identifier: GPL-3.0-or-later
"""Codecs as folders: a manifest and safetensors files, each checked by its SHA-256 before it is used.

A codec is looked for by name in the folders of ``DJSCC_CODECS`` (separated by ``:``), then among those that the library ships;
or it is the path of a folder. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from djscc import DATA
from djscc.codec import networks
from djscc.codec.codec import Codec, CodecError

__all__ = ["CodecError", "available_codecs", "load_codec", "load_codec_by_id", "save_codec"]

MANIFEST = "manifest.json"


def _folders() -> list[Path]:
    extra = [Path(p) for p in os.environ.get("DJSCC_CODECS", "").split(":") if p]
    return [*extra, DATA / "codecs"]


def available_codecs() -> dict[str, Path]:
    """Name to folder of every codec that can be loaded by name."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            found.setdefault(manifest.parent.name, manifest.parent)
    return found


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except OSError as error:
        raise CodecError(f"{folder}: no codec there ({MANIFEST}: {error.strerror})") from error
    except ValueError as error:
        raise CodecError(f"{folder / MANIFEST}: not JSON ({error}); copy the codec's folder again") from error
    needed = {"name", "id", "bands", "layers", "encoder", "decoders"}
    if not isinstance(manifest, dict) or manifest.get("format") != 1 or not needed <= manifest.keys():
        raise CodecError(f"{folder / MANIFEST}: not a codec manifest of format 1; a newer djscc may be needed")
    wrong = [key for key in ("bands", "layers") if type(manifest[key]) is not int or manifest[key] < 1]
    decoders = manifest["decoders"]
    if not isinstance(decoders, dict) or not decoders:
        wrong.append("decoders")
    else:
        specs = {"encoder": manifest["encoder"], **decoders}
        wrong += [name for name, spec in specs.items() if not _is_spec(spec)]
    if not wrong and manifest["id"] != manifest["encoder"]["sha256"][:8]:
        wrong = ["id (it must be the first 8 digits of the encoder's sha256)"]
    if wrong:
        raise CodecError(f"{folder / MANIFEST}: damaged, wrong is {', '.join(wrong)}; copy the codec's folder again")
    return manifest


def _is_spec(spec: Any) -> bool:
    texts = isinstance(spec, dict) and all(isinstance(spec.get(key), str) for key in ("family", "file", "sha256"))
    return (
        texts and re.fullmatch("[0-9a-f]{64}", spec["sha256"]) is not None and isinstance(spec.get("options", {}), dict)
    )


def _load_network(
    folder: Path, spec: dict[str, Any], families: dict[str, type[nn.Module]], manifest: dict[str, Any]
) -> nn.Module:
    file = folder / Path(spec["file"]).name
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CodecError(f"{file}: cannot be read ({error.strerror}); copy the codec's folder again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != spec["sha256"]:
        raise CodecError(
            f"{file}: wrong or damaged weights: SHA-256 {found}, the manifest says {spec['sha256']}; copy the codec's folder again"
        )
    if spec["family"] not in families:
        raise CodecError(f"{folder / MANIFEST}: network family {spec['family']!r} is unknown to this version of djscc")
    try:
        network = families[spec["family"]](
            bands=manifest["bands"], layers=manifest["layers"], **spec.get("options", {})
        )
        network.load_state_dict({k: v.float() for k, v in load(data).items()})
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise CodecError(f"{file}: does not fit the network that the manifest describes ({error})") from error
    return network.eval()


def load_codec(name: str | Path, decoder: str | None = None, device: str = "cpu") -> Codec:
    """Load a codec by name or folder, with one of its decoders (None: the first of its manifest, the best).

    Raises CodecError when there is none of that name, a file is missing, damaged or does not fit.
    """
    known = available_codecs()
    folder = known.get(str(name), Path(name))
    if not (folder / MANIFEST).is_file():
        raise CodecError(
            f"codec {str(name)!r} is not here; known are {', '.join(known) or 'none'}, or give its folder's path"
        )
    manifest = _read_manifest(folder)
    decoders = manifest["decoders"]
    if decoder is not None and decoder not in decoders:
        raise CodecError(f"decoder {decoder!r}: codec {manifest['name']} has {', '.join(decoders)}")
    chosen = decoders[decoder or next(iter(decoders))]
    encoder = _load_network(folder, manifest["encoder"], networks.ENCODERS, manifest)
    network = _load_network(folder, chosen, networks.DECODERS, manifest)
    encoder = encoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Codec(
        name=manifest["name"],
        id=int(manifest["id"], 16),
        encoder=encoder,
        decoder=network,
        layers=manifest["layers"],
        bands=manifest["bands"],
        patch=int(getattr(encoder, "patch")),  # noqa: B009 (a class attribute of the network, not a submodule)
        fixed=manifest["encoder"]["family"] == "reference",
        manifest=manifest,
        folder=folder,
        decoder_sha256=chosen["sha256"],
    )


def load_codec_by_id(codec_id: int, decoder: str | None = None, device: str = "cpu") -> Codec:
    """Load the codec whose id a frame's header names; CodecError when it is not here."""
    known = {}
    for name, folder in available_codecs().items():
        try:
            known[int(_read_manifest(folder)["id"], 16)] = name
        except CodecError:  # a broken folder does not stand in the way of the others; `djscc doctor` names it
            continue
    if codec_id not in known:
        here = ", ".join(f"{i:08x} ({n})" for i, n in known.items()) or "none"
        raise CodecError(
            f"codec id {codec_id:08x} is not here (here are {here}); put the sender's codec folder into one named by DJSCC_CODECS"
        )
    return load_codec(known[codec_id], decoder, device)


def save_codec(
    folder: Path,
    encoder: nn.Module,
    decoders: dict[str, nn.Module],
    training: dict[str, Any],
    metrics: dict[str, float],
    tiles_seen: int,
) -> None:
    """Write a codec's folder; ``training`` is the configuration that it was trained with, as plain values. ``tiles_seen`` counts
    the training tiles that the weights have seen, those of the codec that they began as included.

    Weights are stored as float16: their rounding is below that of bfloat16 arithmetic.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def store(network: nn.Module, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        data = save({k: v.detach().cpu().half().contiguous() for k, v in network.state_dict().items()})
        (folder / f"{name}.safetensors").write_bytes(data)
        options = {k: v for k, v in spec.items() if k != "family"}
        digest = hashlib.sha256(data).hexdigest()
        return {"family": spec["family"], "options": options, "file": f"{name}.safetensors", "sha256": digest}

    encoder_entry = store(encoder, "encoder", training["encoder"])
    manifest = {
        "format": 1,
        "name": training["name"],
        "id": encoder_entry["sha256"][:8],
        "bands": training["bands"],
        "layers": training["layers"],
        "encoder": encoder_entry,
        "decoders": {n: store(d, n, training["decoders"][n]) for n, d in decoders.items()},
        "range": {"snr_db": list(training["snr_db"]), "layers": list(training["layers_sent"])},
        "training": training | {"tiles_seen": tiles_seen},
        "validation_psnr_db": metrics,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
