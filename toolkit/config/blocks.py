"""What the schema is written in: a block of keys, and the kinds of values that more than one block has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model


class Block(BaseModel):
    """A block of keys: read-only, no unknown key, no silent conversion, no infinite number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


def one_of(tag: str, names: Iterable[str], base: type[Block], *blocks: type[Block]) -> Any:
    """The type of a key that holds one of ``blocks``, told apart by their literal ``tag``.

    Names that no block claims share one more, which is made of ``base`` and has no keys besides. The result is made at
    run time, so a type checker is told ``base`` in its place.
    """
    claimed = {word for block in blocks for word in get_args(block.model_fields[tag].annotation)}
    plain = tuple(name for name in names if name not in claimed)
    if plain:
        field = (Literal[plain], Field(description=base.model_fields[tag].description))
        made = create_model(f"Plain{base.__name__}", __base__=base, __doc__=base.__doc__, **{tag: field})  # type: ignore[call-overload]
        blocks = (*blocks, made)
    return Annotated[Union[blocks], Field(discriminator=tag)] if len(blocks) > 1 else blocks[0]  # noqa: UP007


class Located:
    """Marks a field that names a file: relative to its YAML, or in an override to the working directory."""


LOCATED = Located()
ZOO_PREFIX = "zoo:"


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("expected a path, got an empty text")
    return value


def ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"expected [smallest, largest], got {list(pair)}")
    return pair


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected every name once, got {', '.join(map(repr, twice))} more than once")
    return names


def _count_or_auto(value: object) -> object:
    """Said of both kinds at once, which pydantic would speak of one after the other."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not whole and value != "auto":
        raise ValueError(f"expected 'auto' or a whole number of at least 1, got {value!r}")
    return value


def _one_transform(entry: dict[str, Any]) -> dict[str, Any]:
    if len(entry) != 1:
        raise ValueError(f"expected one transform, as in '- HorizontalFlip: {{p: 0.5}}', got {len(entry)} keys")
    return entry


FilePath = Annotated[Path, BeforeValidator(_not_empty)]
Name = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
CountOrAuto = Annotated[Count | Literal["auto"], BeforeValidator(_count_or_auto)]
GreyLevel = Annotated[float, Field(ge=0, le=255)]
MostListed = Annotated[int, Field(ge=1, le=100_000)]  # no bundle gives more boxes or classes in one answer
PictureSide = Annotated[int, Field(ge=32, le=4096)]
InputSide = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]
Transform = Annotated[dict[str, dict[str, Any]], AfterValidator(_one_transform)]
