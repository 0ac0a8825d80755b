"""Names for a rig's polecats: its own list, then its theme's, then numbers. Pure; used by dispatch."""

from __future__ import annotations

from collections.abc import Container, Iterator

from gastown.api.names import LABEL_LIMIT, agent_name
from gastown.api.rig import Rig

_MAD_MAX = """
furiosa nux slit rictus dementus capable toast dag cheedo splendid max valkyrie keeper ace coma morsov organic warboy dogman blaster
chrome guzzle octane piston throttle gasket exhaust manifold radiator flywheel crankshaft camshaft muffler gearbox clutch axle
rustbucket sandstorm dustdevil scorch ember torque diesel petrol nitro turbo rivet wrench sprocket cog
"""
_MINERALS = """
quartz agate jasper onyx opal topaz garnet beryl citrine amethyst peridot zircon spinel jade lapis malachite azurite hematite pyrite
galena calcite fluorite apatite talc gypsum halite barite mica feldspar olivine augite epidote kyanite sodalite rutile corundum sapphire
ruby emerald diamond obsidian basalt granite marble slate flint chert schist gneiss pumice
"""
THEMES = {"mad-max": _MAD_MAX.split(), "minerals": _MINERALS.split()}
DEFAULT_THEME = "mad-max"
# Names of infrastructure agents; a polecat called so would be mistaken for one.
RESERVED = frozenset({"mayor", "deacon", "witness", "refinery", "boot", "dog"})


def free_names(rig: Rig, taken: Container[str]) -> Iterator[str]:
    """Names of Agents that the rig does not have yet, without end.

    Args:
        taken: Names of the Agents of the namespace, retired ones too: an identity is never given twice.
    """
    pool = rig.spec.namePool
    names = [*pool.names, *THEMES.get(pool.theme, THEMES[DEFAULT_THEME])]
    for short in names:
        name = agent_name(rig.metadata.name, short)
        if short not in RESERVED and len(name) <= LABEL_LIMIT and name not in taken:
            yield name
    number = len(names) + 1
    while True:
        name = agent_name(rig.metadata.name, str(number))
        if name not in taken:
            yield name
        number += 1
