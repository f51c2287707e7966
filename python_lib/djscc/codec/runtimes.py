# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare runtimes for the codec's networks: speed against a large matrix product, and distance from float32. Writes
results/runtimes.json.

``python -m djscc.codec.runtimes``: batches of 64 tiles of 64 x 64, on one thread and on two, each against a matrix product of
2048 x 2048 in the same run (the faster of float32 and bfloat16). PyTorch eager and compiled, and where they are installed
(``pip install djscc[bench]``) ONNX Runtime and OpenVINO. The library runs PyTorch eager in bfloat16 where the processor has it.
``error`` is the root-mean-square difference of the outputs from float32 eager, over the outputs' own root mean square. The
reference architecture is measured beside, eager.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from djscc.codec import Codec, available_codecs, load_codec
from djscc.codec.networks import ReferenceEncoder, multiply_adds
from djscc.codec.timing import matmul_rates, rate

BATCH = 64
RATIO_LAYERS = 16  # 1/12

Call = Callable[[], Any]  # runs a network; gives its output as a tensor or an array
Inputs = tuple[Tensor, ...]


def inputs_of(codec: Codec, decoder: bool) -> Inputs:
    """A batch as the encoder or the decoder takes it: what 1/12 sends of random tiles, and receives at 10 dB."""
    generator = torch.Generator().manual_seed(1)
    one = torch.ones(BATCH)
    if not decoder:
        image = torch.rand((BATCH, codec.bands, 64, 64), generator=generator).contiguous(
            memory_format=torch.channels_last
        )
        return image, RATIO_LAYERS * one, 0 * one, 0 * one
    side = 64 // codec.patch
    received = torch.zeros(BATCH, codec.layers, side, side)
    received[:, : codec.layers if codec.fixed else RATIO_LAYERS] = 1 / 1.1
    symbols = torch.randn((*received.shape, 2), generator=generator) * 0.7
    return symbols * (received > 0)[..., None], received


def in_eager(network: nn.Module, inputs: Inputs, bf16: bool) -> Call:
    """PyTorch as it is."""

    def call() -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return network(*inputs)

    return call


