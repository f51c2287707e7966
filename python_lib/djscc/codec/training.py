# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a codec from one YAML file: ``djscc train CONFIG.yaml``.

Every random draw of a step comes from generators seeded by (seed, step), and the learning rate is a function of the step:
a run that was killed goes on from its last checkpoint exactly as if nothing had happened, and a finished run can be
extended by raising ``steps``. Checkpoints and weights are safetensors. Several GPUs: ``torchrun --nproc-per-node N``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from djscc.channels import load_channel
from djscc.codec import networks
from djscc.codec.objectives import Objective, mse
from djscc.codec.optimiser import Muon, learning_rate, take_step
from djscc.codec.rate import RATE_FILE
from djscc.codec.rate_fit import CANDIDATES, fit_rate_model
from djscc.codec.training_channel import Draw, draw, transmit
from djscc.codec.training_config import ConfigError, TrainingConfig, keep_settings
from djscc.codec.weights import CodecError, load_codec, save_codec
from djscc.imagery import TileSet, load_tiles

CHECKPOINT, CURVE = "checkpoint.safetensors", "curve.jsonl"  # in a training's folder
RATE_TILES = 700  # training tiles that the rate model is fitted to


class Model(nn.Module):
    """One encoder and the decoders that are trained with it."""

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.encoder = _build(networks.ENCODERS, config.encoder, config)
        self.decoders = nn.ModuleDict({n: _build(networks.DECODERS, d, config) for n, d in config.decoders.items()})


def _build(families: dict[str, type[nn.Module]], spec: dict[str, Any], config: TrainingConfig) -> nn.Module:
    options = dict(spec)
    family = options.pop("family", None)
    if family not in families:
        raise ConfigError(f"network family {family!r} is unknown; known are {', '.join(families)}")
    try:
        return families[family](bands=config.bands, layers=config.layers, **options)
    except TypeError as error:
        raise ConfigError(f"network of family {family}: {error}") from error


def take_over(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load weights into a network of the same form, which may have more residual blocks: those come last and stay as they
    begin, as the identity. RuntimeError names what does not fit."""
    own = network.state_dict()
    last = "modulation.net.2."
    grown = {k: v for k, v in own.items() if k.startswith("blocks.") and k not in weights}
    if grown:
        grown |= {k: torch.cat([weights[k], v[len(weights[k]) :]]) for k, v in own.items() if k.startswith(last)}
    network.load_state_dict(weights | grown)


def start_from(model: Model, name: str) -> None:
    """Take over the weights of a codec; ConfigError when its networks are not those of the configuration, or those with fewer
    residual blocks."""
    try:
        for decoder, network in model.decoders.items():
            codec = load_codec(name, decoder)
            take_over(network, codec.decoder.state_dict())
        take_over(model.encoder, codec.encoder.state_dict())
    except (CodecError, KeyError, RuntimeError) as error:
        raise ConfigError(f"initial {name!r}: does not fit the networks of this configuration ({error})") from error


def encode(encoder: nn.Module, image: Tensor, plan: Draw, bf16: bool) -> Tensor:
    """Run an encoder and normalise the power of the layers sent: (B, layers, h, w, 2). Images are padded to whole patches."""
    device = image.device
    image = networks.pad_to_patch(image, encoder.patch)  # type: ignore[arg-type]
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        symbols = encoder(image, plan.sent.to(device), plan.told_db.to(device), plan.told.to(device))
    kept = (torch.arange(symbols.shape[1], device=device)[None] < plan.sent.to(device)[:, None]).float()
    return networks.normalise_power(symbols, kept)


def augment(image: Tensor, generator: torch.Generator) -> Tensor:
    """One of the eight symmetries of the square for each image of (B, C, H, W)."""
    for dims in ((2,), (3,)):
        flip = torch.rand(len(image), generator=generator) < 0.5
        image = torch.where(flip[:, None, None, None], image.flip(dims), image)
    if image.shape[2] == image.shape[3]:
        turn = torch.rand(len(image), generator=generator) < 0.5
        image = torch.where(turn[:, None, None, None], image.transpose(2, 3), image)
    return image


def recolour(image: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Change the bands of a share ``rate`` of the images of (B, C, H, W) in [0, 1]: their order, saturation, gains and offsets."""
    b, bands = image.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((b, *shape, 1, 1), generator=generator)

    chosen = torch.rand(b, generator=generator) < rate
    order = torch.rand((b, bands), generator=generator).argsort(1)
    changed = torch.where(uniform(0, 1, 1) < 0.5, image.gather(1, order[:, :, None, None].expand_as(image)), image)
    grey = changed.mean(1, keepdim=True)
    changed = grey + uniform(0.5, 2.5, 1) * (changed - grey)
    centre = changed.mean((2, 3), keepdim=True)
    changed = centre + 2 ** uniform(-1, 1, 1) * (changed - centre)
    changed = 2 ** uniform(-0.7, 0.7, bands) * changed + uniform(-0.15, 0.15, bands)
    return torch.where(chosen[:, None, None, None], changed.clamp(0, 1), image)


def optimisers(model: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    if config.optimiser == "adamw":
        return [
            torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.99))
        ]
    if config.optimiser == "muon":
        kernels = [p for n, p in model.named_parameters() if p.ndim == 4]
        others = [p for n, p in model.named_parameters() if p.ndim != 4]
        return [
            Muon(kernels, lr=config.lr, weight_decay=config.weight_decay),
            torch.optim.AdamW(others, lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.99)),
        ]
    raise ConfigError(f"optimiser {config.optimiser!r} is unknown; known are adamw, muon")


