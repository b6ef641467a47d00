"""``toolkit keys``: the API keys of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make, list and remove the API keys of `toolkit serve --keys FILE`.", no_args_is_help=True)

File = Annotated[Path, typer.Option("--file", help="The file of keys; it holds their hashes only.")]
DEFAULT_FILE = Path("keys.json")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is; it stands in the log and in messages.")],
    file: File = DEFAULT_FILE,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do: predict, metrics or admin; may be given twice.")
    ] = None,
    per_minute: Annotated[float | None, typer.Option(help="Requests a minute in the long run.")] = None,
    burst: Annotated[int | None, typer.Option(help="Requests at once; default a sixth of those a minute.")] = None,
) -> None:
    """Make a key, print it once, and write its hash to the file; a service that runs takes it within a second."""
    from toolkit.api_keys import add_key

    key = add_key(file, name, scopes=scope or ("predict",), per_minute=per_minute, burst=burst)
    typer.echo(key)
    typer.echo(f"written to {file} as a hash; this is the only time that the key is shown", err=True)


@app.command("list")
def list_(file: File = DEFAULT_FILE) -> None:
    """List the names of the keys with what each may do."""
    from toolkit.api_keys import read_keys

    for key in read_keys(file).keys:
        rate = f"{key.per_minute:g} a minute" if key.per_minute else "no limit"
        typer.echo(f"{key.name}: {', '.join(key.scopes)}; {rate}")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    file: File = DEFAULT_FILE,
) -> None:
    """Take a key away; a service that runs refuses it within a second."""
    from toolkit.api_keys import remove_key

    remove_key(file, name)
    typer.echo(f"removed {name} from {file}")
