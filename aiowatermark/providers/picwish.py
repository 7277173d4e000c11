"""PicWish: images by file or URL, with a mask or boxes, or by its better remover; its hosts are global and in China."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from attrs import Attribute, field, frozen

from ..capabilities import Capabilities, ImageLimits
from ..codec import NumberLike, parse
from ..errors import InvalidInput, Unsupported
from ..http_errors import raise_unexpected
from ..introspection import documented
from ..jobs import Job, Record
from ..provider import Credits, Exchange, Polling, api_key_field
from ..wire import Request
from ._parsing import to_float
from ._regions import RegionalProvider
from ._visual import Call, SyncOptions, VisualProvider

_POLLING = Polling(first=1.5)
_ADVANCED_POLLING = Polling(first=20.0, factor=1.0, ceiling=5.0)
"""The better remover takes about 50 seconds, says a field report."""
_ADVANCED = Call("/api/tasks/visual/advanced/watermark-remove", image="image")


def _validate_tier(_: Any, __: Attribute[Any], value: Any) -> None:
    if value not in (None, "advanced"):
        raise InvalidInput(f"tier must be standard or advanced, not {value!r}")


def _to_tier(value: Any) -> Any:
    return None if value == "standard" else value


@frozen
class PicWishOptions(SyncOptions):
    """Options: `sync=True` asks for the result in the answer to the submission; see `SyncOptions`.

    `tier="advanced"` uses the better remover: it takes about 50 seconds, costs more, and takes no mask. Its results may
    have more pixels than the input.
    """

    # "standard" becomes None, which is left out of fingerprints: those of earlier versions stay valid
    tier: Literal["standard", "advanced"] | None = field(default=None, converter=_to_tier, validator=_validate_tier)


@frozen
class _Package:
    remaining_credits: NumberLike
    used_credits: Any = None


@documented
@frozen(slots=False)
class PicWish(VisualProvider, RegionalProvider):
    """A PicWish account: images by file or URL, with a mask or boxes if you have one.

    Jobs have the options `sync=True`, which asks for the result in the answer to the submission, and `tier="advanced"`
    for the better, slower remover; see `PicWishOptions`. `result.charged` is what the answer says.

    Args:
        api_key: the key shown in PicWish's console; `PicWish.from_env()` takes it from PICWISH_API_KEY.
        base_url: the origin of the API; the default is the host of the region.
        region: "global", or "cn" for the host in China.
        polling: the schedule of queries for a job's state.
        requests_per_second: the limit for submissions and queries together; the default is the documented one.
        account: a stable name for the account, which keeps its jobs when the API key changes; the default is a digest
            of the credentials. Accounts of two regions need two names.

    Raises InvalidInput for an invalid key, base_url or region.
    Source: «Image Watermark Removal API».
    """

    CHINA: ClassVar[str] = "https://techsz.aoscdn.com"
    name = "picwish"
    display_name = "PicWish"
    default_base_url = "https://techhk.aoscdn.com"
    env = {"api_key": "PICWISH_API_KEY"}
    # limits: «Guidelines and Limits» 5; callback_url: older documents of the automatic call only
    capabilities = Capabilities(
        images=ImageLimits(frozenset({"jpeg", "png", "bmp"}), min_side=20, max_side=10_000, max_bytes=50_000_000),
        mask="optional",
        mask_links=True,
        boxes=50,
        callbacks=True,
    )
    automatic = Call("/api/tasks/visual/external/watermark-remove", callbacks=True)
    masked = Call("/api/tasks/visual/inpaint", image="image")
    further_calls = (_ADVANCED,)
    # field reports, like the call for credits
    price_field = "use_point"
    Options = PicWishOptions

    api_key: str = api_key_field()
    polling: Polling = field(default=_POLLING, kw_only=True)
    requests_per_second: float | None = field(default=2.0, kw_only=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """The API key."""
        return {"X-API-KEY": self.api_key}

    def call_for(self, job: Job) -> Call:
        """Return the call for a job; raises Unsupported for a mask with `tier="advanced"`."""
        if job.options.get("tier") is None:
            return super().call_for(job)
        if job.mask is not None:
            raise Unsupported('PicWish takes no mask with tier="advanced": omit the tier or the mask')
        return _ADVANCED

    def polling_for(self, record: Record) -> Polling:
        """Return a schedule that suits the better remover for its jobs, unless another one was chosen."""
        return _ADVANCED_POLLING if record.route == _ADVANCED.path and self.polling == _POLLING else self.polling

    def credits(self) -> Exchange[Credits]:
        """GET the packages of the account; the balance is the sum over them."""
        reply = yield Request("GET", "/api/customers/package-credits", repeatable=True)
        data = self.check(reply).get("data")
        if not isinstance(data, list):
            raise_unexpected("the credits are not a list of packages", reply)
        packages = parse(data, tuple[_Package, ...], reply)
        used = [to_float(package.used_credits) for package in packages]
        spent = None if None in used else sum(amount for amount in used if amount is not None)
        return Credits(sum(package.remaining_credits for package in packages), spent)