def device_of(name: str | None) -> torch.device:
    """A device by name; None is a GPU where there is one. ConfigError for one that is not there."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # one process a GPU
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        raise ConfigError(
            f"--device {name}: is not there ({str(error).splitlines()[0]}); give cpu, or leave it out"
        ) from error
    return device


def save_checkpoint(path: Path, model: nn.Module, optims: list[torch.optim.Optimizer], step: int) -> None:
    tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}
    for i, optim in enumerate(optims):
        for j, state in optim.state_dict()["state"].items():
            tensors |= {f"optim.{i}.{j}.{k}": v.contiguous() for k, v in state.items()}
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={"step": str(step)})
    temporary.replace(path)


def checkpoint_step(path: Path, steps: int) -> int:
    """The step that a checkpoint was taken at, 0 where there is none; ConfigError for one that is damaged or beyond ``steps``."""
    if not path.exists():
        return 0
    try:
        with safe_open(path, "pt") as file:
            step = int(file.metadata()["step"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: damaged ({error}); remove it to begin anew, or give another --out folder"
        ) from error
    if step > steps:
        raise ConfigError(f"{path}: is at step {step} already, beyond steps {steps}; give as many at least")
    return step


def load_checkpoint(path: Path, model: nn.Module, optims: list[torch.optim.Optimizer]) -> None:
    """Take over the weights and the optimisers' state of a checkpoint."""
    tensors = load_file(path)
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    for i, optim in enumerate(optims):
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"optim.{i}."):
                _, _, j, name = key.split(".", 3)
                states.setdefault(int(j), {})[name] = value
        optim.load_state_dict({"state": states, "param_groups": optim.state_dict()["param_groups"]})


@torch.inference_mode()
def validate(model: Model, images: Tensor, config: TrainingConfig, device: torch.device) -> dict[str, float]:
    """Mean of per-tile PSNR in dB at each validation point, for each decoder."""
    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)
    result: dict[str, float] = {}
    bf16 = config.precision == "bf16"
    for layers, snr_db in config.validation_points:
        sums = dict.fromkeys(model.decoders, 0.0)
        for batch in images.split(128):
            image = batch.to(device).float() / 255
            plan = Draw.fixed(len(image), layers, snr_db)
            received, reliability = transmit(encode(model.encoder, image, plan, bf16), plan, None, generator)
            for name, decoder in model.decoders.items():
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    decoded = decoder(received, reliability)[:, :, : image.shape[2], : image.shape[3]]
                errors = mse((decoded.float().clamp(0, 1) * 255).round() / 255, image)
                sums[name] += float((-10 * errors.clamp_min(1e-10).log10()).sum())
        for name, total in sums.items():
            result[f"{name}/{layers}@{snr_db:g}dB"] = round(total / len(images), 3)
    return result


def go_on(
    out: Path,
    settings: dict[str, Any],
    steps: int,
    model: nn.Module,
    optims: list[torch.optim.Optimizer],
    writes: bool = True,
) -> int:
    """Go on from the checkpoint in a training's folder; returns its step, 0 where there is none. ConfigError where it cannot be
    gone on from. Of several processes one ``writes``: the settings, and the curve without the lines beyond the checkpoint."""
    checkpoint, curve = out / CHECKPOINT, out / CURVE
    step = checkpoint_step(checkpoint, steps)
    if writes:
        keep_settings(out / "config.yaml", settings, step > 0)
    if step:
        load_checkpoint(checkpoint, model, optims)
    if writes and curve.exists():
        temporary = curve.with_suffix(".tmp")
        temporary.write_text("".join(line + "\n" for line in lines_until(curve, step)))
        temporary.replace(curve)
    return step


def lines_until(curve: Path, step: int) -> list[str]:
    """The lines of a training curve up to a step; a torn one is left out."""
    kept = []
    for line in curve.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    return kept


def tile_set_of(paths: list[str], bands: int | None = None, limit: int | None = None) -> TileSet:
    """The tiles of a configuration's data; variables of the environment in the paths are expanded."""
    expanded = [os.path.expandvars(p) for p in paths]
    if unset := [p for p in expanded if "$" in p]:
        raise ConfigError(
            f"data {unset[0]}: that environment variable is not set; EUROSAT is the folder of the shipped configurations' data"
        )
    return load_tiles(expanded, bands).take(limit)


