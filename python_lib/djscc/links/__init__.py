# SPDX-License-Identifier: GPL-3.0-or-later
"""Links between processes and machines over ZeroMQ: samples, metrics, and the keys that protect them."""

from djscc.links.keys import Keys, KeysError, load_keys, make_keys
from djscc.links.metrics import MetricsPublisher, MetricsSubscriber, Received
from djscc.links.samples import SampleReceiver, SampleSender
from djscc.links.sockets import Address, Link, LinkError, Security, parse_address

__all__ = [
    "Address",
    "Keys",
    "KeysError",
    "Link",
    "LinkError",
    "MetricsPublisher",
    "MetricsSubscriber",
    "Received",
    "SampleReceiver",
    "SampleSender",
    "Security",
    "load_keys",
    "make_keys",
    "parse_address",
]
