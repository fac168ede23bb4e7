"""Settings on their way to a fresh master."""

from __future__ import annotations

from longline.supervisor.settings import Settings


def test_settings_survive_the_way() -> None:
    settings = Settings("/a/b.py", argv=["x", "ä"], daemon=True, ready_timeout=1.5, user="www")
    assert Settings.from_json(settings.to_json()) == settings
