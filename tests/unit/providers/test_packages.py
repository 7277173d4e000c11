"""Providers of other packages: found without an import, loaded by name, never in the way of the built-in ones."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from aiowatermark import InvalidInput, PicWish, provider_class, provider_names
from aiowatermark.providers import built_in_names, ignored_providers
from tests.support.packages import install_package, installed

COMPLETE = """
import aiowatermark as aw
from aiowatermark.capabilities import Capabilities
from aiowatermark.provider import api_key_field
from attrs import frozen

@frozen(slots=False)
class Acme(aw.Provider):
    name = "acme"
    display_name = "Acme"
    default_base_url = "https://api.acme.example"
    env = {"api_key": "ACME_API_KEY"}
    capabilities = Capabilities()
    api_key: str = api_key_field()

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.api_key}"}

    def submit(self, job, callback_url):
        yield
"""


def test_a_name_is_found_and_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_package(tmp_path, "acme-wm", {"acme": "acme:Acme"}, "raise AssertionError('imported')")
    with installed(tmp_path, monkeypatch):
        assert provider_names() == tuple(sorted((*built_in_names(), "acme")))
        assert provider_class("picwish") is PicWish
        assert "acme" not in sys.modules
    assert provider_names() == built_in_names()


def test_a_class_is_found_by_its_name_and_made_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(tmp_path, "acme-wm", {"acme": "acme:Acme"}, COMPLETE)
    monkeypatch.setenv("ACME_API_KEY", "canary-acme")
    with installed(tmp_path, monkeypatch):
        provider = provider_class("acme").from_env()
        assert provider.headers == {"Authorization": "Bearer canary-acme"}
        assert "canary" not in repr(provider)


BROKEN = [
    ("import missing_module", "acme:Acme", "cannot be loaded: ModuleNotFoundError: No module named 'missing_module'"),
    ("1 / 0", "acme:Acme", "cannot be loaded: ZeroDivisionError"),
    ("raise SystemExit(3)", "acme:Acme", "cannot be loaded: SystemExit: 3"),
    ("def", "acme:Acme", "cannot be loaded: SyntaxError"),
    ("", "acme:Acme", "cannot be loaded: AttributeError"),
    ("", "other_module:Acme", "cannot be loaded: ModuleNotFoundError"),
    ("Acme = 1", "acme:Acme", "is not usable: acme:Acme is not a subclass of aiowatermark.Provider"),
    ("class Acme: ...", "acme:Acme", "is not a subclass of aiowatermark.Provider"),
    (COMPLETE.replace('    display_name = "Acme"\n', ""), "acme:Acme", "does not set display_name"),
    (COMPLETE.replace('name = "acme"', 'name = "other"', 1), "acme:Acme", "has the name 'other'"),
    (
        COMPLETE.replace("def submit", "def send"),
        "acme:Acme",
        "must be an attrs class that implements headers and submit",
    ),
]


@pytest.mark.parametrize(("source", "value", "message"), BROKEN)
def test_a_broken_package_is_one_error_that_names_it_and_breaks_no_other_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, value: str, message: str
) -> None:
    install_package(tmp_path, "acme-wm", {"acme": value}, source)
    with installed(tmp_path, monkeypatch):
        for _ in range(2):
            with pytest.raises(InvalidInput) as caught:
                provider_class("acme")
            assert str(caught.value).startswith("the provider acme of the package acme-wm 1.0 ")
            assert message in str(caught.value)
        assert [provider_class(name).name for name in built_in_names()] == list(built_in_names())


def test_a_package_cannot_take_over_a_built_in_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_package(tmp_path, "evil", {"picwish": "acme:Acme", "kaze": "acme:Acme"}, "raise AssertionError('imported')")
    with installed(tmp_path, monkeypatch):
        assert provider_names() == built_in_names()
        assert provider_class("picwish") is PicWish
        assert list(ignored_providers()) == [
            "evil 1.0 offers a provider with the built-in name kaze: it is ignored",
            "evil 1.0 offers a provider with the built-in name picwish: it is ignored",
        ]


def test_a_name_that_two_packages_offer_is_refused_with_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_package(tmp_path, "first-wm", {"acme": "acme:Acme"}, COMPLETE)
    install_package(tmp_path, "second-wm", {"acme": "acme:Acme"}, COMPLETE)
    with (
        installed(tmp_path, monkeypatch),
        pytest.raises(InvalidInput, match=r"acme is offered by first-wm 1\.0 and second-wm 1\.0: uninstall"),
    ):
        provider_class("acme")


@pytest.mark.parametrize("name", ["Acme", "_visual", "../acme", "a b", "9acme", "a" * 41])
def test_a_name_that_is_not_one_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    install_package(tmp_path, "acme-wm", {name: "acme:Acme"}, COMPLETE)
    with installed(tmp_path, monkeypatch):
        assert provider_names() == built_in_names()
        assert list(ignored_providers()) == [
            "acme-wm 1.0 offers a provider whose name is not like acme-2: it is ignored"
        ]


@pytest.mark.parametrize("entry_points", [b"\xff\xfe\x00", b"[aiowatermark.providers]\nacme", b"acme = 1\n", b""])
def test_damaged_metadata_break_no_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, entry_points: bytes
) -> None:
    install_package(tmp_path, "acme-wm", {})
    (tmp_path / "acme_wm-1.0.dist-info/entry_points.txt").write_bytes(entry_points)
    (tmp_path / "acme_wm-1.0.dist-info/METADATA").unlink()
    with installed(tmp_path, monkeypatch), caplog.at_level(logging.WARNING):
        assert set(built_in_names()) <= set(provider_names())
        assert provider_class("picwish") is PicWish
