"""Registering, calling and loading an app; every failure is one sentence that says what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdstream.app import DEFAULT_APP, App, load
from fdstream.dtypes import Array
from fdstream.errors import UsageError
from fdstream.weights import UserFunctionError

NAMED: dict[str, Array] = {"w": np.array([1.0, 2.0], np.float32)}


def training(function: Any) -> App:
    app = App(NAMED)
    app.train(function)
    return app


def test_decorators_return_the_function_and_run_calls_it() -> None:
    app = App(NAMED)

    @app.train
    def train(weights: Mapping[str, Array], config: Mapping[str, Any]) -> Any:
        return {"w": weights["w"] + 1}, config["n"], {"loss": 0.5}

    @app.evaluate
    def evaluate(weights: Mapping[str, Array], _config: Mapping[str, Any]) -> Any:
        return 3, {"sum": weights["w"].sum()}

    @app.evaluate_global
    def evaluate_global(weights: Mapping[str, Array], _config: Mapping[str, Any]) -> Any:
        return {"max": weights["w"].max()}

    assert train(NAMED, {"n": 1})[1] == 1
    result = app.run_train(NAMED, {"n": 4})
    assert result.weights["w"].tolist() == [2, 3]
    assert (result.num_examples, result.metrics) == (4, {"loss": 0.5})
    evaluated = app.run_evaluate(NAMED, {})
    assert evaluated is not None
    assert (evaluated.num_examples, evaluated.metrics) == (3, {"sum": 3.0})
    assert app.run_evaluate_global(NAMED, {}) == {"max": 2.0}


def test_evaluations_are_optional_and_training_is_not() -> None:
    app = App(NAMED)
    assert app.run_evaluate(NAMED, {}) is None
    assert app.run_evaluate_global(NAMED, {}) is None
    with pytest.raises(UsageError, match=r"decorate one with @app\.train"):
        app.run_train(NAMED, {})


@pytest.mark.parametrize("name", ["train", "evaluate", "evaluate_global"])
def test_each_function_is_registered_once(name: str) -> None:
    app = App(NAMED)
    getattr(app, name)(lambda *_: None)
    with pytest.raises(UsageError, match=f"@app.{name} is used twice"):
        getattr(app, name)(lambda *_: None)
    with pytest.raises(UsageError, match="needs a function, not int"):
        getattr(App(NAMED), name)(3)


def test_initial_weights_may_be_a_value_or_a_callable() -> None:
    assert App(NAMED).initial_weights().keys() == NAMED.keys()
    assert list(App(lambda: [np.zeros(1)] * 2).initial_weights()) == ["[0]", "[1]"]

    def broken() -> Any:
        raise FileNotFoundError("start.npz")

    with pytest.raises(UserFunctionError, match=r"the weights function raised FileNotFoundError: start\.npz"):
        App(broken).initial_weights()


def test_a_list_app_is_given_a_list() -> None:
    app = App([np.zeros(1), np.ones(2)])
    app.train(lambda weights, _: ([weights[0] + 1, weights[1]], 1, {}))
    assert app.run_train(app.initial_weights(), {}).weights["[0]"].tolist() == [1.0]


def test_an_exception_names_the_function_and_the_users_line() -> None:
    def train(weights: Any, _config: Any) -> Any:
        return np.linalg.inv(np.outer(weights["w"], weights["w"]) * 0)  # numpy raises, this line is to blame

    line = train.__code__.co_firstlineno + 1
    with pytest.raises(
        UserFunctionError, match=rf"train raised LinAlgError: .*test_app\.py:{line}\)"
    ) as caught:
        training(train).run_train(NAMED, {})
    assert isinstance(caught.value.__cause__, np.linalg.LinAlgError)


def test_changing_the_received_weights_says_to_copy() -> None:
    def in_place(weights: Any, _config: Any) -> Any:
        weights["w"] += 1
        return weights, 1, {}

    with pytest.raises(UserFunctionError, match=r"read-only.*w = w\.copy\(\)"):
        training(in_place).run_train(NAMED, {})
    assert NAMED["w"].tolist() == [1, 2]


def test_config_cannot_be_changed() -> None:
    def train(_weights: Any, config: Any) -> Any:
        config["round"] = 2

    with pytest.raises(UserFunctionError, match="train raised TypeError"):
        training(train).run_train(NAMED, {"round": 1})


@pytest.mark.parametrize(
    ("result", "found"), [(None, "NoneType"), ((NAMED, 1), "tuple of 2"), (NAMED, "dict of 1")]
)
def test_train_returns_three_parts(result: Any, found: str) -> None:
    with pytest.raises(
        UserFunctionError, match=rf"returned {found}: return \(weights, num_examples, metrics\)"
    ):
        training(lambda *_: result).run_train(NAMED, {})


def test_evaluate_returns_two_parts() -> None:
    app = App(NAMED)
    app.evaluate(lambda *_: {"accuracy": 1.0})
    with pytest.raises(UserFunctionError, match=r"returned dict of 1: return \(num_examples, metrics\)"):
        app.run_evaluate(NAMED, {})


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_users_wish_to_stop_is_not_a_failure_of_the_function(error: type[BaseException]) -> None:
    def train(*_: Any) -> Any:
        raise error

    with pytest.raises(error):
        training(train).run_train(NAMED, {})


def test_a_usage_error_of_an_adapter_passes_unchanged() -> None:
    def train(*_: Any) -> Any:
        raise UsageError("install it")

    with pytest.raises(UsageError, match=r"^install it$") as caught:
        training(train).run_train(NAMED, {})
    assert not isinstance(caught.value, UserFunctionError)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, empty; modules imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


GOOD = "import fdstream.app\napplication = fdstream.app.App({})\n@application.train\ndef train(w, c): ...\n"


def test_load_finds_a_module_in_the_current_folder(folder: Path) -> None:
    (folder / "loaded_good.py").write_text(GOOD)
    assert isinstance(load("loaded_good:application"), App)


def test_load_finds_the_default_app() -> None:
    assert isinstance(load(DEFAULT_APP), App)


@pytest.mark.parametrize(
    ("source", "path", "says"),
    [
        (GOOD, "loaded", "must be module:attribute"),
        (GOOD, ":app", "must be module:attribute"),
        (GOOD, "loaded:", "must be module:attribute"),
        (GOOD, "loaded.py:application", "no module"),
        (GOOD, "absent:app", r"no module 'absent' in .*without \.py"),
        (GOOD, "absent.inner:app", "no module 'absent'"),
        (GOOD, "loaded:app", "loaded has no 'app'; did you mean application"),
        ("", "loaded:app", r"no 'app'; define app = fdstream\.App"),
        ("apq = 3", "loaded:app", "did you mean apq"),
        ("app = 3", "loaded:app", r"is int: it must be an fdstream\.App"),
        ("from fdstream.app import App\napp = App({})", "loaded:app", "has no train function"),
        ("\n1 / 0", "loaded:app", r"importing loaded raised ZeroDivisionError: .*loaded\.py:2\).*correct it"),
        ("import absent_too", "loaded:app", "raised ModuleNotFoundError: No module named 'absent_too'"),
        ("def (:", "loaded:app", r"raised SyntaxError: invalid syntax \(loaded\.py, line 1\)"),
        ("raise SystemExit(1)", "loaded:app", "importing loaded raised SystemExit: 1"),
    ],
)
def test_load_says_what_is_wrong(folder: Path, source: str, path: str, says: str) -> None:
    (folder / "loaded.py").write_text(source)
    with pytest.raises(UsageError, match=says):
        load(path)
