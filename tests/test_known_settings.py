"""The table of what is known about settings, against the configs."""

from collections.abc import Iterator
from typing import Any

import pytest

from fst.experiments.known_settings import SETTINGS, before, card_only, keys_of, may_change
from fst.experiments.run_folder import differences
from fst.experiments.settings import compose
from fst.system.paths import configs_dir

COMMANDS = ("train", "evaluate", "optimize", "distill")
# null or a string in some config, and yet no path or free text: words to choose from, numbers that
# may be left out, and what a logger or a layer is called
NEITHER = {
    *("loss.content_distance", "loss_network.name", "loss_network.weights", "style.painted"),
    *("loss_network.mean", "loss_network.std", "loss_network.padding_mode", "style.year"),
    *("net.upsampling", "loss.moving", "on_divergence", "compile_mode", "optimizer.schedule"),
    *("trainer.accelerator", "trainer.strategy", "trainer.precision", "trainer.benchmark"),
    *("trainer.gradient_clip_val", "method", "clip_gradient", "device", "loss_network"),
    *(f"{t}.{key}" for t in ("teacher", "teacher2") for key in ("name", "weights", "mean", "std")),
    *("teacher.padding_mode", "teacher2.padding_mode"),
    *(f"logger.{key}" for key in ("_target_", "save_dir", "name", "version", "project")),
    *(f"logger.{key}" for key in ("experiment_name", "run_name", "tracking_uri")),
}


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of nested settings; a group is one too, as ``(key, {...})``."""
    if isinstance(value, dict):
        yield key, value
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value


@pytest.fixture(scope="module")
def found() -> dict[str, list[Any]]:
    """Dotted key -> its values in the configs of all commands, with each choice of each group."""
    values: dict[str, list[Any]] = {}
    for command in COMMANDS:
        choices = [[]]
        if command == "train":
            # the styles have no keys of their own, which test_house.py sees to
            for group in ("loss", "loss_network", "logger", "experiment", "net"):
                names = sorted(p.stem for p in (configs_dir() / group).glob("*.yaml"))
                choices += [[f"{group}={name}"] for name in names]
        for words in choices:
            for key, value in leaves(compose(command, words).plain()):
                values.setdefault(key, []).append(value)
    return values


def test_every_setting_that_is_known_is_in_some_config(found: dict[str, list[Any]]) -> None:
    assert SETTINGS.keys() <= found.keys()


def test_every_path_and_free_text_of_the_configs_is_known(found: dict[str, list[Any]]) -> None:
    worded = {
        key
        for key, values in found.items()
        if any(value is None or isinstance(value, str) for value in values)
        and not key.startswith(("teacher.layers", "teacher2.layers"))
    }
    assert worded - NEITHER == {*keys_of("text"), *keys_of("texts")}
    assert worded >= NEITHER


def test_what_must_be_a_number_is_one_in_the_configs(found: dict[str, list[Any]]) -> None:
    for key in keys_of("whole"):
        assert all(type(v) is int and v >= SETTINGS[key].least for v in found[key]), key
    for key in keys_of("number"):
        assert all(type(v) in (int, float) and v >= 0 for v in found[key]), key


def test_a_group_that_may_change_may_change_with_all_that_is_in_it() -> None:
    assert all(map(may_change, ("previews", "previews.every", "run_dir", "paintings.root")))
    assert not any(map(may_change, ("style", "style.rootless", "data", "paintings", "paintings.x")))


def test_settings_that_came_later_are_as_they_were_without() -> None:
    assert (before("styles"), before("loss.moving_weight"), before("seed")) == (None, 0, None)
    new = {"loss": {"tv_weight": 1, "moving_weight": 0}, "styles": None}
    assert not list(differences({"loss": {"tv_weight": 1}}, new))
    assert list(differences({"loss": {"tv_weight": 1}}, {"loss": {"moving_weight": 5}})) == [
        "loss.tv_weight 1 -> None",
        "loss.moving_weight 0 -> 5",
    ]


def test_what_is_for_the_card_is_known() -> None:
    assert card_only("data") == ("description", "license")
    assert card_only("loss_network") == ("license",)
