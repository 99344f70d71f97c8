"""What a user writes: initial weights and the functions that train and evaluate them.

An `App` holds the user's functions and calls them so that what comes back is checked before anything is
sent. Knows no Kafka, no files, no machine learning framework: arrays and plain values in, the same out.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from fdstream.dtypes import Array
from fdstream.errors import UsageError
from fdstream.weights import (
    EvaluateResult,
    Metrics,
    TrainResult,
    UserFunctionError,
    Weights,
    checked_metrics,
    described,
    evaluate_result,
    to_named,
    to_user,
    train_result,
)

__all__ = ["DEFAULT_APP", "App", "Config", "Metrics", "UserFunctionError", "Weights", "load"]

Config = Mapping[str, str | int | float | bool]
Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_APP = "fdstream.examples.digits:app"

_PATHS = sysconfig.get_paths()
_LIBRARIES = (
    str(Path(__file__).parent),
    *(_PATHS[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")),
)


class App:
    """The initial weights and the functions of one federation; `fdstream/examples/linear.py` shows one.

    `weights` is a dict of named arrays, a list of arrays, or a callable that makes one; only a server that
    opens a new federation asks for them. Supported dtypes: float16, float32, float64, bfloat16 (ml_dtypes)
    and integers of 8 to 64 bits. Scalars and empty arrays are fine.
    """

    def __init__(self, weights: Weights | Callable[[], Weights]) -> None:
        self._weights = weights
        self._functions: dict[str, Callable[..., Any]] = {}

    def train(self, function: Function) -> Function:
        """Register `train(weights, config) -> (weights, num_examples, metrics)`, called once a round.

        The received arrays are read-only: copy before changing in place. The same names and shapes come
        back; another float dtype is cast to the model's, another integer dtype where no value changes.
        `num_examples`, at least 1, is this client's weight in the average.
        """
        return self._register("train", function)

    def evaluate(self, function: Function) -> Function:
        """Register `evaluate(weights, config) -> (num_examples, metrics)`: the model on the client's data."""
        return self._register("evaluate", function)

    def evaluate_global(self, function: Function) -> Function:
        """Register `evaluate_global(weights, config) -> metrics`, run by the server after each round."""
        return self._register("evaluate_global", function)

    def initial_weights(self) -> dict[str, Array]:
        """The first global model by name, checked; `UsageError` if the app's weights cannot be used."""
        return to_named(
            _call("the weights function", self._weights) if callable(self._weights) else self._weights
        )

    def run_train(self, weights: Mapping[str, Array], config: Config) -> TrainResult:
        """Call `train` on the named weights; `UserFunctionError` if it raises or its result is unusable."""
        if "train" not in self._functions:
            raise UsageError("the app has no train function: decorate one with @app.train")
        result = self._run("train", weights, config)
        return train_result(weights, *_parts("train", result, "weights", "num_examples", "metrics"))

    def run_evaluate(self, weights: Mapping[str, Array], config: Config) -> EvaluateResult | None:
        """Call `evaluate` on the named weights; None if the app has none. Raises like `run_train`."""
        if "evaluate" not in self._functions:
            return None
        result = self._run("evaluate", weights, config)
        return evaluate_result(*_parts("evaluate", result, "num_examples", "metrics"))

    def run_evaluate_global(self, weights: Mapping[str, Array], config: Config) -> dict[str, float] | None:
        """Call `evaluate_global` on the named weights; None if the app has none. Raises like `run_train`."""
        if "evaluate_global" not in self._functions:
            return None
        return checked_metrics("evaluate_global", self._run("evaluate_global", weights, config))

    @property
    def evaluates_globally(self) -> bool:
        """Whether there is an `evaluate_global` to call."""
        return "evaluate_global" in self._functions

    def _register(self, name: str, function: Function) -> Function:
        if name in self._functions:
            raise UsageError(f"@app.{name} is used twice: an app has one {name} function, remove the other")
        if not callable(function):
            raise UsageError(f"@app.{name} needs a function, not {described(function)}")
        self._functions[name] = function
        return function

    def _run(self, name: str, weights: Mapping[str, Array], config: Config) -> Any:
        return _call(name, self._functions[name], to_user(weights), MappingProxyType(dict(config)))


def _parts(name: str, result: Any, *parts: str) -> tuple[Any, ...]:
    if not isinstance(result, tuple) or len(result) != len(parts):
        raise UserFunctionError(f"{name} returned {described(result)}: return ({', '.join(parts)})")
    return result


def load(path: str) -> App:
    """The App at `module:attribute`, the current folder searched first; `UsageError` says what is wrong."""
    module_name, _, attribute = path.partition(":")
    if not (attribute and all(part.isidentifier() for part in module_name.split("."))):
        raise UsageError(f"app path {path!r} must be module:attribute, for example {DEFAULT_APP}")
    module = _imported(module_name, path)
    if not hasattr(module, attribute):
        hint = _hint(attribute, vars(module))
        raise UsageError(f"app path {path!r}: {module_name} has no {attribute!r}; {hint}")
    app = getattr(module, attribute)
    if not isinstance(app, App):
        raise UsageError(f"app path {path!r} is {described(app)}: it must be an fdstream.App")
    if "train" not in app._functions:
        raise UsageError(f"app path {path!r} has no train function: decorate one with @app.train")
    return app


def _imported(module_name: str, path: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module_name)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and f"{module_name}.".startswith(f"{absent}."):
            raise UsageError(
                f"app path {path!r}: no module {absent!r} in {folder} or among the installed packages; "
                "name it as in an import statement, without .py, and start in its folder"
            ) from error
        raise UsageError(
            f"app path {path!r}: importing {module_name} raised {_text(error)}; correct it and start again"
        ) from error


def _hint(attribute: str, found: Mapping[str, Any]) -> str:
    near = [name for name, value in found.items() if isinstance(value, App)]
    near = near or difflib.get_close_matches(attribute, found)
    return f"did you mean {' or '.join(near)}?" if near else f"define {attribute} = fdstream.App(...) there"


def _call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except UsageError:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and "read-only" in str(error):
            advice = "the received weights are read-only, copy before changing them: w = w.copy()"
        else:
            advice = "correct the function and start again"
        raise UserFunctionError(f"{name} raised {_text(error)}; {advice}") from error


def _text(error: BaseException) -> str:
    """Type, text and place: the deepest line that is not a library's, or the deepest where all are."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError):
        return text
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if not frame.filename.startswith((*_LIBRARIES, "<"))]
    frame = next(reversed(own or frames), None)
    return f"{text} (at {frame.filename}:{frame.lineno})" if frame else text
