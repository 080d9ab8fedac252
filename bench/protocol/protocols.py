"""All FLOP protocols by name."""

from __future__ import annotations

from bench.protocol.modules import MMCV
from bench.protocol.rules import EXACT, FVCORE, FVCORE_LAST, Protocol
from models.spec import SpecError, nearest

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (FVCORE, FVCORE_LAST, MMCV, EXACT)}


def protocol(name: str) -> Protocol:
    """The protocol of this name. Raises SpecError, which names those there are."""
    if name not in PROTOCOLS:
        raise SpecError(f"no FLOP protocol {name!r}; there are {nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
