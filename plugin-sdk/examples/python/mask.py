"""Masks e-mail addresses: keeps the first character and the domain, `a***@example.org`.

Both row images are treated alike, so that an old value does not slip through `before`. What is no address becomes
`***`; nulls stay null.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import events, types

# An instance is configured once, before its first batch.
columns: list[str] = []


def mask(text: str) -> str:
    local, at, domain = text.rpartition("@")
    return f"{local[0]}***@{domain}" if at and local and domain else "***"


class Lifecycle(exports.Lifecycle):
    def configure(self, config_json: str) -> None:
        options = json.loads(config_json) if config_json else {}
        unknown = options.keys() - {"column"}
        column = options.get("column", "email")
        if unknown or not isinstance(column, str) or not column:
            raise Err(types.Failure("config", "`column` is the one option: the name of a column", False))
        columns[:] = [f"before.{column}", f"after.{column}"]


class Transform(exports.Transform):
    def apply(self, batch: events.Batch) -> None:
        for path in columns:
            texts = batch.text_list(path)
            if any(text is not None for text in texts):
                batch.set_text_list(path, [None if text is None else mask(text) for text in texts])
