"""Scores of artifacts in words, for who does not know their names."""

from __future__ import annotations

from collections.abc import Mapping

from fst.pictures.artifacts import LIMITS

WORDS = {
    "lattice": "a pattern that repeats every few pixels",
    "weave": "a fine weave",
    "frame": "a frame along the edges",
    "blobs": "spots that are all alike",
    "blotch": "blotches in skies",
    "clipping": "colors at their limit",
}  # color_drift is left out: without the painting, its own colors count as drift


def artifacts_in_words(scores: Mapping[str, float]) -> str:
    """What of a card's scores is over its limit, the worst first; or that nothing is."""
    over = {
        name: scores[name] / LIMITS[name]
        for name in WORDS
        if name in scores and scores[name] > LIMITS[name]
    }
    if not over:
        return "none: no lattice, weave, frame, blobs, blotches or clipping over their limits"
    worst = sorted(over, key=lambda name: -over[name])
    told = [f"{WORDS[n]} ({n} {scores[n]:.2g}, clean below {LIMITS[n]:g})" for n in worst]
    return "; ".join(told)
