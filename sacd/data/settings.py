"""Settings that a cohort or the command line gives in place of the profile's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sacd.data.problems import CohortError
from sacd.data.store import StoreConfig
from sacd.data.texts import read_object
from sacd.files import read_json

NAMES: Final = ("channel", "eeg_rate", "frames", "sampling", "windows")
"""EEG channel; EEG rate in Hz; frames of a clip, which, and how often; see `StoreConfig`."""


def with_settings(
    config: StoreConfig, cohort: Path, given: Mapping[str, Any], store: Path | None = None
) -> StoreConfig:
    """The profile's `config` with what the cohort states, and over both what was `given`.

    A cohort states its settings in dataset_description.json: `"Settings": {"channel": "C4"}`.

    Args:
        config: of the profile.
        cohort: folder of the cohort.
        given: on the command line.
        store: a clip store. If it is finished, its own settings count and the others do not: a
            notebook reads what was ingested.

    Raises:
        CohortError: an unknown setting, or a value out of its range.
    """
    made = read_json(store / "manifest.json").get("config", {}) if store else {}
    if made:
        return _checked(config, {name: made[name] for name in NAMES if name in made}, store)
    description = cohort / "dataset_description.json"
    try:
        own = read_object(description, "").get("Settings", {})
    except CohortError:  # whoever reads the cohort is told
        own = {}
    if not isinstance(own, dict):
        fix = 'write "Settings": {"channel": "C4"}'
        raise CohortError(description, f"has the Settings {own!r}, which are no object", fix)
    return _checked(_checked(config, own, description), given, "command line")


def _checked(config: StoreConfig, values: Mapping[str, Any], source: Path | str) -> StoreConfig:
    known = ", ".join(NAMES)
    if strange := [name for name in values if name not in NAMES]:
        raise CohortError(source, f"has the setting {strange[0]!r}", f"known are {known}")
    try:
        # Built again rather than copied: `model_copy` would not check the values.
        return StoreConfig(**(config.model_dump() | dict(values)))
    except ValidationError as error:
        first = error.errors()[0]
        name, value = first["loc"][0], first["input"]
        problem = f"setting {name} is {value!r}: {first['msg'].lower()}"
        raise CohortError(source, problem, "correct it") from None
