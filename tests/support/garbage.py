"""Values that no field expects, and every place of a kind where somebody could put one: the leaves of its schema."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from gastown.api.kinds import Kind
from support.cluster import CRDS

Schema = Mapping[str, Any]

GARBAGE: dict[str, str] = {
    "command substitution": "$(touch /tmp/owned)",
    "backticks": "`touch /tmp/owned`",
    "a quote and a command": "'; rm -rf ~; echo '",
    "double quotes": '"; exec "$@" #"',
    "a variable of the pod": "$(GASTOWN_REPO_TOKEN_FILE) ${HOME} $$ %HOME%",
    "YAML": "- a: &x !!python/object/apply:os.system [id]\n  b: *x\n---\nkind: Secret",
    "JSON": '{"a": [1, null, {"$ref": "#"}]}',
    "JSON half done": '{"a": [1, ',
    "TOML": '[a]\nb = """\n',
    "a template": "{{ .Values.secret }} {% for x in y %} ${jndi:ldap://x} {0.__class__} %(x)s %s%n",
    "terminal escapes": "\x1b[2J\x1b[31mred\x1b]0;title\x07\x1b]52;c;cm0=\x07\x1bP+q\x1b\\\x9b31m",
    "carriage returns": "harmless\r\nBead: gp-9\r\x0b\x0c\x1c\x85\u2028\u2029next",
    "a NUL": "before\x00after",
    "text turned round": "\u202egnp.exe\u202c \u2066a\u2069 \u200f",
    "unseen text": "\u200b\u2060\ufeff\u00ad\U000e0068\U000e0069\u3164",
    "half a character": "\ud83d alone \udc00",
    "pictures": "👩‍👩‍👧‍👦 🇪🇺 e\u0301\u0301\u0301\u0301",
    "an option": "--upload-pack=touch /tmp/owned",
    "a short option": "-oProxyCommand=id",
    "a way up": "../../../../etc/passwd",
    "an absolute path": "/etc/passwd",
    "a file": "file:///etc/passwd",
    "a transport that runs commands": "ext::sh -c touch% /tmp/owned",
    "an address within": "http://169.254.169.254/latest/meta-data",
    "a ref": "refs/heads/main",
    "git's short forms": "@{u}",
    "a range": "main..HEAD^{/fix}:README",
    "a dash": "-",
    "HEAD": "HEAD",
    "percent": "%2e%2e%2f%00%0a%25",
    "only blanks": " \t\n ",
    "a long word": "ü" * 300,
    "a bomb for patterns": "a" * 40 + "!" + "-a" * 30 + "." * 30,
    "a number": "1e999",
    "yes and no": "no",
    "a date": "9999-12-31T23:59:59.999999999Z",
    "nothing": "",
    "a megabyte": "x" * 1_000_000,
}
"""By what it is. JSON carries half a character as an escape; the server stores what it makes of it."""

_SAMPLES = (
    "a", "gp", "gp-1", "0" * 40, "0" * 64, "2025-06-15T12:00:00Z", "http://127.0.0.1/x", "A", "1", "10m", "polecat/greeter-furiosa/gp-1",
    "/x", "True", "greeter-furiosa",
)  # fmt: skip


@dataclass(frozen=True)
class Leaf:
    """One string of a kind.

    Attributes:
        path: From spec or status on; "[]" steps into a list, "{}" into the values of a map, "{key}" is the key of a map itself.
        schema: Of the string.
    """

    path: tuple[str, ...]
    schema: Schema

    def __str__(self) -> str:
        return ".".join(self.path).replace(".[]", "[]").replace(".{", "{")

    def place(self) -> str:
        """How the API server names it in a refusal: the last named field and all before it."""
        named = "".join({"[]": "[0]", "{}": "", "{key}": ""}.get(step, f".{step}") for step in self.path)
        return named.lstrip(".")

    def may_hold(self, value: str) -> bool:
        """Whether pattern, length and enum let it in; rules across fields may still refuse it."""
        schema = self.schema
        if "format" in schema:
            return value == GARBAGE["a date"]
        if "enum" in schema and value not in schema["enum"]:
            return False
        # The server counts characters as they arrive there; half a character becomes one of three bytes.
        stored = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if not schema.get("minLength", 0) <= len(stored) <= schema.get("maxLength", 1 << 30):
            return False
        return "pattern" not in schema or re.search(schema["pattern"].replace("$", r"\Z"), stored) is not None


@functools.cache
def schema_of(kind: Kind) -> Schema:
    """The schema of the whole object."""
    found: Schema = yaml.safe_load((CRDS / f"gastown.dev_{kind.plural}.yaml").read_text())["spec"]["versions"][0]["schema"][
        "openAPIV3Schema"
    ]
    return found


def leaves(kind: Kind, part: str) -> list[Leaf]:
    """Every string below spec or status."""
    return [Leaf((part, *path), schema) for path, schema in _strings(schema_of(kind)["properties"].get(part, {}))]


def with_leaf(kind: Kind, leaf: Leaf, value: str) -> Any:
    """The value of leaf's part (spec or status) in which the leaf holds this, and all that must stand beside it."""
    return _holding(schema_of(kind)["properties"][leaf.path[0]], leaf.path[1:], value)


def merged(one: Any, other: Any) -> Any:
    """Two values of one part as one; of lists the items at one place become one item."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            key: merged(one[key], other[key]) if key in one and key in other else one.get(key, other.get(key)) for key in {**one, **other}
        }
    if isinstance(one, list) and isinstance(other, list):
        longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
        return [
            merged(item, other[at]) if at < len(shorter) else item
            for at, item in enumerate(longer if longer is one else one + other[len(one) :])
        ]
    return other


def _strings(schema: Schema) -> Iterator[tuple[tuple[str, ...], Schema]]:
    kind = schema.get("type")
    if kind == "object":
        for name, below in schema.get("properties", {}).items():
            yield from (((name, *path), found) for path, found in _strings(below))
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping):
            yield ("{key}",), {"type": "string"}
            yield from ((("{}", *path), found) for path, found in _strings(values))
    elif kind == "array":
        yield from ((("[]", *path), found) for path, found in _strings(schema["items"]))
    elif kind == "string" or schema.get("x-kubernetes-int-or-string"):
        yield (), schema


def _holding(schema: Schema, path: Sequence[str], value: str) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if step == "[]":
        return [_holding(schema["items"], rest, value)]
    if step == "{}":
        return {"key": _holding(schema["additionalProperties"], rest, value)}
    if step == "{key}":
        return {value: _sample(schema["additionalProperties"])}
    beside = {name: _sample(schema["properties"][name]) for name in schema.get("required", ()) if name != step}
    return {**beside, step: _holding(schema["properties"][step], rest, value)}


def _sample(schema: Schema) -> Any:
    """Something that the schema lets in."""
    kind = schema.get("type")
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        return {name: _sample(schema["properties"][name]) for name in schema.get("required", ())}
    if kind == "array":
        return []
    if kind == "integer":
        return schema.get("minimum", 0)
    if kind == "boolean":
        return False
    if schema.get("format") == "date-time":
        return "2025-06-15T12:00:00Z"
    return next(sample for sample in _SAMPLES if Leaf((), schema).may_hold(sample))
