"""Tokens that must be refused, in groups: every attack on JWTs that we know of.

`forge` makes the token at the moment of use: the same table serves the authenticator alone and a running server. Many
signatures here are right: what is wrong with those tokens is only what their name says.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from attacks import content_attacks, form_attacks, signature_attacks

GROUPS = (
    signature_attacks.none,
    signature_attacks.confusion,
    signature_attacks.unfit_keys,
    signature_attacks.psychic_signatures,
    signature_attacks.secrets,
    form_attacks.segments,
    form_attacks.stray_characters,
    form_attacks.encodings,
    form_attacks.jwe_and_nested,
    form_attacks.duplicates,
    form_attacks.malformed_json,
    form_attacks.sizes,
    content_attacks.times,
    content_attacks.header_parameters,
    content_attacks.kids,
    content_attacks.subjects,
    content_attacks.issuer_and_audience,
    content_attacks.better_auth,
)


@dataclass(frozen=True, slots=True)
class Attack:
    """One forged token. `str(attack)` names it in test reports."""

    group: str
    name: str
    forge: Callable[[], str]

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


def _all() -> Iterator[Attack]:
    for group in GROUPS:
        for name, forge in group():
            yield Attack(group.__name__, name, forge)


ATTACKS = tuple(_all())
