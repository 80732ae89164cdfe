"""English words whose forms have no stem in common: who asks "when did she lose" was told that she lost."""

from __future__ import annotations

_FORMS = (
    "become became, begin began begun, bend bent, bite bitten, blow blew blown, break broke broken, bring brought, "
    "build built, burn burnt, buy bought, catch caught, child children, choose chose chosen, come came, deal dealt, "
    "dig dug, draw drew drawn, dream dreamt, drink drank drunk, drive drove driven, eat ate eaten, fall fell fallen, "
    "feed fed, feel felt, fight fought, find found, flee fled, fly flew flown, foot feet, forget forgot forgotten, "
    "forgive forgave forgiven, freeze froze frozen, give gave given, go gone, grow grew grown, hang hung, hear heard, "
    "hide hid hidden, hold held, keep kept, know knew known, lead led, learn learnt, leave left, lend lent, "
    "light lit, lose lost, make made, man men, mean meant, meet met, mouse mice, pay paid, ride rode ridden, "
    "ring rang rung, rise risen, run ran, see saw seen, seek sought, sell sold, send sent, shake shook shaken, "
    "shine shone, shoot shot, show shown, sing sang sung, sink sank sunk, sit sat, sleep slept, speak spoke spoken, "
    "spend spent, stand stood, steal stole stolen, stick stuck, strike struck, swear swore sworn, swim swam swum, "
    "take took taken, teach taught, tear tore torn, think thought, throw threw thrown, tooth teeth, "
    "understand understood, wake woke woken, wear wore worn, win won, woman women, write wrote written"
)
BASE_FORMS = {form: base for base, *forms in map(str.split, _FORMS.split(",")) for form in forms}
"""The base of each form that differs. Words of other languages may be among them: that joins two terms, no more."""
