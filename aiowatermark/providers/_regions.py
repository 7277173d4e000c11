"""Regions: vendors with a host outside China and one in China, each with accounts of its own."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import Attribute, field, frozen

from ..errors import InvalidInput
from ..introspection import documented
from ..provider import Provider

Region = Literal["global", "cn"]


def _validate_region(_: Any, __: Attribute[Any], value: Any) -> None:
    if value not in ("global", "cn"):
        raise InvalidInput(f"region must be global or cn, not {value!r}")


@documented
@frozen(kw_only=True, slots=False)
class RegionalProvider(Provider):
    """A provider whose host depends on the region of the account; `base_url`, if given, replaces the host."""

    CHINA: ClassVar[str]

    region: Region = field(default="global", validator=_validate_region)

    def __attrs_post_init__(self) -> None:
        """Choose the host of the region, unless another one was given."""
        if self.region == "cn" and self.base_url == self.default_base_url:
            object.__setattr__(self, "base_url", self.CHINA)
        super().__attrs_post_init__()
