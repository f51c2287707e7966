# SPDX-License-Identifier: GPL-3.0-or-later
"""Land-cover classification: which class a tile shows.

The loss of a received tile is 1 - p, where p is the probability that the classifier gives to the label, or, where a tile
has none, to the class that it chose on the original. Its mean follows accuracy, and is far less noisy than a count of wrong
decisions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from djscc.codec.codec import bf16_is_native
from djscc.imagery import TileSet
from djscc.tasks.networks import Classifier
from djscc.tasks.results import TaskError
from djscc.tasks.task import Task, register
from djscc.tasks.weights import MANIFEST, WEIGHTS, checked_bytes
from djscc.timing import in_network

BATCH = 64


@dataclass(frozen=True)
class Reference:
    """What is known of originals: the class (index) chosen on each, and its label's index or -1."""

    chosen: NDArray[np.int64]
    labels: NDArray[np.int64]


@register("classification")
class Classification(Task):
    """A classifier of tiles. ``classes`` are the names of its classes, in the order of its outputs."""

    def __init__(
        self, name: str, id: str, manifest: dict[str, Any], network: nn.Module, classes: Sequence[str], device: str
    ) -> None:
        self.device = torch.device(device)
        network = network.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        super().__init__(name, id, manifest, network)
        self.classes = tuple(classes)
        self.bf16 = bf16_is_native(self.device)

    @classmethod
    def load(cls, folder: Path, manifest: dict[str, Any], device: str) -> Classification:
        try:
            classes, spec = list(manifest["classes"]), dict(manifest["network"])
            file, sha256, settings = spec["file"], spec["sha256"], spec["settings"]
        except (KeyError, TypeError, ValueError) as error:
            raise TaskError(
                f"{folder / MANIFEST}: not the manifest of a classification ({error} is missing)"
            ) from error
        data = checked_bytes(folder, file, sha256)
        try:
            network = Classifier(classes=len(classes), **settings)
            state = {k: v.float() for k, v in load(data).items()}
            missing = network.load_state_dict(state, strict=False)
        except (SafetensorError, RuntimeError, TypeError) as error:
            raise TaskError(
                f"{folder / file}: does not fit the network that the manifest describes ({error})"
            ) from error
        lacking = [k for k in missing.missing_keys if not k.endswith("num_batches_tracked")]
        if lacking or missing.unexpected_keys:
            raise TaskError(
                f"{folder / file}: does not fit the network that the manifest describes "
                f"({', '.join([*lacking, *missing.unexpected_keys][:3])} ...); copy the task's folder again"
            )
        return cls(manifest["name"], sha256[:8], manifest, network, classes, device)

    @torch.inference_mode()
    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, H, W, 3) uint8 to the probability of each class, (N, classes); TaskError for other than three bands."""
        if images.shape[3] != 3:
            raise TaskError(
                f"task {self.name} takes images of 3 bands, these have {images.shape[3]}; leave the task out"
            )
        parts = []
        for start in range(0, len(images), BATCH):
            part = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH])).to(self.device)
            image = part.permute(0, 3, 1, 2).float() / 255
            with in_network(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                logits = self.network(image)
            parts.append(logits.double().softmax(1).cpu().numpy())
        return np.concatenate(parts)

    def find_reference(self, originals: TileSet) -> Reference:
        chosen = self.probabilities(originals.images).argmax(1)
        labels = np.full(len(originals), -1, dtype=np.int64)
        if originals.labels is not None:  # by name: a folder may hold some of the classes only, or others
            index = np.array([self.classes.index(c) if c in self.classes else -1 for c in originals.classes])
            labels = index[originals.labels]
        return Reference(chosen, labels)

    def measure(self, received: NDArray[np.uint8], reference: Any | None) -> list[dict[str, Any]]:
        if not len(received):
            return []
        probabilities = self.probabilities(received)
        entries: list[dict[str, Any]] = []
        for i, p in enumerate(probabilities):
            decision = int(p.argmax())
            entry: dict[str, Any] = {"decision": self.classes[decision]}
            if reference is None:
                entry["confidence"] = float(f"{p[decision]:.6g}")
            else:
                original, label = int(reference.chosen[i]), int(reference.labels[i])
                entry["original"] = self.classes[original]
                if label >= 0:
                    entry["label"] = self.classes[label]
                entry["loss"] = float(f"{1 - p[label if label >= 0 else original]:.6g}")
            entries.append(entry)
        return entries


def save_classification(
    folder: Path,
    network: nn.Module,
    classes: Sequence[str],
    training: dict[str, Any],
    validation: dict[str, float],
) -> None:
    """Write a classification's folder; ``training`` is the configuration that it was trained with, as plain values.

    Convolutions and matrices are stored as float16, whose rounding is below that of bfloat16 arithmetic; the rest as float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    data = save({k: (v.half() if v.ndim > 1 else v.float()).contiguous() for k, v in state.items()})
    (folder / WEIGHTS).write_bytes(data)
    manifest = {
        "format": 1,
        "name": training["name"],
        "kind": "classification",
        "classes": list(classes),
        "network": {
            "settings": training["network"],
            "file": WEIGHTS,
            "sha256": hashlib.sha256(data).hexdigest(),
            "parameters": sum(p.numel() for p in network.parameters()),
        },
        "training": training | {"tiles_seen": training["steps"] * training["batch"]},
        "validation": validation,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
