# SPDX-License-Identifier: GPL-3.0-or-later
"""A described channel on batches of symbols, differentiable (torch): what an ideal receiver hands to the decoder.

Carrier and clock offsets, delay, level, I/Q imbalance and phase noise are taken as corrected. Fading is equalised by one
complex tap that is known exactly, so that a fade of power g multiplies the noise variance by 1 / g; delay lines are taken as
flat, which holds while the delay spread is short beside a symbol. An amplifier acts on the symbols themselves, as under a
rectangular pulse.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from djscc.channels import symbols as elementary
from djscc.channels.description import ChannelDescription
from djscc.channels.fading import draw_gains
from djscc.channels.fading_parameters import FlatFadingParameters, NtnTdl
from djscc.channels.hardware import amplifier_gain, useful_gain
from djscc.channels.hardware_parameters import Rapp, Saleh
from djscc.channels.ntn_tdl import flat_equivalent
from djscc.channels.schema import require

SHORT = 0.2  # largest delay spread, in symbols, of a delay line that is taken as flat


class SymbolChannel:
    """Call with symbols (B, N, 2), mean power 1, and Es/N0 in dB (B,): received symbols (B, N, 2), noise variance (B, N).

    Args:
        description: the channel; its ``snr_db`` and orbit are left to the caller, who gives Es/N0 with each batch.
        seed: of the fading and noise, or a torch.Generator (on the symbols' device) to draw both from.
        symbols_per_fade: this many neighbouring symbols see one fade, independent of the next; None lets each of the B items
            see one (it passes within the coherence time), 1 is ideal interleaving.
        symbol_rate: Hz, to tell whether a delay line is flat; ChannelError if it is not.
    """

    def __init__(
        self,
        description: ChannelDescription,
        seed: int | torch.Generator = 0,
        symbols_per_fade: int | None = None,
        symbol_rate: float = 1e6,
    ) -> None:
        self.description = description
        self._generator = seed if isinstance(seed, torch.Generator) else None
        self._seed = seed
        self._symbols_per_fade = symbols_per_fade
        fading = description.fading
        self._fading: FlatFadingParameters | None
        if isinstance(fading, NtnTdl):
            spread = fading.delay_spread_ns
            limit = SHORT / symbol_rate * 1e9
            remedy = (
                f"At {symbol_rate:g} symbols/s a delay line is flat up to {limit:.0f}; beyond, use a SampleChannel."
            )
            require(spread <= limit, "fading.delay_spread_ns", spread, remedy)
            self._fading = flat_equivalent(fading)
        else:
            self._fading = fading

    def __call__(self, symbols: Tensor, snr_db: Tensor) -> tuple[Tensor, Tensor]:
        """Send a batch."""
        if self._generator is None:
            self._generator = torch.Generator(symbols.device).manual_seed(int(self._seed))  # type: ignore[arg-type]
        variance = elementary.noise_variance(snr_db)[:, None].expand(symbols.shape[:2])
        if self._fading is not None:
            variance = variance / self._gains(symbols)
        if self.description.amplifier is not None:
            symbols = amplify(self.description.amplifier, symbols)
        return elementary.awgn(symbols, variance, self._generator), variance

    def _gains(self, symbols: Tensor) -> Tensor:
        """|h|^2 of each symbol, (B, N)."""
        assert self._fading is not None and self._generator is not None
        batch, count = symbols.shape[:2]
        length = self._symbols_per_fade or count
        fades = -(-count // length)
        seed = int(torch.randint(1 << 62, (), generator=self._generator, device=self._generator.device))
        gains = np.abs(draw_gains(self._fading, batch * fades, np.random.default_rng(seed))) ** 2
        drawn = torch.from_numpy(gains.reshape(batch, fades)).to(symbols)
        return drawn.repeat_interleave(length, 1)[:, :count]


def amplify(amplifier: Saleh | Rapp, symbols: Tensor) -> Tensor:
    """An amplifier on symbols (..., 2) of mean power 1, the useful gain divided out as in AmplifierStage."""
    gain, phase = amplifier_gain(amplifier, symbols.square().sum(-1) * 10 ** (-amplifier.backoff_db / 10))
    useful = useful_gain(amplifier)
    return elementary.rotate(symbols * (gain / abs(useful))[..., None], phase - float(np.angle(useful)))
