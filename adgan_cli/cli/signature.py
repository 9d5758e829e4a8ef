"""A command's Typer signature from settings classes: each option is written once, on its field."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import typer

from adgan_cli.cli.console import ending_with_it
from adgan_cli.config import flag

Config = TypeVar("Config", bound=Any)
MOST_CHOICES = 40  # characters of choices that help has room for beside its text


@dataclass(frozen=True)
class Overrides(Generic[Config]):
    """The settings of a config class that the command line gives; the others stay as they are."""

    given: Mapping[str, Any]

    def over(self, base: Config) -> Config:
        """Return `base` with these settings in place of its own."""
        return replace(base, **self.given)


@dataclass(frozen=True)
class Fields:
    """Which fields of its config class an `Overrides` takes, and how help shows them."""

    defaults: Any = None  # a config; None where the defaults depend on the model
    panel: str = ""  # instead of each field's group
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def of(self, config: type[Any]) -> list[str]:
        """Return the names of the fields of `config` that are options."""
        names = [field.name for field in fields(config)]
        return [n for n in names if n in (self.only or names) and n not in self.without]


@dataclass(frozen=True)
class Shown:
    """The default that help shows for an option that is None where it is not given."""

    default: str


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Make Typer see one option for each field of the settings classes that `command` takes.

    A parameter that is a dataclass stands for the options of its fields; one that is `Overrides` of
    a config class for those of the config's fields. The command receives the objects.
    """
    hints = get_type_hints(command, include_extras=True)
    del hints["return"]
    parameters = [_parameter("context", typer.Context)]
    for name, own in inspect.signature(command).parameters.items():
        parameters += _parameters(name, hints[name], own.default)

    def parsed(context: typer.Context, **values: Any) -> None:
        sources = {name: context.get_parameter_source(name) for name in values}
        given = {n: v for n, v in values.items() if getattr(sources[n], "name", "") != "DEFAULT"}
        with ending_with_it():
            command(**{name: _argument(name, hint, values, given) for name, hint in hints.items()})

    parsed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    parsed.__annotations__ = {one.name: one.annotation for one in parameters}
    parsed.__name__, parsed.__doc__ = command.__name__, command.__doc__
    return parsed


def option(panel: str, help: str, *spellings: str, **more: Any) -> Any:
    """Build a Typer option that stands in a panel of --help."""
    return typer.Option(*spellings, help=help, rich_help_panel=panel, **more)


def field_option(config: type[Any], name: str, *, panel: str = "", note: str = "") -> Any:
    """Build the Typer option of a field of a config class; note: a sentence more for its help."""
    field = config.__dataclass_fields__[name]
    spellings = [field.metadata["short"], flag(name)] if field.metadata["short"] else []
    choices, metavar = ", ".join(map(str, get_args(field.type))), None
    if len(choices) > MOST_CHOICES:
        note, metavar = f"One of {choices}.", name.upper()
    help = " ".join(filter(None, [field.metadata["help"], note]))
    panel = panel or field.metadata["group"]
    return option(panel, help, *spellings, metavar=metavar)


def _parameters(name: str, hint: Any, default: Any) -> Iterator[inspect.Parameter]:
    """Yield the parameters that stand for one of the command's."""
    config, chosen = _overridden(hint)
    if config is not None:
        for one in chosen.of(config):
            annotation = get_type_hints(config)[one] | None
            shown = getattr(chosen.defaults, one, None)
            option = field_option(config, one, panel=chosen.panel)
            yield _parameter(one, Annotated[annotation, option], shown)
    elif is_dataclass(hint):
        types = get_type_hints(hint, include_extras=True)
        for field in fields(hint):
            of_field = types[field.name]
            if field.metadata:
                of_field = Annotated[of_field, field_option(hint, field.name)]  # type: ignore[arg-type]
            yield from _parameters(field.name, of_field, field.default)
    else:
        shown = next((x.default for x in _extras(hint) if isinstance(x, Shown)), default)
        yield _parameter(name, hint, shown)


def _argument(name: str, hint: Any, values: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Build what the command receives as `name` from the parsed values."""
    config, chosen = _overridden(hint)
    if config is not None:
        return Overrides({one: given[one] for one in chosen.of(config) if one in given})
    if is_dataclass(hint):
        types = get_type_hints(hint, include_extras=True)
        return hint(**{n: _argument(n, of_field, values, given) for n, of_field in types.items()})  # type: ignore[operator]
    if any(isinstance(extra, Shown) for extra in _extras(hint)):
        return given.get(name)
    return values[name]


def _overridden(hint: Any) -> tuple[type[Any] | None, Fields]:
    """Return the config class that a hint overrides, None for other hints, and its fields."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(bare) is not Overrides:
        return None, Fields()
    chosen = next((extra for extra in _extras(hint) if isinstance(extra, Fields)), Fields())
    return get_args(bare)[0], chosen


def _extras(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__metadata__", ())


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> Any:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
