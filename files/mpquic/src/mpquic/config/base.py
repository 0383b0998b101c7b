# SPDX-License-Identifier: GPL-3.0-or-later
"""What the models of all mappings of an instance file have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Model(BaseModel):
    """A mapping of the file: unknown keys are refused, values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class Remembering(Model):
    """A mapping whose valid values are known also when others are wrong."""

    @field_validator("*", mode="after")
    @classmethod
    def _remember(cls, value: object, info: ValidationInfo) -> object:
        """Leave every valid value in the context, so that checks across keys run also when some other key is wrong."""
        if isinstance(info.context, dict) and info.field_name is not None:
            info.context[info.field_name] = value
        return value
