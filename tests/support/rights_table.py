"""docs/reference/rights.yaml: who may do what in a town, read once for the test that tries it and for the page that tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).parents[2] / "docs" / "reference" / "rights.yaml"
# Not a policy: what the definitions of our kinds themselves refuse.
SCHEMA = "schema"
# Answers whoever is an agent by name and speaks from no session, whatever else is wrong with the request.
SESSIONS = "gastown-agent-sessions"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody who may or may not.

    Attributes:
        account: ServiceAccount as <namespace>/<name>; "" for nobody.
        session: Rig of its live session pod, to which its token is bound; "" for a token bound to nothing.
        roles: What it is bound to in the town, besides what the chart binds.
    """

    name: str
    title: str
    account: str = ""
    session: str = ""
    roles: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """Of its account."""
        return self.account.partition("/")[0]

    @property
    def short(self) -> str:
        """The name of its account alone."""
        return self.account.partition("/")[2]

    @property
    def username(self) -> str:
        """As the API server knows it."""
        return f"system:serviceaccount:{self.account.replace('/', ':')}" if self.account else ""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What answers somebody who has the verb.

    Attributes:
        by: Name of the policy, or SCHEMA.
        who: Names of identities.
        says: Regular expression with placeholders; names object, field and remedy.
    """

    by: str
    who: frozenset[str]
    says: str


@dataclass(frozen=True, kw_only=True)
class Try:
    """One request.

    Attributes:
        exempt: Identities for whom this one proves nothing.
    """

    verb: str
    resource: str
    name: str = ""
    namespace: str = "town"
    generate_name: str = ""
    manager: str = ""
    query: str = ""
    body: Any = None
    exempt: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        """For failures."""
        return f"{self.verb} {self.resource} {self.namespace}/{self.name or self.generate_name} {self.body or self.query or ''}"


@dataclass(frozen=True, kw_only=True)
class Right:
    """One line of the table."""

    object: str
    right: str
    how: str
    may: frozenset[str]
    refusals: tuple[Refusal, ...]
    tries: tuple[Try, ...] = field(repr=False)

    def refusals_for(self, identity: Identity) -> tuple[Refusal, ...]:
        """The policies of which one refuses this identity; () where RBAC does."""
        found = tuple(refusal for refusal in self.refusals if identity.name in refusal.who)
        speaks_as_agent = identity.account.startswith("town/") and not identity.session and not identity.roles
        if found and speaks_as_agent and not any(refusal.by == SESSIONS for refusal in found):
            return (*found, Refusal(by=SESSIONS, who=frozenset(), says="from outside a session"))
        return found


@dataclass(frozen=True)
class RightsTable:
    """All of it."""

    told: Mapping[str, Any]

    @cached_property
    def identities(self) -> dict[str, Identity]:
        """By name."""
        return {
            name: Identity(name=name, **{**fields, "roles": tuple(fields.get("roles", ()))})
            for name, fields in self.told["identities"].items()
        }

    @cached_property
    def rights(self) -> tuple[Right, ...]:
        """In the order of the file."""
        return tuple(self._right(group["object"], fields) for group in self.told["objects"] for fields in group["rights"])

    def _right(self, object_: str, fields: Mapping[str, Any]) -> Right:
        refusals = tuple(
            Refusal(by=by, who=frozenset(self._named(rule["who"])), says=rule["says"]) for by, rule in fields.get("refused", {}).items()
        )
        tries = tuple(self._try(told) for told in fields["tries"])
        may = frozenset(self._named(fields["may"]))
        both = {name for refusal in refusals for name in refusal.who} & may
        assert not both, f"{object_}: {fields['right']}: {both} may, and are refused"
        return Right(object=object_, right=fields["right"], how=fields.get("how", ""), may=may, refusals=refusals, tries=tries)

    def _try(self, told: Mapping[str, Any]) -> Try:
        fields = {"generate_name" if key == "generateName" else key: value for key, value in told.items() if key != "not"}
        return Try(**fields, exempt=frozenset(self._named(told.get("not", ()))))

    def _named(self, words: Any) -> Iterator[str]:
        """Identities, groups taken apart."""
        for word in words:
            if word in self.told["groups"]:
                yield from self._named(self.told["groups"][word])
            else:
                assert word in self.identities, f"{word} is neither an identity nor a group"
                yield word


def read_table() -> RightsTable:
    """The table as it stands."""
    return RightsTable(yaml.safe_load(TABLE.read_text()))
