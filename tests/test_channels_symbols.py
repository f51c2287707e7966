# SPDX-License-Identifier: GPL-3.0-or-later
"""The symbol-level channel (torch): noise variances, gradients, and agreement with the streaming channel."""

import numpy as np
import pytest
import torch
from djscc.channels import ChannelError, SampleChannel, SymbolChannel, load_channel
from djscc.channels.hardware import AmplifierStage
from djscc.channels.hardware_parameters import Rapp, Saleh
from djscc.channels.symbol_channel import amplify
from scipy import stats


def batch(items, count, seed=0):
    return torch.randn((items, count, 2), generator=torch.Generator().manual_seed(seed)) / 2**0.5


def test_awgn_has_the_variance_it_reports():
    """Within 5 standard errors of 100,000 symbols: 6e-7."""
    symbols = batch(4, 25_000)
    snr_db = torch.tensor([-3.0, 0.0, 6.0, 13.0])
    received, variance = SymbolChannel(load_channel("awgn"), 1)(symbols, snr_db)
    assert variance.shape == (4, 25_000)
    assert torch.allclose(variance[:, 0], 10 ** (-snr_db / 10))
    noise = (received - symbols).square().sum(-1).mean(1)
    assert torch.allclose(noise / variance[:, 0], torch.ones(4), atol=5 / 25_000**0.5)


def test_fades_hold_as_long_as_asked():
    channel = load_channel("rician-k10")
    _, whole = SymbolChannel(channel, 1)(batch(3, 100), torch.zeros(3))
    _, parts = SymbolChannel(channel, 1, symbols_per_fade=30)(batch(3, 100), torch.zeros(3))
    assert [len(np.unique(row)) for row in whole.numpy()] == [1, 1, 1]
    assert [len(np.unique(row)) for row in parts.numpy()] == [4, 4, 4]


def test_equal_seeds_equal_channels():
    def send(seed):
        channel = SymbolChannel(load_channel("shadowed-heavy"), seed)
        return torch.cat([channel(batch(2, 50), torch.zeros(2))[0] for _ in range(2)])

    assert torch.equal(send(1), send(1)) and not torch.equal(send(1), send(2))
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(SymbolChannel(load_channel("awgn"), generator)(batch(2, 50), torch.zeros(2))[0],
                       SymbolChannel(load_channel("awgn"), 1)(batch(2, 50), torch.zeros(2))[0])  # fmt: skip


def test_gradients_pass():
    symbols = batch(2, 50).requires_grad_()
    channel = load_channel("shadowed-average").replace(amplifier={"model": "saleh", "backoff_db": 3})
    received, _ = SymbolChannel(channel, 1)(symbols, torch.zeros(2))
    received.square().sum().backward()
    assert symbols.grad is not None and torch.isfinite(symbols.grad).all() and symbols.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "name", ["rician-k10", "shadowed-light", "shadowed-heavy", "land-mobile", "ntn-tdl-a", "ntn-tdl-d"]
)
def test_fading_agrees_with_the_streaming_channel(name):
    """Two-sample Kolmogorov-Smirnov of the fade's power at 1e-4; a delay line is compared where it is flat."""
    quicker = {
        "ntn-tdl-a": {"delay_spread_ns": 0},
        "ntn-tdl-d": {"delay_spread_ns": 0},
        "land-mobile": {"good_s": 0.15, "bad_s": 0.1, "shadowing_time_s": 0.05},
    }
    channel = load_channel(name).replace(snr_db=None, doppler_hz=100, **quicker.get(name, {}))
    _, variance = SymbolChannel(channel, 3, symbols_per_fade=1)(batch(1, 4000), torch.zeros(1))
    rate, spacing_s = 2000.0, 0.6
    fades = SampleChannel(channel, rate, 2, 1.0, 5).push(np.ones(int(1000 * spacing_s * rate), np.complex64))
    assert stats.ks_2samp(1 / variance.numpy().ravel(), np.abs(fades[:: int(spacing_s * rate)]) ** 2).pvalue > 1e-4


@pytest.mark.parametrize("amplifier", [Saleh(backoff_db=4.0), Rapp(backoff_db=2.0, smoothness=1.5)])
def test_amplifier_agrees_sample_by_sample(amplifier):
    symbols = batch(1, 5000)
    stream = AmplifierStage(amplifier, 1.0).push(symbols.numpy().view(np.complex64).ravel())
    torch_form = amplify(amplifier, symbols).numpy().view(np.complex64).ravel()
    assert np.abs(stream - torch_form).max() < 5e-5


def test_delay_line_beyond_flat_is_refused():
    with pytest.raises(ChannelError, match=r"fading.delay_spread_ns: 1000.0 .* flat up to 200"):
        SymbolChannel(load_channel("ntn-tdl-a").replace(delay_spread_ns=1000))