def tiles_of(paths: list[str], bands: int, limit: int | None = None) -> Tensor:
    """The tiles of a configuration's data, (N, bands, H, W) uint8."""
    tiles = tile_set_of(paths, bands, limit)
    return torch.from_numpy(tiles.images).permute(0, 3, 1, 2).contiguous()


def train(config: TrainingConfig, out: Path, device_name: str | None = None, progress: bool = True) -> Path:
    """Train (or go on training) in folder ``out``; returns the folder of the finished codec, ``out/codec``."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device = device_of(device_name)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if device.type == "cuda":
            torch.cuda.set_device(device)
    out.mkdir(parents=True, exist_ok=True)
    images = tiles_of(config.data["train"], config.bands)
    validation = tiles_of(config.data["validation"], config.bands, config.validation_tiles)
    channels = [load_channel(name) for name in config.channels]
    bands, height, width = images.shape[1:]
    if bands != config.bands:
        raise ConfigError(f"bands {config.bands}: the tiles of {config.data['train']} have {bands}; set bands to that")
    objective = Objective(config.objective, (bands, height, width), device)
    torch.manual_seed(config.seed)
    model = Model(config)
    tiles_seen = config.steps * config.batch * world
    if config.initial is not None:
        start_from(model, config.initial)
        tiles_seen += load_codec(config.initial).manifest["training"]["tiles_seen"]
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optims = optimisers(model, config)
    step = go_on(out, dataclasses.asdict(config), config.steps, model, optims, rank == 0)
    bf16 = config.precision == "bf16"
    per_epoch = len(images) // (config.batch * world)
    if per_epoch < 1:
        raise ConfigError(f"{len(images)} training tiles are fewer than one batch of {config.batch * world}")
    order, order_epoch = torch.empty(0), -1
    bar = tqdm(total=config.steps, initial=step, disable=not progress or rank > 0, unit="step", smoothing=0.05)
    started = time.monotonic()
    measured: dict[str, float] = {}
    while step < config.steps:
        epoch, within = divmod(step, per_epoch)
        if epoch != order_epoch:
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed * 7919 + epoch))
            order_epoch = epoch
        seed = (config.seed * 1_000_003 + step) * world + rank
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        index = order[(within * world + rank) * config.batch :][: config.batch]
        image = images[index].float() / 255
        if config.augment:
            image = augment(image, generator)
        if config.recolour_rate:
            image = recolour(image, config.recolour_rate, generator)
        image = image.to(device).contiguous(memory_format=torch.channels_last)
        plan = draw(config, generator)
        symbols = encode(model.encoder, image, plan, bf16)
        described = channels[step % len(channels)] if channels else None
        received, reliability = transmit(symbols, plan, config, generator, described)
        loss = torch.zeros((), device=device)
        for name, decoder in model.decoders.items():
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                decoded = decoder(received, reliability)[:, :, :height, :width]
            loss = loss + config.decoder_weights.get(name, 1.0) * objective(decoded.float(), image)
        if config.peak_weight:
            power = symbols.square().sum(-1)
            loss = loss + config.peak_weight * F.relu(power - config.peak_power).mean()
        for optim in optims:
            optim.zero_grad(set_to_none=True)
        loss.backward()
        if world > 1:
            for p in model.parameters():
                if p.grad is not None:
                    dist.all_reduce(p.grad)
                    p.grad /= world
        rate = learning_rate(step, config)
        take_step(model, optims, rate, config.gradient_clip)
        step += 1
        bar.update()
        if step % config.validate_every == 0 or step == config.steps:
            if rank == 0:
                line = {"step": step, "lr": round(rate, 7), "seconds": round(time.monotonic() - started, 1)}
                measured = validate(model, validation, config, device)
                line |= measured
                with (out / CURVE).open("a") as file:
                    file.write(json.dumps(line) + "\n")
                save_checkpoint(out / CHECKPOINT, model, optims, step)
                first = (
                    f"{config.validation_points[0][0]}@{config.validation_points[0][1]:g}dB"
                    if config.validation_points
                    else ""
                )
                bar.set_postfix_str(" ".join(f"{k} {v} dB" for k, v in line.items() if k.endswith(first) and "/" in k))
            if world > 1:
                dist.barrier()
    bar.close()
    if rank == 0:
        save_codec(
            out / "codec",
            model.encoder,
            dict(model.decoders.items()),
            dataclasses.asdict(config),
            measured or validate(model, validation, config, device),
            tiles_seen,
        )
        if config.encoder["family"] == "adaptive" and config.layers >= CANDIDATES[0]:
            codec = load_codec(out / "codec", list(config.decoders)[-1])  # the last decoder is the lightest
            sample = images[:: max(1, len(images) // RATE_TILES)].permute(0, 2, 3, 1).contiguous().numpy()
            fit_rate_model(codec, sample).save(out / "codec" / RATE_FILE)
    if world > 1:
        dist.destroy_process_group()
    return out / "codec"