def in_onnx_runtime(network: nn.Module, inputs: Inputs, threads: int) -> Call:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    names = [f"input{i}" for i in range(len(inputs))]
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "network.onnx")
        torch.onnx.export(network, inputs, file, input_names=names, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    arrays = {name: value.contiguous().numpy() for name, value in zip(names, inputs, strict=True)}
    kept = {i.name for i in session.get_inputs()}  # the export leaves out what the network does not use
    return lambda: session.run(None, {k: v for k, v in arrays.items() if k in kept})[0]


def in_openvino(network: nn.Module, inputs: Inputs, threads: int, precision: str) -> Call:
    """OpenVINO on the CPU, in ``f32`` or ``bf16``."""
    import openvino

    model = openvino.convert_model(network, example_input=inputs)
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    arrays = [value.contiguous().numpy() for value in inputs][: len(model.inputs)]
    return lambda: request.infer(arrays, share_inputs=True, share_outputs=True)[0]


def runtimes(network: nn.Module, inputs: Inputs, threads: int) -> Iterator[tuple[str, Callable[[], Call]]]:
    """Name of each runtime and how to make it ready."""
    yield "eager float32", partial(in_eager, network, inputs, False)
    yield "eager bfloat16", partial(in_eager, network, inputs, True)
    yield "compiled bfloat16", lambda: in_eager(torch.compile(network, dynamic=False), inputs, True)  # type: ignore[arg-type]
    yield "ONNX Runtime float32", partial(in_onnx_runtime, network, inputs, threads)
    yield "OpenVINO float32", partial(in_openvino, network, inputs, threads, "f32")
    yield "OpenVINO bfloat16", partial(in_openvino, network, inputs, threads, "bf16")


def compare(
    network: nn.Module, inputs: Inputs, threads: int, macs: int | None, best_rate: float, seconds: float, only: str = ""
) -> dict[str, Any]:
    """Tiles a second of each runtime, the share of ``best_rate`` that its multiply-adds reach, and its error; why, where it does
    not run."""
    exact = np.asarray(in_eager(network, inputs, False)(), np.float64)
    result: dict[str, Any] = {}
    for name, make in runtimes(network, inputs, threads):
        if only not in name:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call = make()
                output = _array(call())
                tiles_per_s = BATCH * rate(call, seconds)
        except Exception as error:  # runtimes raise many kinds, and may not be installed
            result[name] = {"fails": f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"}
            continue
        distance = np.sqrt(((output - exact) ** 2).mean() / (exact**2).mean())
        result[name] = {"tiles_per_s": round(tiles_per_s), "error": float(f"{distance:.2g}")}
        if macs is not None:
            result[name]["share_of_matmul_rate"] = round(tiles_per_s * macs / best_rate, 3)
    torch.compiler.reset()
    return result


def _array(output: Any) -> NDArray[np.float64]:
    return (output.float().numpy() if isinstance(output, Tensor) else np.asarray(output)).astype(np.float64)


def parts(name: str) -> Iterator[tuple[str, nn.Module, Inputs, int]]:
    """The encoder and every decoder of a codec, each with a batch and the multiply-adds of one tile."""
    codec = load_codec(name)
    networks = [("encoder", codec.encoder, False)]
    networks += [(d, load_codec(name, d).decoder, True) for d in codec.manifest["decoders"]]
    for part, network, decoder in networks:
        inputs = inputs_of(codec, decoder)
        yield part, network, inputs, multiply_adds(network, *(value[:1] for value in inputs))


def reference(seconds: float) -> dict[str, Any]:
    """Tiles a second of the reference architecture in eager PyTorch; the faster of float32 and bfloat16 is what to compare with."""
    names = [name for name in available_codecs() if isinstance((codec := load_codec(name)).encoder, ReferenceEncoder)]
    if not names:
        return {}
    codec = load_codec(names[0])
    result: dict[str, Any] = {"codec": names[0]}
    for part, network in (("encoder", codec.encoder), ("decoder", codec.decoder)):
        inputs = inputs_of(codec, part == "decoder")
        result[part] = {
            kind: round(BATCH * rate(in_eager(network, inputs, kind == "bfloat16"), seconds))
            for kind in ("float32", "bfloat16")
        }
    return result


def measure(name: str, threads: Sequence[int], seconds: float, only: str = "") -> dict[str, Any]:
    """Everything, for each number of threads."""
    result: dict[str, Any] = {}
    for count in threads:
        torch.set_num_threads(count)
        matmul = matmul_rates(seconds)
        entry: dict[str, Any] = {"matmul_gmac_per_s": {k: round(v / 1e9, 1) for k, v in matmul.items()}}
        for part, network, inputs, macs in parts(name):
            compared = compare(network, inputs, count, macs, max(matmul.values()), seconds, only)
            entry[part] = {"multiply_adds": macs, **compared}
        entry["reference architecture"] = beside = reference(seconds)
        for part in (p for p in entry if "multiply_adds" in entry[p]):
            if beside and (eager := entry[part].get("eager bfloat16", {}).get("tiles_per_s")):
                other = max(beside["encoder" if part == "encoder" else "decoder"].values())
                entry[part]["eager bfloat16 over the reference architecture"] = round(eager / other, 2)
        result[str(count)] = entry
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.codec.runtimes", description=__doc__)
    parser.add_argument("--codec", default="adaptive", help="codec to measure (default: adaptive)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default: 1 2)")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure (default: 3)")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only runtimes with that in their name, such as eager"
    )
    parser.add_argument("--out", type=Path, default=Path("results/runtimes.json"))
    arguments = parser.parse_args()
    result = {
        "command": "python -m djscc.codec.runtimes " + " ".join(Path(a).name if "/" in a else a for a in sys.argv[1:]),
        "batch": f"{BATCH} tiles of 64 x 64",
        "versions": versions(),
        "threads": measure(arguments.codec, arguments.threads, arguments.seconds, arguments.only),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(arguments.out)
    return 0


def versions() -> dict[str, str]:
    """Of PyTorch, and of the runtimes that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("torch", "onnxruntime", "openvino"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
