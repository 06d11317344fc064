"""Characters that do not show, or turn the text around them: what makes two names look like one.

What stays true: the ranges are written out, so that every version of Python and of PostgreSQL, which has them in
`store/functions/check_id_v1.sql`, takes the same for invisible.
"""

import re

#: Joins the parts of one emoji, and letters of some scripts.
JOINERS = "\u200c\u200d"
#: Choose between a picture and a drawing of the character before them.
VARIATION_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"

_RANGES = (
    # Fillers and characters of no width: soft hyphen, joiners of graphemes, Hangul fillers, the empty Braille cell.
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2064\u2800\u3164\ufeff\uffa0"
    # Marks and overrides of direction, isolates, deprecated format characters.
    "\u061c\u200e\u200f\u202a-\u202e\u2065-\u206f"
    # Anchors of annotations, shorthand and musical format characters, hieroglyphs' controls.
    "\ufff0-\ufffb\U00013430-\U00013440\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    # Tags: a whole text can hide in them.
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
#: A character that a plain name does not have.
INVISIBLE = re.compile(f"[{_RANGES}{JOINERS}{VARIATION_SELECTORS}]")
#: The same without what belongs to how a visible character looks.
HIDING = re.compile(f"[{_RANGES}]")
