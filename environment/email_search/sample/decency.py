"""Keeps generated names free of offensive words, within a name and across its parts.

The list is deliberately coarse: a rejected name is simply redrawn, so false positives cost
nothing. Mostly English, with the most common words of other languages.
"""

from __future__ import annotations

import codecs
import re

# ROT13, to keep the words out of sight.
_OFFENSIVE = codecs.decode(
    "nany nahf nefpu nefr nff onfgneq ornare ovngpu ovgpu oybjwbo obyybpx obare obbo ohttre "
    "ohxxnxr ohgg pnoeba puvax pyvg pbpx pbba penc phz phag qntb qnexvr qvpx qvyqb qlxr snt "
    "srpx srypu svpx sbqn sbgmr shpx shx shk tbqqnz tbbx uvgyre ubzb ubbe ubeal uher wnc wvfz "
    "wvmm xvxr xxx xenhg xhejn ynovn yrfo ybyvgn zreq zvatr zbsb zbyrfg zbat zhss anmv artre "
    "arteb avtn avtt avttn avttre ahqr betnf betl cnrqb cnxv crqb cravf crei cuhpx cvzc cvff "
    "cbbs cbbc cbea cebshpx chff chgn chgnva chgb dhrre encr encvat encvf encvfg ergneq "
    "evzwbo fngna fpurv fpuynzc fpujhy fpebg frk funt fuvg fulg fxnax fynt fyhg fzrtzn "
    "fcnfgvp fcrez fcvp fchax fhpx gneq grfgvp gvg gbcyrff gbffre genaal gheq gjng intva ivnt "
    "ihyin jnax jrgonpx jube jvkre jbt jbc kkk mbee ",
    "rot13",
).split()
_ANY = re.compile("|".join(map(re.escape, _OFFENSIVE)))


def is_decent(*parts: str) -> bool:
    """Whether the letters of these names, joined as in an address, contain no offensive word."""
    letters = re.sub("[^a-z]", "", "".join(parts).lower())
    return _ANY.search(letters) is None
