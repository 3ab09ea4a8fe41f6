"""Names for agents that bring none: two or three words that people can tell apart at a glance."""

from typing import Final

_FIRST: Final = (  # noqa: SIM905
    "Amber Ancient Bold Brass Bright Calm Candid Clear Copper Crimson Distant Early Eager Even "
    "Fair Far Fleet Gentle Glad Golden Grand Hidden Honest Idle Iron Ivory Jade Keen Kind Late "
    "Light Lone Lucid Lucky Merry Mild Misty Noble Northern Open Patient Plain Proud Quick "
    "Quiet Ready Rising Round Sable Salt Second Serene Sharp Silent Silver Slow Solar Steady "
    "Still Stray Subtle Sudden Tidal True Velvet Vivid Wandering Warm Wide Wild Winter Young"
).split()
_SECOND: Final = (  # noqa: SIM905
    "Albatross Anchor Anvil Argument Atlas Beacon Bellwether Bramble Cadence Cartographer "
    "Causeway Chorus Cinder Compass Corollary Courier Crane Current Dawn Ember Errand Estuary "
    "Falcon Ferry Fjord Flint Footnote Foundry Gable Gannet Glacier Granite Harbour Harrier "
    "Heron Horizon Interlude Isthmus Juniper Kestrel Kiln Lantern Ledger Lighthouse Linden Loom "
    "Margin Meridian Mistral Monsoon Nomad Orchard Osprey Outpost Overture Paragraph Petrel "
    "Pilot Plover Postscript Preface Quarry Quill Rampart Ravine Reef Rook Sextant Shearwater "
    "Signal Skerry Sparrow Steppe Strait Summit Tern Thicket Threshold Tributary Tundra "
    "Vanguard Verge Vessel Viaduct Voyage Watershed Weaver Willow Zenith Zephyr"
).split()
_LAST: Final = ("", "", "", "", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")


def generate(entropy: int) -> str:
    """A name drawn by `entropy` (at least 40 random bits). Names need not be unique."""
    rest, first = divmod(entropy, len(_FIRST))
    rest, second = divmod(rest, len(_SECOND))
    last = _LAST[rest % len(_LAST)]
    return f"{_FIRST[first]} {_SECOND[second]} {last}".rstrip()
